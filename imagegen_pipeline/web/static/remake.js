/** The dialog before anything is bought: what is to differ, and what it will cost. */
import { ApiError, postJSON } from "./api.js";
import { faultOf, showFault } from "./fields.js";
import { withCode } from "./toast.js";

const NUMBERS = ["steps", "width", "height", "guidance"];
const TEXTS = ["prompt", "model", "negative_prompt"];
const TITLES = { regenerate: "Regenerate", retry: "Try again" };
const DECISIONS = {
  resubmit: { title: "Send again", sentence: "Sends it again. It may have been billed already." },
  lift: { title: "Make it after all", sentence: "Lifts it and sends it again. It may have been billed already." },
};
const QUOTE_AFTER = 250; // ms without typing

/** @typedef {{ kind: string, limits: import("./fields.js").Limits | null, prompt: string, negative_prompt: string, steps: number, guidance: number, width: number, height: number, model: string, seed: string, first: boolean }} Asked */

/** @typedef {{ keys: string[], how: "regenerate" | "retry", asked?: Asked | null, title?: string, first?: boolean,
 *   decision?: keyof typeof DECISIONS | null, queued?: number }} Wish `first`: of what has no picture */

export class Remake {
  /** @param {HTMLDialogElement} dialog @param {{ poll: () => Promise<void>, jobs: import("./jobs.js").Jobs }} parts */
  constructor(dialog, { poll, jobs }) {
    this.dialog = dialog;
    this.poll = poll;
    this.jobs = jobs;
    this.form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
    this.submit = /** @type {HTMLButtonElement} */ (dialog.querySelector('[type="submit"]'));
    this.said = /** @type {HTMLElement} */ (dialog.querySelector("#remake-quote"));
    this.error = /** @type {HTMLElement} */ (dialog.querySelector("#remake-error"));
    this.keys = /** @type {string[]} */ ([]);
    this.how = /** @type {"regenerate" | "retry"} */ ("regenerate");
    this.asked = /** @type {Asked | null} */ (null);
    this.first = false;
    /** @type {keyof typeof DECISIONS | null} what is decided before it is asked for */
    this.decision = null;
    this.id = "";
    this.timer = 0;
    this.stop = /** @type {AbortController | null} */ (null);
    this.form.addEventListener("input", (event) => this.#edited(event));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.#send(); });
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("close", () => { clearTimeout(this.timer); this.stop?.abort(); });
  }

  /** @param {Wish} wish */
  open({ keys, how, asked = null, title, first = false, decision = null, queued = 0 }) {
    if (!keys.length || this.dialog.open) return;
    Object.assign(this, { keys, how, asked, first, decision, id: newId() });
    this.form.reset();
    const usual = decision ? DECISIONS[decision].title : first && how === "regenerate" ? "Make" : TITLES[how];
    this.#dress(title ?? usual, queued ? ` ${queued.toLocaleString("en")} that are queued already are left out.` : "");
    this.dialog.showModal();
    const prompt = /** @type {HTMLTextAreaElement} */ (this.#field("prompt"));
    prompt.setSelectionRange(0, 0);
    prompt.scrollTop = 0;
    if (asked && how === "regenerate") prompt.focus({ preventScroll: true });
    this.#quoteSoon(0);
  }

  /** @param {string} title @param {string} more */
  #dress(title, more) {
    const { keys, how, asked } = this;
    const one = keys.length === 1;
    this.#text("#remake-title", one ? title : `${title}: ${keys.length.toLocaleString("en")} pictures`);
    const about = how === "retry" ? "Those that failed or were never made are asked for; the others stay as they are." : "What is left empty stays as each picture has it.";
    this.#text("#remake-about", (one ? keys[0] + (more && ".") : about) + more);
    this.#text("#remake-seed-new", this.first ? "As set" : "New");
    this.#text("#remake-prompt-label", asked?.kind === "actor" ? "Description" : "Prompt");
    this.submit.textContent = title;
    /** @type {HTMLElement} */ (this.dialog.querySelector("#remake-fields")).hidden = how === "retry";
    const isActor = asked?.kind === "actor";
    /** @type {Record<string, boolean>} */
    const hidden = { one: !asked, again: !asked || this.first, prompt: isActor, model: isActor || asked?.limits?.model === false };
    for (const part of this.dialog.querySelectorAll("[data-for]")) {
      const element = /** @type {HTMLElement} */ (part);
      element.hidden = hidden[element.dataset.for ?? ""];
    }
    for (const input of this.#inputs()) showFault(input, "");
    if (!asked) return;
    for (const name of [...TEXTS, ...NUMBERS]) {
      this.#input(name).value = String(asked[/** @type {keyof Asked} */ (name)] ?? "");
    }
    this.#input("seed_number").value = asked.seed;
  }

  /** @param {string} selector @param {string} text */
  #text(selector, text) {
    /** @type {HTMLElement} */ (this.dialog.querySelector(selector)).textContent = text;
  }

  /** @param {string} name */
  #field(name) {
    return this.form.querySelector(`[name="${name}"]`);
  }

  /** @param {string} name */
  #input(name) {
    return /** @type {HTMLInputElement} */ (this.#field(name));
  }

  #inputs() {
    return [...TEXTS, ...NUMBERS, "seed_number"].map((name) => this.#input(name));
  }

