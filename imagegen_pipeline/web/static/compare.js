/** An older picture of the same item beside the current one. */

export class Comparison {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {number | null} the older attempt that is beside the current one */
    this.older = null;
    this.key = "";
  }

  /** The place has new content: what was compared stays, if it is of the same item. */
  ready() {
    const picture = /** @type {HTMLElement | null} */ (this.place.querySelector(".picture"));
    const key = picture?.dataset.key || "";
    const older = key === this.key ? this.older : null;
    this.key = key;
    this.older = null;
    if (older) this.#show(older);
  }

  /** @param {number | null} attempt null: the newest of the older ones, or back to one picture */
  toggle(attempt) {
    if (this.older && (attempt === null || attempt === this.older)) return this.hide();
    const first = /** @type {HTMLElement | null} */ (this.place.querySelector("[data-older]"));
    const older = attempt ?? Number(first?.dataset.older);
    return older ? this.#show(older) : undefined;
  }

  hide() {
    this.older = null;
    this.#mark();
    this.#part(".then", true);
    this.#part(".now .under", true);
  }

  /** @param {number} attempt */
  #show(attempt) {
    const button = this.place.querySelector(`[data-action="compare"][data-older="${attempt}"]`);
    const template = button?.parentElement?.querySelector("template");
    const then = this.place.querySelector(".then");
    if (!button || !template || !then) return;
    this.older = attempt;
    this.#mark();
    const image = /** @type {HTMLImageElement} */ (then.querySelector("img"));
    image.src = `/pictures/${attempt}`;
    image.alt = button.getAttribute("aria-label") || "";
    /** @type {HTMLElement} */ (then.querySelector(".under")).replaceChildren(template.content.cloneNode(true));
    this.#part(".then", false);
    this.#part(".now .under", false);
  }

  /** @param {string} selector @param {boolean} hidden */
  #part(selector, hidden) {
    const part = /** @type {HTMLElement | null} */ (this.place.querySelector(selector));
    if (part) part.hidden = hidden;
  }

  #mark() {
    for (const one of this.place.querySelectorAll('.history [aria-pressed]')) {
      const { action, older } = /** @type {HTMLElement} */ (one).dataset;
      const pressed = action === "now" ? this.older === null : Number(older) === this.older;
      one.setAttribute("aria-pressed", String(pressed));
    }
  }
}
