/**
 * The cards in chunks of 60. Every chunk reserves its space on the page, so that the scrollbar is
 * right; chunks near the viewport are loaded, those far away are emptied.
 */
import { elementsOf, getHTML, withQuery } from "./api.js";
import { shown } from "./toast.js";

export const SIZE = 60;
const NEAR = "180% 0px";
const PAUSE = 90; // ms: chunks that are scrolled past faster are not loaded

/**
 * @typedef {{ index: number, element: HTMLElement, keys: string[], loaded: boolean,
 *   near: boolean, loading: Promise<void> | null, stop: AbortController | null }} Chunk
 */

export class Chunks {
  /**
   * @param {HTMLElement} grid
   * @param {{ total: number, query: string, prepare: (card: HTMLElement) => void }} options
   */
  constructor(grid, { total, query, prepare }) {
    this.grid = grid;
    this.query = query;
    this.prepare = prepare;
    this.total = 0;
    /** New cards above the first that this page does not show yet. */
    this.above = 0;
    /** @type {Chunk[]} */
    this.parts = [];
    /** @type {Map<string, { chunk: number, attempt: number | null, verdict: string }>} */
    this.known = new Map();
    this.watcher = new IntersectionObserver((seen) => this.#seen(seen), { rootMargin: NEAR });
    this.#adopt(total);
  }

  /** Take over the server-rendered chunk. @param {number} total */
  #adopt(total) {
    const first = /** @type {HTMLElement} */ (this.grid.querySelector(".chunk"));
    const index = Number(first.dataset.chunk || 0);
    const cards = /** @type {HTMLElement[]} */ ([...first.children]);
    first.remove();
    this.resize(Math.max(total, index * SIZE + cards.length));
    this.#fill(this.parts[index], cards);
    if (index) this.parts[index].element.scrollIntoView();
  }

  /** Set the number of matching cards. @param {number} total */
  resize(total) {
    this.total = total;
    const count = Math.max(1, Math.ceil(total / SIZE));
    while (this.parts.length < count) this.#add();
    while (this.parts.length > count) this.#remove();
    for (const part of this.parts) {
      const count = Math.max(1, Math.min(SIZE, total - part.index * SIZE), part.loaded ? part.keys.length : 0);
      if (part.element.dataset.count !== String(count)) {
        part.element.dataset.count = String(count);
        part.element.style.setProperty("--count", String(count));
      }
    }
    for (const card of this.cards()) card.setAttribute("aria-setsize", String(total));
  }

