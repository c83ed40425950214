/** Follows changes: by the server's events, or by polling when the stream breaks. */
import { elementsOf, getHTML, withQuery } from "./api.js";

const SUMMARY_EVERY = 1000; // ms
const POLL_EVERY = 4000; // ms, without the stream

export class Live {
  /**
   * @param {{ changeSeq: number, query: () => string,
   *   changed: (cards: HTMLElement[], more: boolean) => void,
   *   summary: (elements: HTMLElement[]) => void, notified: () => void }} options
   */
  constructor({ changeSeq, query, changed, summary, notified }) {
    this.changeSeq = changeSeq;
    this.query = query;
    this.changed = changed;
    this.summary = summary;
    this.notified = notified;
    this.pollAgain = false;
    this.note = document.getElementById("connection");
    this.summaryDue = 0;
    this.summaryTimer = 0;
    this.pollTimer = 0;
    /** @type {Promise<void> | null} */
    this.polling = null;
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
    this.stream.addEventListener("open", () => { this.#setLost(false); this.poll(); });
    this.stream.addEventListener("changed", (event) => {
      const { change_seq: changeSeq } = JSON.parse(/** @type {MessageEvent} */ (event).data);
      this.notified();
      if (changeSeq > this.changeSeq) this.poll();
    });
    this.stream.addEventListener("error", () => {
      this.#setLost(true);
      const closed = this.stream?.readyState === EventSource.CLOSED;
      clearTimeout(this.pollTimer);
      this.pollTimer = setTimeout(() => (closed ? this.#listen() : this.poll()), POLL_EVERY);
    });
  }

  /** @param {boolean} lost */
  #setLost(lost) {
    if (this.note) this.note.hidden = !lost;
    if (!lost) clearTimeout(this.pollTimer);
  }

  /** Request the changes now; one request at a time. @returns {Promise<void>} */
  poll() {
    this.pollAgain = true;
    this.polling ??= this.#poll().finally(() => { this.polling = null; });
    return this.polling;
  }

  async #poll() {
    while (this.pollAgain) {
      this.pollAgain = false;
      try {
        const address = withQuery("/cards/changed", this.query(), { after: this.changeSeq });
        const { html, headers } = await getHTML(address);
        const changeSeq = Number(headers.get("X-Change-Seq"));
        if (changeSeq <= this.changeSeq) return;
        this.changeSeq = changeSeq;
        this.changed(elementsOf(html), headers.get("X-More") === "1");
        this.#refreshSummary();
      } catch {
        this.#setLost(true);
        clearTimeout(this.pollTimer);
        this.pollTimer = setTimeout(() => this.poll(), POLL_EVERY);
        return;
      }
      if (this.stream?.readyState === EventSource.OPEN) this.#setLost(false);
    }
  }

  /** Reload the summary, at most once a second. */
  #refreshSummary() {
    if (this.summaryTimer) return;
    const wait = Math.max(0, this.summaryDue - Date.now());
    this.summaryTimer = setTimeout(async () => {
      this.summaryTimer = 0;
      this.summaryDue = Date.now() + SUMMARY_EVERY;
      try {
        const { html } = await getHTML(withQuery("/summary", this.query()));
        this.summary(elementsOf(html));
      } catch { /* the next change tries again, and the note shows the lost connection */ }
    }, wait);
  }
}