  /** Show beside each field what is wrong with it. @returns {boolean} whether all are well */
  #isWell() {
    if (this.how === "retry") return true;
    const seed = /** @type {RadioNodeList} */ (this.form.elements.namedItem("seed")).value;
    const faults = this.#inputs().map((input) => {
      const isAsked = !input.closest("[hidden]") && (input.name !== "seed_number" || seed === "number");
      const fault = isAsked ? faultOf(input, this.asked?.limits ?? null) : "";
      showFault(input, fault);
      return fault;
    });
    return !faults.some(Boolean);
  }

  /** What differs from the picture that is shown; what does not stays as it is. */
  #change() {
    if (this.how === "retry") return {};
    /** @type {Record<string, string | number>} */
    const change = { seed: this.#seed() };
    for (const name of [...TEXTS, ...NUMBERS]) {
      const input = this.#input(name);
      const value = name === "prompt" ? input.value : input.value.trim();
      const before = String(this.asked?.[/** @type {keyof Asked} */ (name)] ?? "");
      if (value === before || input.closest("[hidden]")) continue;
      if (value === "" && (name !== "negative_prompt" || !this.asked)) continue;
      change[name] = NUMBERS.includes(name) ? Number(value) : value;
    }
    return change;
  }

  /** @returns {string | number} */
  #seed() {
    const how = /** @type {RadioNodeList} */ (this.form.elements.namedItem("seed")).value;
    if (how !== "number") return how;
    const text = this.#input("seed_number").value.trim();
    return /^\d{1,15}$/.test(text) ? Number(text) : text;
  }

  /** @param {Event} event */
  #edited(event) {
    const { name } = /** @type {HTMLInputElement} */ (event.target);
    if (name === "seed_number") this.#pickSeedNumber();
    this.#quoteSoon(QUOTE_AFTER);
  }

  #pickSeedNumber() {
    const radio = this.form.querySelector('[name="seed"][value="number"]');
    /** @type {HTMLInputElement} */ (radio).checked = true;
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const size = /** @type {HTMLElement | null} */ (target.closest("[data-size]"));
    if (target.closest("[data-close]")) this.dialog.close();
    else if (size) {
      const [width, height] = (size.dataset.size || "").split("x");
      this.#input("width").value = width;
      this.#input("height").value = height;
      this.#quoteSoon(0);
    }
  }

  /** Nothing can be sent until its price has been said. @param {number} wait */
  #quoteSoon(wait) {
    clearTimeout(this.timer);
    this.stop?.abort();
    this.submit.disabled = true;
    this.error.hidden = true;
    this.said.textContent = "Asking for the price…";
    this.said.dataset.tone = "";
    this.timer = setTimeout(() => this.#quote(), wait);
  }

  async #quote() {
    if (!this.#isWell()) {
      this.said.textContent = "Correct what is marked.";
      return;
    }
    const stop = new AbortController();
    this.stop = stop;
    if (this.decision) { await this.#quoteDecision(stop); return; }
    const wish = { keys: this.keys, how: this.how, change: this.#change() };
    try {
      const quote = await postJSON("/api/quotes", wish, stop.signal);
      if (stop.signal.aborted) return;
      this.said.textContent = quote.sentence;
      const left = quote.budget_day === null ? Infinity : quote.budget_day - quote.spent_today;
      this.said.dataset.tone = quote.unpriced > 0 || (quote.reserve ?? quote.cost ?? 0) > left ? "warn" : "";
      this.submit.disabled = quote.make + quote.reuse === 0;
      if (this.how === "retry" && !this.submit.disabled) this.submit.focus();
    } catch (error) {
      if (!stop.signal.aborted) this.#failed(error);
    }
  }

  /** What is held is quoted as refused: the price is that of another picture of it. @param {AbortController} stop */
  async #quoteDecision(stop) {
    const { sentence } = DECISIONS[/** @type {keyof typeof DECISIONS} */ (this.decision)];
    const wish = { keys: this.keys, how: "regenerate", change: {} };
    const quote = await postJSON("/api/quotes", wish, stop.signal).catch(() => null);
    if (stop.signal.aborted) return;
    const price = quote?.make && quote.cost !== null ? ` It costs about ${Number(quote.cost.toPrecision(4))}.` : "";
    this.said.textContent = sentence + price;
    this.said.dataset.tone = "warn";
    this.submit.disabled = false;
    this.submit.focus();
  }

  /** @param {unknown} error */
  #failed(error) {
    this.said.textContent = "";
    withCode(this.error, error instanceof Error ? error.message : String(error));
    this.error.hidden = false;
  }

  async #send() {
    if (this.submit.disabled) return;
    this.submit.disabled = true;
    this.submit.setAttribute("aria-busy", "true");
    const wish = { id: this.id, keys: this.keys, how: this.how, change: this.#change() };
    const before = new Map(this.jobs.seen);
    try {
      if (this.decision) await postJSON("/api/decisions", { key: this.keys[0], decision: this.decision });
      this.decision = null; // it is decided: what goes wrong now is asked for again without it
      const job = await postJSON("/api/generations", wish);
      this.jobs.add(job.jobId, wish.keys, before);
      this.dialog.close();
      await this.poll();
    } catch (error) {
      this.#failed(error);
      // What may have been accepted is sent again with the same id, and is not bought twice.
      const isRefused = error instanceof ApiError && error.status >= 400 && error.status < 500;
      if (isRefused) this.id = newId();
      this.submit.disabled = isRefused && error.status === 400;
    } finally {
      this.submit.removeAttribute("aria-busy");
    }
  }
}

/** A name for one wish: asked for twice with it, it is bought once. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
