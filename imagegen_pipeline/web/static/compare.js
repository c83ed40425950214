/** Shows an older image of an item beside the current one. */

export class Comparison {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {number | null} the older attempt that is shown */
    this.older = null;
    this.key = "";
  }

  /** The content was replaced: keep the comparison if it is the same item. */
  ready() {
    const picture = /** @type {HTMLElement | null} */ (this.place.querySelector(".picture"));
    const key = picture?.dataset.key || "";
    const older = key === this.key ? this.older : null;
    this.key = key;
    this.older = null;
    if (older) this.#show(older);
  }

  /** @param {number | null} attempt null: the newest older one, or end the comparison */
  toggle(attempt) {
    if (this.older && (attempt === null || attempt === this.older)) return this.hide();
    const first = /** @type {HTMLElement | null} */ (this.place.querySelector("[data-older]"));
    const older = attempt ?? Number(first?.dataset.older);
    return older ? this.#show(older) : undefined;
  }

  hide() {
    this.older = null;
    this.#mark();
    this.#part(".older-image", true);
    this.#part(".current-image .below", true);
  }

  /** @param {number} attempt */
  #show(attempt) {
    const button = this.place.querySelector(`[data-action="compare"][data-older="${attempt}"]`);
    const template = button?.parentElement?.querySelector("template");
    const olderImage = this.place.querySelector(".older-image");
    if (!button || !template || !olderImage) return;
    this.older = attempt;
    this.#mark();
    const image = /** @type {HTMLImageElement} */ (olderImage.querySelector("img"));
    image.src = `/pictures/${attempt}`;
    image.alt = button.getAttribute("aria-label") || "";
    /** @type {HTMLElement} */ (olderImage.querySelector(".below")).replaceChildren(template.content.cloneNode(true));
    this.#part(".older-image", false);
    this.#part(".current-image .below", false);
  }

  /** @param {string} selector @param {boolean} hidden */
  #part(selector, hidden) {
    const part = /** @type {HTMLElement | null} */ (this.place.querySelector(selector));
    if (part) part.hidden = hidden;
  }

  #mark() {
    for (const one of this.place.querySelectorAll('.history [aria-pressed]')) {
      const { action, older } = /** @type {HTMLElement} */ (one).dataset;
      const pressed = action === "show-current" ? this.older === null : Number(older) === this.older;
      one.setAttribute("aria-pressed", String(pressed));
    }
  }
}