  #add() {
    const element = document.createElement("div");
    element.className = "chunk away";
    const index = this.parts.length;
    element.dataset.chunk = String(index);
    this.parts.push({ index, element, keys: [], loaded: false, near: false, loading: null, stop: null });
    this.grid.append(element);
    this.watcher.observe(element);
  }

  #remove() {
    const part = /** @type {Chunk} */ (this.parts.pop());
    this.watcher.unobserve(part.element);
    part.stop?.abort();
    part.element.remove();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const entry of entries) {
      const part = this.parts[Number(/** @type {HTMLElement} */ (entry.target).dataset.chunk)];
      if (!part || part.element !== entry.target) continue;
      part.near = entry.isIntersecting;
      if (!part.near) this.#empty(part);
      else if (!part.loaded) setTimeout(() => part.near && shown(() => this.load(part.index)), PAUSE);
    }
  }

  /** @param {Chunk} part */
  #empty(part) {
    part.stop?.abort();
    if (!part.loaded || part.element.contains(document.activeElement)) return;
    part.loaded = false;
    part.element.replaceChildren();
    part.element.classList.add("away");
  }

  /** Load a chunk's cards. @param {number} index @returns {Promise<void>} */
  load(index) {
    const part = this.parts[index];
    if (!part || part.loaded) return Promise.resolve();
    part.loading ??= this.#fetch(part).finally(() => { part.loading = part.stop = null; });
    return part.loading;
  }

  /** @param {Chunk} part */
  async #fetch(part) {
    part.stop = new AbortController();
    const offset = part.index * SIZE + this.above;
    const address = withQuery("/cards", this.query, { offset, limit: SIZE });
    const { html } = await getHTML(address, part.stop.signal);
    if (this.parts[part.index] === part && !part.loaded) this.#fill(part, elementsOf(html));
  }

  /** @param {Chunk} part @param {HTMLElement[]} cards */
  #fill(part, cards) {
    // Cards that have moved may be on the page already: they stay where they are.
    const fresh = cards.filter((card) => !this.find(card.dataset.key || ""));
    part.keys = fresh.map((card) => card.dataset.key || "");
    part.loaded = true;
    for (const card of fresh) this.#register(card, part.index);
    part.element.replaceChildren(...fresh);
    part.element.classList.remove("away");
  }

  /** @param {HTMLElement} card @param {number} chunk */
  #register(card, chunk) {
    const { key = "", attempt, verdict = "" } = card.dataset;
    this.known.set(key, { chunk, attempt: attempt ? Number(attempt) : null, verdict });
    card.setAttribute("aria-setsize", String(this.total));
    this.prepare(card);
  }

  /** Replace an old card by the changed one. @param {HTMLElement} card @returns {boolean} whether it had one */
  replace(card) {
    const key = card.dataset.key || "";
    const old = this.find(key);
    const place = this.known.get(key);
    if (!old || !place) return false;
    const focused = /** @type {HTMLElement | null} */ (old.contains(document.activeElement) ? document.activeElement : null);
    keepImage(old, card);
    card.setAttribute("aria-posinset", old.getAttribute("aria-posinset") || "1");
    this.#register(card, place.chunk);
    old.replaceWith(card);
    if (focused) /** @type {HTMLElement | null} */ (card.querySelector(focused.matches(".pick") ? ".pick" : ".open"))?.focus({ preventScroll: true });
    return true;
  }

  /** @returns {HTMLElement[]} the cards that are on the page */
  cards() {
    return [...this.grid.querySelectorAll(".card")].map((one) => /** @type {HTMLElement} */ (one));
  }

  /** @param {string} key @returns {HTMLElement | null} */
  find(key) {
    return this.grid.querySelector(`.card[data-key="${CSS.escape(key)}"]`);
  }

  /** The key that is `delta` cards away; loads what is needed. @param {string} key @param {number} delta @returns {Promise<string | null>} */
  async neighbour(key, delta) {
    const place = this.known.get(key);
    if (!place) return null;
    let { chunk } = place;
    let at = this.parts[chunk].keys.indexOf(key) + delta;
    while (at < 0 && chunk > 0) {
      await this.load(--chunk);
      at += this.parts[chunk].keys.length;
    }
    while (at >= this.parts[chunk].keys.length && chunk + 1 < this.parts.length) {
      at = Math.min(Math.max(0, at - this.parts[chunk].keys.length), SIZE - 1);
      await this.load(++chunk);
    }
    return this.parts[chunk].keys[at] ?? null;
  }

  /** The first or last key. @param {"first" | "last"} end */
  async end(end) {
    const index = end === "first" ? 0 : this.parts.length - 1;
    await this.load(index);
    return this.parts[index].keys.at(end === "first" ? 0 : -1) ?? null;
  }

  /** The keys between two keys, in the page's order. @param {string} from @param {string} to @returns {Promise<string[]>} */
  async between(from, to) {
    const ends = [from, to].map((key) => this.known.get(key)?.chunk ?? 0).sort((a, b) => a - b);
    const keys = [];
    for (let index = ends[0]; index <= ends[1]; index += 1) {
      if (!this.parts[index].keys.length) await this.load(index);
      keys.push(...this.parts[index].keys);
    }
    const [first, last] = [keys.indexOf(from), keys.indexOf(to)].sort((a, b) => a - b);
    return first < 0 ? [to] : keys.slice(first, last + 1);
  }

  /** Load a card and scroll to it. @param {string} key @returns {Promise<HTMLElement | null>} */
  async show(key) {
    const place = this.known.get(key);
    if (place) await this.load(place.chunk);
    const card = this.find(key);
    card?.scrollIntoView({ block: "nearest" });
    return card;
  }

  /** Stop observing before another grid replaces this one. */
  dispose() {
    this.watcher.disconnect();
    for (const part of this.parts) part.stop?.abort();
  }
}

/** Keep the element of an unchanged image, so that it does not flicker. @param {Element} old @param {Element} card */
export function keepImage(old, card) {
  const [before, after] = [old, card].map((one) => one.querySelector("img.thumb"));
  if (before && after && before.getAttribute("src") === after.getAttribute("src")) after.replaceWith(before);
}
