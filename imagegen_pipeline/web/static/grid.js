/** The cards under pointer and keys: one of them has the focus, some are selected. */
import { shown } from "./toast.js";

export class Grid {
  /**
   * @param {HTMLElement} place what holds the grid, now and after every filter
   * @param {{ chunks: () => import("./chunks.js").Chunks | null,
   *   selection: import("./selection.js").Selection, actions: import("./actions.js").Actions,
   *   open: (key: string) => void }} parts
   */
  constructor(place, { chunks, selection, actions, open }) {
    this.place = place;
    this.chunks = chunks;
    this.selection = selection;
    this.actions = actions;
    this.open = open;
    /** @type {string | null} the card that Tab comes to */
    this.home = null;
    place.addEventListener("click", (event) => this.#clicked(event));
    place.addEventListener("focusin", (event) => this.#focused(event));
    place.addEventListener("error", (event) => this.#broken(event), true);
  }

  /** A card comes onto the page: one Tab stop for all of them. @param {HTMLElement} card */
  prepare(card) {
    const key = card.dataset.key || "";
    this.home ??= key;
    this.#tabIndex(card, key === this.home ? 0 : -1);
    this.selection.refresh(card);
    this.actions.jobs.saw(card);
    this.mark(card);
    const image = /** @type {HTMLImageElement | null} */ (card.querySelector("img.thumb"));
    if (image?.complete && !image.naturalWidth) image.src = image.src; // it failed before anybody listened
  }

  /** Say of a card that waits in a job of this page that it does. @param {HTMLElement} card */
  mark(card) {
    const { key = "", state = "" } = card.dataset;
    const isQueued = this.actions.jobs.isQueued(key) && state !== "running";
    if (isQueued === card.hasAttribute("data-queued")) return;
    card.toggleAttribute("data-queued", isQueued);
    const word = /** @type {HTMLElement} */ (card.querySelector(".facts .state"));
    const open = /** @type {HTMLElement} */ (card.querySelector(".open"));
    card.dataset.word ??= word.textContent || "";
    card.dataset.label ??= open.getAttribute("aria-label") || "";
    word.textContent = isQueued ? "Queued" : card.dataset.word;
    word.dataset.state = isQueued ? "waiting" : state;
    const text = card.querySelector(".words")?.textContent ?? "";
    open.setAttribute("aria-label", isQueued ? `${key}: Queued. ${text}` : card.dataset.label);
  }

  /** @param {HTMLElement} card @param {number} index */
  #tabIndex(card, index) {
    for (const one of card.querySelectorAll(".open, .pick, .fix")) {
      /** @type {HTMLElement} */ (one).tabIndex = index;
    }
  }

  /** Make sure that Tab comes to a card that is on the page. */
  settle() {
    const chunks = this.chunks();
    if (!chunks || (this.home && chunks.find(this.home))) return;
    const [first] = chunks.cards();
    if (first) this.#goHome(first);
  }

  /** @param {HTMLElement} card */
  #goHome(card) {
    const before = this.home && this.chunks()?.find(this.home);
    if (before) this.#tabIndex(before, -1);
    this.home = card.dataset.key || null;
    this.#tabIndex(card, 0);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const card = /** @type {HTMLElement} */ (event.target).closest(".card");
    if (card) this.#goHome(/** @type {HTMLElement} */ (card));
  }

  /** @returns {string | null} the card that has the focus */
  get focusedKey() {
    const card = document.activeElement?.closest(".card");
    return card ? /** @type {HTMLElement} */ (card).dataset.key || null : null;
  }

  /** @param {string} key */
  async focus(key) {
    const card = await this.chunks()?.show(key);
    /** @type {HTMLElement | null | undefined} */ (card?.querySelector(".open"))?.focus({ preventScroll: true });
  }

  /** @param {string} name a key of the keyboard @returns {boolean} whether it moves the focus */
  move(name) {
    const chunks = this.chunks();
    if (!chunks) return false;
    const sideways = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }[name];
    const key = this.focusedKey;
    if (!key) {
      // Nothing has the focus yet: the first of these keys comes to where Tab would.
      if (!sideways || !this.home || document.activeElement !== document.body) return false;
      shown(() => this.#to(this.home));
      return true;
    }
    if (name === "Home" || name === "End") {
      shown(async () => this.#to(await chunks.end(name === "Home" ? "first" : "last")));
      return true;
    }
    const rows = getComputedStyle(/** @type {HTMLElement} */ (chunks.grid)).getPropertyValue("--columns");
    const delta = sideways ?? { ArrowDown: Number(rows), ArrowUp: -Number(rows) }[name];
    if (!delta) return false;
    shown(async () => this.#to(await chunks.neighbour(key, delta)));
    return true;
  }

  /** @param {string | null} key */
  async #to(key) {
    if (key) await this.focus(key);
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  pick(event) {
    const key = this.focusedKey;
    if (!key || /** @type {HTMLElement} */ (event.target).matches("button, .pick")) return false;
    if (event.shiftKey) shown(() => this.selection.range(key));
    else this.selection.toggle(key);
    return true;
  }

  /** Act on the selection, or on the card that has the focus. @param {string} name @returns {boolean} */
  act(name) {
    const key = this.focusedKey;
    if (name === "select") return key ? (this.selection.toggle(key), true) : false;
    const keys = this.selection.size ? this.selection.keys : key ? [key] : [];
    if (!keys.length) return false;
    if (name === "regenerate") this.actions.regenerate(keys, { first: !this.#pictures(keys).length });
    else if (name === "retry") this.actions.retry(keys);
    else if (name === "download") this.#download(keys);
    else this.actions.review(this.#pictures(keys), /** @type {"approved"} */ (name));
    return true;
  }

  /** @param {string[]} keys */
  #pictures(keys) {
    const known = this.chunks()?.known;
    const pictures = keys.map((key) => ({
      key,
      attempt: this.selection.chosen.get(key) ?? known?.get(key)?.attempt ?? null,
      verdict: known?.get(key)?.verdict ?? null,
    }));
    return /** @type {import("./actions.js").Picture[]} */ (pictures.filter((one) => one.attempt !== null));
  }

  /** @param {string[]} keys */
  #download(keys) {
    const attempts = this.#pictures(keys).map((one) => one.attempt);
    if (attempts.length) this.actions.download(attempts);
  }

  /** @returns {boolean} whether there was a selection to clear */
  clear() {
    if (!this.selection.size) return false;
    this.selection.clear();
    return true;
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const card = /** @type {HTMLElement | null} */ (target.closest(".card"));
    if (!card) return;
    const key = card.dataset.key || "";
    if (target.matches(".pick")) {
      const { checked } = /** @type {HTMLInputElement} */ (target);
      if (event.shiftKey && checked) shown(() => this.selection.range(key));
      else this.selection.toggle(key, checked);
    } else if (target.closest('[data-action="retry"]')) this.actions.retry([key]);
    else if (target.closest('[data-action="open"]')) this.open(key);
    else if (target.closest(".open") && !event.ctrlKey && !event.metaKey && event.button === 0) {
      event.preventDefault();
      if (event.shiftKey) shown(() => this.selection.range(key));
      else this.open(key);
    }
  }

  /** A small picture that cannot be loaded says so. @param {Event} event */
  #broken(event) {
    const image = /** @type {HTMLElement} */ (event.target);
    if (!image.matches("img.thumb")) return;
    const blank = document.createElement("span");
    blank.className = "thumb blank";
    blank.textContent = "This picture cannot be shown. Open it for the reason.";
    image.replaceWith(blank);
  }
}
