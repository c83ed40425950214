/** Pointer and keyboard input on the cards. */
import { shown } from "./toast.js";

export class Grid {
  /**
   * @param {HTMLElement} place the element that holds the grid
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
    /** @type {string | null} the key of the card in the tab order */
    this.tabStop = null;
    place.addEventListener("click", (event) => this.#clicked(event));
    place.addEventListener("focusin", (event) => this.#focused(event));
    place.addEventListener("error", (event) => this.#broken(event), true);
  }

  /** Prepare a new card; only one card is in the tab order. @param {HTMLElement} card */
  prepare(card) {
    const key = card.dataset.key || "";
    this.tabStop ??= key;
    this.#tabIndex(card, key === this.tabStop ? 0 : -1);
    this.selection.refresh(card);
    this.actions.jobs.cardShown(card);
    this.mark(card);
    const image = /** @type {HTMLImageElement | null} */ (card.querySelector("img.thumb"));
    if (image?.complete && !image.naturalWidth) image.src = image.src; // it failed before the listener was added
  }

  /** Mark a card whose item waits in a job of this page. @param {HTMLElement} card */
  mark(card) {
    const { key = "", state = "" } = card.dataset;
    const isQueued = this.actions.jobs.isQueued(key) && state !== "running";
    if (isQueued === card.hasAttribute("data-queued")) return;
    card.toggleAttribute("data-queued", isQueued);
    const label = /** @type {HTMLElement} */ (card.querySelector(".facts .state"));
    const open = /** @type {HTMLElement} */ (card.querySelector(".open"));
    card.dataset.stateLabel ??= label.textContent || "";
    card.dataset.label ??= open.getAttribute("aria-label") || "";
    label.textContent = isQueued ? "Queued" : card.dataset.stateLabel;
    label.dataset.state = isQueued ? "waiting" : state;
    const text = card.querySelector(".excerpt")?.textContent ?? "";
    open.setAttribute("aria-label", isQueued ? `${key}: Queued. ${text}` : card.dataset.label);
  }

  /** @param {HTMLElement} card @param {number} index */
  #tabIndex(card, index) {
    for (const one of card.querySelectorAll(".open, .pick, .act")) {
      /** @type {HTMLElement} */ (one).tabIndex = index;
    }
  }

  /** Keep a card of the page in the tab order. */
  ensureTabStop() {
    const chunks = this.chunks();
    if (!chunks || (this.tabStop && chunks.find(this.tabStop))) return;
    const [first] = chunks.cards();
    if (first) this.#setTabStop(first);
  }

  /** @param {HTMLElement} card */
  #setTabStop(card) {
    const before = this.tabStop && this.chunks()?.find(this.tabStop);
    if (before) this.#tabIndex(before, -1);
    this.tabStop = card.dataset.key || null;
    this.#tabIndex(card, 0);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const card = /** @type {HTMLElement} */ (event.target).closest(".card");
    if (card) this.#setTabStop(/** @type {HTMLElement} */ (card));
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
      // Nothing has the focus yet: the first key goes to the tab stop.
      if (!sideways || !this.tabStop || document.activeElement !== document.body) return false;
      shown(() => this.#to(this.tabStop));
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

  /** Show that a thumbnail cannot be loaded. @param {Event} event */
  #broken(event) {
    const image = /** @type {HTMLElement} */ (event.target);
    if (!image.matches("img.thumb")) return;
    const blank = document.createElement("span");
    blank.className = "thumb blank";
    blank.textContent = "The image cannot be shown. Open it for the reason.";
    image.replaceWith(blank);
  }
}
