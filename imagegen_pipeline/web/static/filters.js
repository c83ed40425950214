/** Search and filters without reloading the page; the address follows. */
import { getHTML } from "./api.js";
import { announce, shown } from "./toast.js";

const TYPING_DELAY = 250; // ms without typing

export class Filters {
  /** @param {{ results: HTMLElement, query: () => string, swap: (page: Document) => void }} parts */
  constructor({ results, query, swap }) {
    this.results = results;
    this.query = query;
    this.swap = swap;
    this.form = /** @type {HTMLFormElement} */ (document.getElementById("filters"));
    this.timer = 0;
    this.abort = /** @type {AbortController | null} */ (null);
    this.form.addEventListener("input", (event) => {
      const typed = /** @type {HTMLElement} */ (event.target).matches("[type=search]");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.go(this.#formQuery()), typed ? TYPING_DELAY : 0);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.timer);
      this.go(this.#formQuery());
    });
    document.addEventListener("click", (event) => this.#clicked(event));
  }

  /** The form's filters with the shown state, as a query. */
  #formQuery() {
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
    if (!link || link.closest("dialog")) return; // in an item's dialog the link leads to another page
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

  /** Show matching cards and update the address. @param {string} query */
  go(query) {
    if (query === this.query()) return Promise.resolve();
    const typing = this.form.contains(document.activeElement) && history.state?.typed;
    history[typing ? "replaceState" : "pushState"]({ typed: true }, "", `/${query}`);
    scrollTo({ top: 0 });
    return shown(() => this.#load(query, true));
  }

  /** The address has changed (back, forward). */
  follow() {
    this.#fill(location.search);
    return shown(() => this.#load(location.search, true));
  }

  /** Load the present filter again, so that new cards come on top. */
  reload() {
    return this.#load(this.query(), false);
  }

  /** @param {string} query @param {boolean} isNew */
  async #load(query, isNew) {
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.results.setAttribute("aria-busy", String(isNew));
    try {
      const { html } = await getHTML(`/${query}`, abort.signal);
      this.swap(new DOMParser().parseFromString(html, "text/html"));
      if (isNew) announce(sentence(Number(this.results.dataset.total)), true);
    } finally {
      if (this.abort === abort) this.results.removeAttribute("aria-busy");
    }
  }
}

/** @param {number} total */
function sentence(total) {
  if (!total) return "No matches.";
  return total === 1 ? "One image matches." : `${total.toLocaleString("en")} images match.`;
}
