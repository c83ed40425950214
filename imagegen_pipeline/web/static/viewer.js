/** An item's page: a dialog over the grid, or a page of its own. */
import { ApiError, elementsOf, getHTML, getJSON, withQuery } from "./api.js";
import { Comparison } from "./compare.js";
import { shown, toast } from "./toast.js";

/**
 * @typedef {object} Surroundings
 * @property {() => string} query the filter, as `?…`
 * @property {(key: string, delta: number) => Promise<string | null>} neighbour
 * @property {(key: string) => void} closed called with the last item's key
 * @property {import("./actions.js").Actions} actions
 * @property {import("./selection.js").Selection | null} selection
 */

export class Viewer {
  /** @param {HTMLElement} place a dialog, or a page's main @param {Surroundings} around */
  constructor(place, around) {
    this.place = place;
    this.around = around;
    this.dialog = place instanceof HTMLDialogElement ? place : null;
    this.key = /** @type {string | null} */ (this.picture?.dataset.key ?? null);
    this.abort = /** @type {AbortController | null} */ (null);
    this.target = /** @type {Promise<string> | null} */ (null);
    this.pushed = false;
    this.comparison = new Comparison(place);
    place.addEventListener("click", (event) => this.#clicked(event));
    place.addEventListener("error", (event) => this.#broken(event), true);
    this.dialog?.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
    if (this.picture) this.#ready();
  }

  get isOpen() { return this.dialog ? this.dialog.open : true; }
  get picture() { return /** @type {HTMLElement | null} */ (this.place.querySelector(".picture")); }

  /** The shown image, which a verdict is about. @returns {import("./actions.js").Picture[]} */
  get seen() {
    const { key = "", attempt, verdict = "" } = this.picture?.dataset ?? {};
    return attempt ? [{ key, attempt: Number(attempt), verdict }] : [];
  }

  /** @param {string} key @param {{ push?: boolean }} [options] */
  async open(key, { push = true } = {}) {
    const wasOpen = this.isOpen;
    if (!(await this.#load(key))) return;
    if (this.dialog && !this.dialog.open) this.dialog.showModal();
    this.around.actions.jobs.attach();
    const address = withQuery(`/picture/${encodeURIComponent(key)}`, this.around.query());
    // Coming back, the grid shows the last item, not its old scroll position.
    if (!wasOpen && this.dialog) history.scrollRestoration = "manual";
    if (push) history[wasOpen ? "replaceState" : "pushState"]({ viewer: key }, "", address);
    if (!wasOpen) this.pushed = push;
    document.title = `${key} – Gallery`;
    if (!wasOpen) /** @type {HTMLElement} */ (this.place.querySelector("#panel")).focus({ preventScroll: true });
    this.place.scrollTop = 0;
    for (const delta of [1, -1]) this.#preload(delta);
  }

  /** @param {string} key @returns {Promise<boolean>} whether it is shown now */
  async #load(key) {
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.place.setAttribute("aria-busy", "true");
    const address = withQuery(`/picture/${encodeURIComponent(key)}`, this.around.query(), { fragment: 1 });
    const answer = await shown(() => getHTML(address, abort.signal));
    if (abort.signal.aborted) return false;
    this.place.removeAttribute("aria-busy");
    if (!answer) return false;
    this.key = key;
    this.#replace(answer.html);
    this.#ready();
    return true;
  }

  /** Replace the content; messages in the dialog stay. @param {string} html */
  #replace(html) {
    this.picture?.remove();
    this.place.prepend(...elementsOf(html));
  }

  /** Reload the open item; keep focus and scroll position. */
  async refresh() {
    if (!this.isOpen || !this.key || !this.picture) return;
    const focused = /** @type {HTMLElement | null} */ (this.place.contains(document.activeElement) ? document.activeElement : null);
    const action = focused?.dataset.action;
    const scroll = this.place.querySelector(".panel")?.scrollTop ?? 0;
    const image = this.place.querySelector(".current-image .large");
    const key = this.key;
    const address = withQuery(`/picture/${encodeURIComponent(key)}`, this.around.query(), { fragment: 1 });
    const answer = await shown(() => getHTML(address));
    if (!answer || this.key !== key || this.place.hasAttribute("aria-busy")) return;
    this.#replace(answer.html);
    const fresh = this.place.querySelector(".current-image .large");
    if (image && fresh && image.getAttribute("src") === fresh.getAttribute("src")) fresh.replaceWith(image);
    this.#ready();
    const panel = /** @type {HTMLElement} */ (this.place.querySelector(".panel"));
    panel.scrollTop = scroll;
    if (focused) (/** @type {HTMLElement | null} */ (action && this.place.querySelector(`[data-action="${action}"]`)) ?? panel).focus({ preventScroll: true });
  }

  /** Mark an item that waits in a job of this page. */
  mark() {
    const isQueued = this.around.actions.jobs.isQueued(this.key || "") && this.picture?.dataset.state !== "running";
    this.picture?.toggleAttribute("data-queued", isQueued);
  }

  async #ready() {
    this.comparison.ready();
    this.mark();
    const image = /** @type {HTMLImageElement | null} */ (this.place.querySelector(".current-image .large"));
    if (image?.complete && !image.naturalWidth) image.src = image.src; // it failed before the listener was added
    const key = this.key || "";
    for (const [delta, name] of /** @type {[number, string][]} */ ([[-1, "previous"], [1, "next"]])) {
      const other = await this.around.neighbour(key, delta);
      const link = /** @type {HTMLAnchorElement | null} */ (this.place.querySelector(`[data-action="${name}"]`));
      if (!link || this.key !== key) return;
      link.hidden = other === null;
      if (other) link.href = withQuery(`/picture/${encodeURIComponent(other)}`, this.around.query());
    }
  }

  /** Show why an image cannot be loaded. @param {Event} event */
  async #broken(event) {
    const image = /** @type {HTMLImageElement} */ (event.target);
    if (!image.matches("img.large")) return;
    let why = "The file is not an image. Regenerate it.";
    try {
      await getJSON(image.src);
    } catch (error) {
      if (error instanceof ApiError) why = error.message;
    }
    const message = document.createElement("p");
    message.className = "no-image";
    message.textContent = why;
    image.replaceWith(message);
  }

