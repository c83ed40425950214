/** What happens while the page is open: told by the server, or asked for when that breaks. */
import { elementsOf, getHTML, withQuery } from "./api.js";

const SUMMARY_EVERY = 1000; // ms
const ASK_EVERY = 4000; // ms, without the stream

export class Live {
  /**
   * @param {{ changeSeq: number, query: () => string,
   *   changed: (cards: HTMLElement[], more: boolean) => void,
   *   summary: (elements: HTMLElement[]) => void, told: () => void }} options
   */
  constructor({ changeSeq, query, changed, summary, told }) {
    this.changeSeq = changeSeq;
    this.query = query;
    this.changed = changed;
    this.summary = summary;
    this.told = told;
    this.wanted = false;
    this.note = document.getElementById("connection");
    this.summaryDue = 0;
    this.summaryTimer = 0;
    this.askTimer = 0;
    /** @type {Promise<void> | null} */
    this.asking = null;
    /** @type {EventSource | null} */
    this.stream = null;
    this.#listen();
    document.addEventListener("visibilitychange", () => document.hidden || this.poll());
    addEventListener("pagehide", () => this.stream?.close());
    addEventListener("pageshow", (event) => event.persisted && this.#listen());
  }

  #listen() {
    this.stream?.close();
    this.stream = new EventSource("/api/events");
    this.stream.addEventListener("open", () => { this.#lost(false); this.poll(); });
    this.stream.addEventListener("changed", (event) => {
      const { change_seq: changeSeq } = JSON.parse(/** @type {MessageEvent} */ (event).data);
      this.told();
      if (changeSeq > this.changeSeq) this.poll();
    });
    this.stream.addEventListener("error", () => {
      this.#lost(true);
      const closed = this.stream?.readyState === EventSource.CLOSED;
      clearTimeout(this.askTimer);
      this.askTimer = setTimeout(() => (closed ? this.#listen() : this.poll()), ASK_EVERY);
    });
  }

  /** @param {boolean} lost */
  #lost(lost) {
    if (this.note) this.note.hidden = !lost;
    if (!lost) clearTimeout(this.askTimer);
  }

  /** Ask what has changed now; one question at a time. @returns {Promise<void>} */
  poll() {
    this.wanted = true;
    this.asking ??= this.#ask().finally(() => { this.asking = null; });
    return this.asking;
  }

  async #ask() {
    while (this.wanted) {
      this.wanted = false;
      try {
        const address = withQuery("/cards/changed", this.query(), { after: this.changeSeq });
        const { html, headers } = await getHTML(address);
        const changeSeq = Number(headers.get("X-Change-Seq"));
        if (changeSeq <= this.changeSeq) return;
        this.changeSeq = changeSeq;
        this.changed(elementsOf(html), headers.get("X-More") === "1");
        this.#summarise();
      } catch {
        this.#lost(true);
        clearTimeout(this.askTimer);
        this.askTimer = setTimeout(() => this.poll(), ASK_EVERY);
        return;
      }
      if (this.stream?.readyState === EventSource.OPEN) this.#lost(false);
    }
  }

  /** The figures, at most once a second. */
  #summarise() {
    if (this.summaryTimer) return;
    const wait = Math.max(0, this.summaryDue - Date.now());
    this.summaryTimer = setTimeout(async () => {
      this.summaryTimer = 0;
      this.summaryDue = Date.now() + SUMMARY_EVERY;
      try {
        const { html } = await getHTML(withQuery("/summary", this.query()));
        this.summary(elementsOf(html));
      } catch { /* the next change asks again, and the note says that the connection is lost */ }
    }, wait);
  }
}
