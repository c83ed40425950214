/** Search and filters without loading the page anew; its address follows. */
import { getHTML } from "./api.js";
import { say, shown } from "./toast.js";

const TYPED = 250; // ms without typing

export class Filters {
  /** @param {{ results: HTMLElement, query: () => string, swap: (page: Document) => void }} parts */
  constructor({ results, query, swap }) {
    this.results = results;
    this.query = query;
    this.swap = swap;
    this.form = /** @type {HTMLFormElement} */ (document.getElementById("filters"));
    this.timer = 0;
    this.stop = /** @type {AbortController | null} */ (null);
    this.form.addEventListener("input", (event) => {
      const typed = /** @type {HTMLElement} */ (event.target).matches("[type=search]");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.go(this.#written()), typed ? TYPED : 0);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.timer);
      this.go(this.#written());
    });
    document.addEventListener("click", (event) => this.#clicked(event));
  }

  /** The filters of the form, with the state that is shown. */
  #written() {
    const all = new URLSearchParams();
    const state = new URLSearchParams(this.query()).get("state");
    if (state) all.set("state", state);
    for (const [name, value] of new FormData(this.form)) {
      if (name !== "state" && String(value).trim()) all.set(name, String(value).trim());
    }
    const text = all.toString();
    return text ? `?${text}` : "";
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const link = /** @type {HTMLAnchorElement | null} */ (/** @type {HTMLElement} */ (event.target).closest('a.tab, a.brand, a.state-link, [data-action="clear-filters"]'));
    if (!link || link.closest("dialog")) return; // from a picture that is opened large it leads to a page of its own
    event.preventDefault();
    this.go(new URL(link.href).search);
    if (!link.matches(".tab")) this.#fill("");
  }

  /** Put a filter's values into the form. @param {string} query */
  #fill(query) {
    const all = new URLSearchParams(query);
    for (const one of this.form.querySelectorAll("input, select")) {
      const field = /** @type {HTMLInputElement} */ (one);
      field.value = all.get(field.name) ?? "";
    }
  }

  /** Show what matches, and say so in the address. @param {string} query */
  go(query) {
    if (query === this.query()) return Promise.resolve();
    const typing = this.form.contains(document.activeElement) && history.state?.typed;
    history[typing ? "replaceState" : "pushState"]({ typed: true }, "", `/${query}`);
    scrollTo({ top: 0 });
    return shown(() => this.#load(query, true));
  }

  /** The address has changed by itself (back, forward). */
  follow() {
    this.#fill(location.search);
    return shown(() => this.#load(location.search, true));
  }

  /** The same filter once more: what is new comes on top. */
  reload() {
    return this.#load(this.query(), false);
  }

  /** @param {string} query @param {boolean} told */
  async #load(query, told) {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    this.results.setAttribute("aria-busy", String(told));
    try {
      const { html } = await getHTML(`/${query}`, stop.signal);
      this.swap(new DOMParser().parseFromString(html, "text/html"));
      if (told) say(sentence(Number(this.results.dataset.total)), true);
    } finally {
      if (this.stop === stop) this.results.removeAttribute("aria-busy");
    }
  }
}

/** @param {number} total */
function sentence(total) {
  if (!total) return "Nothing matches.";
  return total === 1 ? "One picture matches." : `${total.toLocaleString("en")} pictures match.`;
}