  /** Load a neighbour's image in advance. @param {number} delta */
  async #preload(delta) {
    const other = await this.around.neighbour(this.key || "", delta).catch(() => null);
    const card = other && document.querySelector(`.card[data-key="${CSS.escape(other)}"]`);
    const attempt = card && /** @type {HTMLElement} */ (card).dataset.attempt;
    if (attempt) new Image().src = `/pictures/${attempt}`;
  }

  /** @param {number} delta */
  async step(delta) {
    // A key pressed before the last step has ended continues from its target.
    const from = this.target ?? Promise.resolve(this.key || "");
    const target = from.then(async (key) => (await this.around.neighbour(key, delta)) ?? key);
    this.target = target;
    const other = await shown(() => target);
    if (this.target !== target) return;
    if (other && other !== this.key) await this.#go(other);
    if (this.target === target) this.target = null;
  }

  /** @param {string} key */
  #go(key) {
    if (this.dialog) return this.open(key);
    return location.assign(withQuery(`/picture/${encodeURIComponent(key)}`, this.around.query()));
  }

  /** @param {{ push?: boolean }} [options] */
  close({ push = true } = {}) {
    if (!this.dialog) return location.assign(`/${this.around.query()}`);
    if (!this.dialog.open) return undefined;
    this.abort?.abort();
    const key = this.key || "";
    this.dialog.close();
    this.picture?.remove();
    this.key = null;
    document.title = "Gallery";
    if (push && this.pushed) history.back();
    else if (push) history.pushState({}, "", `/${this.around.query()}`);
    this.pushed = false;
    return this.around.closed(key);
  }

  /** @returns {import("./regenerate.js").Values | null} the dialog's initial values */
  get values() {
    const text = this.picture?.dataset.request;
    return text ? JSON.parse(text) : null;
  }

  /** @param {string} name an action's name @param {HTMLElement | null} [button] */
  act(name, button = null) {
    const { actions, selection } = this.around;
    const key = this.key || "";
    const older = Number(button?.dataset.older);
    /** @type {Record<string, () => unknown>} */
    const handlers = {
      approved: () => this.#verdict("approved"),
      rejected: () => this.#verdict("rejected"),
      none: () => actions.review(this.seen, "none"),
      regenerate: () => this.values && this.place.querySelector('[data-action="regenerate"]') && actions.regenerate([key], { values: this.values }),
      retry: () => actions.retry([key], button?.textContent?.trim()),
      resubmit: () => actions.decide(key, "resubmit"),
      "give-up": () => actions.giveUp(key),
      "allow-retry": () => actions.decide(key, "allow-retry"),
      download: () => this.seen.length && actions.download([this.seen[0].attempt]),
      compare: () => this.comparison.toggle(older || null),
      "show-current": () => this.comparison.hide(),
      choose: () => actions.choose(older),
      copy: () => this.#copy(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      close: () => this.close(),
      select: () => { selection?.toggle(key); if (selection) toast(selection.has(key) ? "Selected" : "Deselected"); },
    };
    if (!(name in handlers)) return false;
    handlers[name]();
    return true;
  }

  /** The same verdict again removes it. @param {"approved" | "rejected"} verdict */
  #verdict(verdict) {
    const same = this.seen[0]?.verdict === verdict;
    return this.around.actions.review(this.seen, same ? "none" : verdict);
  }

  async #copy() {
    const text = this.place.querySelector("[data-sent], [data-prompt]")?.textContent || "";
    const done = await shown(async () => {
      if (!navigator.clipboard) throw new Error("Browsers copy only on secure addresses; select the text instead.");
      await navigator.clipboard.writeText(text);
      return true;
    });
    if (done) toast("Copied");
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const button = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-action]"));
    if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (this.act(button.dataset.action || "", button)) event.preventDefault();
  }
}
