/** The selected cards, loaded or not, and the bar with their actions. */
import { getJSON, withQuery } from "./api.js";
import { shown } from "./toast.js";

export class Selection {
  /** @param {HTMLElement} bar @param {() => import("./chunks.js").Chunks | null} chunks */
  constructor(bar, chunks) {
    this.bar = bar;
    this.chunks = chunks;
    /** @type {Map<string, number | null>} each key with the attempt of its current image */
    this.chosen = new Map();
    /** @type {string | null} the start of the next range */
    this.anchor = null;
    this.all = /** @type {HTMLElement} */ (bar.querySelector('[data-bulk="all"]'));
    this.all.addEventListener("click", () => shown(() => this.selectAll()));
  }

  get size() { return this.chosen.size; }
  get keys() { return [...this.chosen.keys()]; }
  /** @returns {number[]} */
  get attempts() { return /** @type {number[]} */ ([...this.chosen.values()].filter((one) => one !== null)); }

  /** @param {string} key */
  has(key) { return this.chosen.has(key); }

  /** Select or deselect one card. @param {string} key @param {boolean} [on] */
  toggle(key, on = !this.chosen.has(key)) {
    if (on) this.chosen.set(key, this.chunks()?.known.get(key)?.attempt ?? null);
    else this.chosen.delete(key);
    this.anchor = key;
    this.render();
  }

  /** Select the range from the last card to `key`. @param {string} key */
  async range(key) {
    const chunks = this.chunks();
    if (!chunks || !this.anchor) return this.toggle(key, true);
    for (const one of await chunks.between(this.anchor, key)) {
      this.chosen.set(one, chunks.known.get(one)?.attempt ?? null);
    }
    this.anchor = key;
    return this.render();
  }

  /** Select all matching cards, loaded or not. */
  async selectAll() {
    const { pictures } = await getJSON(withQuery("/api/keys", this.chunks()?.query || ""));
    for (const { key, attempt } of pictures) this.chosen.set(key, attempt);
    this.render();
  }

  clear() {
    this.chosen.clear();
    this.anchor = null;
    this.render();
  }

  /** A card has changed: its current image may be another one. @param {HTMLElement} card */
  refresh(card) {
    const { key = "", attempt } = card.dataset;
    const now = attempt ? Number(attempt) : null;
    if (this.chosen.has(key) && this.chosen.get(key) !== now) {
      this.chosen.set(key, now);
      this.#updateActions();
    }
    const box = /** @type {HTMLInputElement} */ (card.querySelector(".pick"));
    box.checked = this.chosen.has(key);
  }

  render() {
    const { size } = this;
    this.bar.hidden = size === 0;
    document.body.classList.toggle("is-selecting", size > 0);
    /** @type {HTMLElement} */ (this.bar.querySelector("#bulk-count")).textContent = size.toLocaleString("en");
    const total = this.chunks()?.total || 0;
    this.all.hidden = size >= total;
    this.all.textContent = `Select all ${total.toLocaleString("en")}${this.chunks()?.query ? " that match" : ""}`;
    this.#updateActions();
    for (const card of this.chunks()?.cards() || []) this.refresh(card);
  }

  /** Enable the actions that the selection allows. */
  #updateActions() {
    const hasPicture = this.attempts.length > 0;
    for (const name of ["approved", "rejected", "download"]) {
      const button = /** @type {HTMLButtonElement} */ (this.bar.querySelector(`[data-bulk="${name}"]`));
      button.disabled = !hasPicture;
    }
    const generate = this.bar.querySelector('[data-bulk="regenerate"] span');
    if (generate) generate.textContent = hasPicture ? "Regenerate…" : "Generate…";
  }
}
