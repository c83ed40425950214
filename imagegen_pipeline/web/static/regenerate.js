/** The regenerate dialog: which fields differ, what it will cost, and the request. */
import { ApiError, postJSON } from "./api.js";
import { faultOf, showFault } from "./fields.js";
import { withCode } from "./toast.js";

const NUMBERS = ["steps", "width", "height", "guidance"];
const TEXTS = ["prompt", "model", "negative_prompt"];
const TITLES = { regenerate: "Regenerate", retry: "Retry" };
const DECISIONS = {
  resubmit: { title: "Send again", sentence: "Sends it again. It may have been billed already." },
  "allow-retry": { title: "Allow retry", sentence: "Allows a retry and sends it again. It may have been billed already." },
};
const ESTIMATE_DELAY = 250; // ms without typing

/** @typedef {{ kind: string, limits: import("./fields.js").Limits | null, prompt: string, negative_prompt: string, steps: number, guidance: number, width: number, height: number, model: string, seed: string, first: boolean }} Values the initial values of the fields */

/** @typedef {{ keys: string[], mode: "regenerate" | "retry", values?: Values | null, title?: string, first?: boolean,
 *   decision?: keyof typeof DECISIONS | null, queued?: number }} Request `first`: the items have no image */

export class RegenerateDialog {
  /** @param {HTMLDialogElement} dialog @param {{ poll: () => Promise<void>, jobs: import("./jobs.js").Jobs }} parts */
  constructor(dialog, { poll, jobs }) {
    this.dialog = dialog;
    this.poll = poll;
    this.jobs = jobs;
    this.form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
    this.submit = /** @type {HTMLButtonElement} */ (dialog.querySelector('[type="submit"]'));
    this.cost = /** @type {HTMLElement} */ (dialog.querySelector("#regenerate-cost"));
    this.error = /** @type {HTMLElement} */ (dialog.querySelector("#regenerate-error"));
    this.keys = /** @type {string[]} */ ([]);
    this.mode = /** @type {"regenerate" | "retry"} */ ("regenerate");
    this.values = /** @type {Values | null} */ (null);
    this.first = false;
    /** @type {keyof typeof DECISIONS | null} sent before the request */
    this.decision = null;
    this.id = "";
    this.timer = 0;
    this.abort = /** @type {AbortController | null} */ (null);
    this.form.addEventListener("input", (event) => this.#edited(event));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.#send(); });
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("close", () => { clearTimeout(this.timer); this.abort?.abort(); });
  }

  /** @param {Request} request */
  open({ keys, mode, values = null, title, first = false, decision = null, queued = 0 }) {
    if (!keys.length || this.dialog.open) return;
    Object.assign(this, { keys, mode, values, first, decision, id: newId() });
    this.form.reset();
    const usual = decision ? DECISIONS[decision].title : first && mode === "regenerate" ? "Generate" : TITLES[mode];
    this.#render(title ?? usual, queued ? ` ${queued.toLocaleString("en")} queued items are left out.` : "");
    this.dialog.showModal();
    const prompt = /** @type {HTMLTextAreaElement} */ (this.#field("prompt"));
    prompt.setSelectionRange(0, 0);
    prompt.scrollTop = 0;
    if (values && mode === "regenerate") prompt.focus({ preventScroll: true });
    this.#estimateSoon(0);
  }

  /** @param {string} title @param {string} note */
  #render(title, note) {
    const { keys, mode, values } = this;
    const one = keys.length === 1;
    const isActor = values?.kind === "actor";
    this.#text("#regenerate-title", one ? title : `${title}: ${keys.length.toLocaleString("en")} images`);
    const about = mode === "retry" ? "Items that failed or have no image are requested; the others stay unchanged." : "Empty fields keep each image's own value.";
    this.#text("#regenerate-about", (one ? keys[0] + (note && ".") : about) + note);
    this.#text("#regenerate-seed-new", this.first ? "Default" : "New");
    this.#text("#regenerate-prompt-label", isActor ? "Description" : "Prompt");
    this.submit.textContent = title;
    /** @type {HTMLElement} */ (this.dialog.querySelector("#regenerate-fields")).hidden = mode === "retry";
    /** @type {Record<string, boolean>} */
    const shown = {
      "one-item": Boolean(values),
      "has-image": Boolean(values) && !this.first,
      "prompt-kind": !isActor,
      "has-models": !isActor && values?.limits?.model !== false,
    };
    for (const part of this.dialog.querySelectorAll("[data-show]")) {
      const element = /** @type {HTMLElement} */ (part);
      element.hidden = !shown[element.dataset.show ?? ""];
    }
    for (const input of this.#inputs()) showFault(input, "");
    if (!values) return;
    for (const name of [...TEXTS, ...NUMBERS]) {
      this.#input(name).value = String(values[/** @type {keyof Values} */ (name)] ?? "");
    }
    this.#input("seed_number").value = values.seed;
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

  /** Show each field's fault beside it. @returns {boolean} whether there is none */
  #validate() {
    if (this.mode === "retry") return true;
    const seed = /** @type {RadioNodeList} */ (this.form.elements.namedItem("seed")).value;
    const faults = this.#inputs().map((input) => {
      const isUsed = !input.closest("[hidden]") && (input.name !== "seed_number" || seed === "number");
      const fault = isUsed ? faultOf(input, this.values?.limits ?? null) : "";
      showFault(input, fault);
      return fault;
    });
    return !faults.some(Boolean);
  }

  /** The fields that differ from the shown image's request. */
  #overrides() {
    if (this.mode === "retry") return {};
    /** @type {Record<string, string | number>} */
    const overrides = { seed: this.#seed() };
    for (const name of [...TEXTS, ...NUMBERS]) {
      const input = this.#input(name);
      const value = name === "prompt" ? input.value : input.value.trim();
      const before = String(this.values?.[/** @type {keyof Values} */ (name)] ?? "");
      if (value === before || input.closest("[hidden]")) continue;
      if (value === "" && (name !== "negative_prompt" || !this.values)) continue;
      overrides[name] = NUMBERS.includes(name) ? Number(value) : value;
    }
    return overrides;
  }

  /** @returns {string | number} */
  #seed() {
    const choice = /** @type {RadioNodeList} */ (this.form.elements.namedItem("seed")).value;
    if (choice !== "number") return choice;
    const text = this.#input("seed_number").value.trim();
    return /^\d{1,15}$/.test(text) ? Number(text) : text;
  }

  /** @param {Event} event */
  #edited(event) {
    const { name } = /** @type {HTMLInputElement} */ (event.target);
    if (name === "seed_number") this.#chooseSeedNumber();
    this.#estimateSoon(ESTIMATE_DELAY);
  }

  #chooseSeedNumber() {
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
      this.#estimateSoon(0);
    }
  }

  /** Disable the button until the cost is shown. @param {number} delay */
  #estimateSoon(delay) {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.submit.disabled = true;
    this.error.hidden = true;
    this.cost.textContent = "Estimating the cost…";
    this.cost.dataset.tone = "";
    this.timer = setTimeout(() => this.#estimate(), delay);
  }

  async #estimate() {
    if (!this.#validate()) {
      this.cost.textContent = "Correct the marked fields.";
      return;
    }
    const abort = new AbortController();
    this.abort = abort;
    if (this.decision) { await this.#estimateDecision(abort); return; }
    const body = { keys: this.keys, mode: this.mode, overrides: this.#overrides() };
    try {
      const estimate = await postJSON("/api/cost-estimates", body, abort.signal);
      if (abort.signal.aborted) return;
      this.cost.textContent = estimate.sentence;
      const left = estimate.budget_day === null ? Infinity : estimate.budget_day - estimate.spent_today;
      this.cost.dataset.tone = estimate.unpriced > 0 || (estimate.reserve ?? estimate.cost ?? 0) > left ? "warn" : "";
      this.submit.disabled = estimate.make + estimate.reuse === 0;
      if (this.mode === "retry" && !this.submit.disabled) this.submit.focus();
    } catch (error) {
      if (!abort.signal.aborted) this.#failed(error);
    }
  }

  /** A held item is refused by an estimate, so the cost of a regenerate is shown. @param {AbortController} abort */
  async #estimateDecision(abort) {
    const { sentence } = DECISIONS[/** @type {keyof typeof DECISIONS} */ (this.decision)];
    const body = { keys: this.keys, mode: "regenerate", overrides: {} };
    const estimate = await postJSON("/api/cost-estimates", body, abort.signal).catch(() => null);
    if (abort.signal.aborted) return;
    const cost = estimate?.make && estimate.cost !== null ? ` It costs about ${Number(estimate.cost.toPrecision(4))}.` : "";
    this.cost.textContent = sentence + cost;
    this.cost.dataset.tone = "warn";
    this.submit.disabled = false;
    this.submit.focus();
  }

  /** @param {unknown} error */
  #failed(error) {
    this.cost.textContent = "";
    withCode(this.error, error instanceof Error ? error.message : String(error));
    this.error.hidden = false;
  }

  async #send() {
    if (this.submit.disabled) return;
    this.submit.disabled = true;
    this.submit.setAttribute("aria-busy", "true");
    const body = { id: this.id, keys: this.keys, mode: this.mode, overrides: this.#overrides() };
    const before = new Map(this.jobs.lastAttempts);
    try {
      if (this.decision) await postJSON("/api/decisions", { key: this.keys[0], decision: this.decision });
      this.decision = null; // sent: another click must not send it again
      const job = await postJSON("/api/generations", body);
      this.jobs.add(job.jobId, body.keys, before);
      this.dialog.close();
      await this.poll();
    } catch (error) {
      this.#failed(error);
      // A request that may have been accepted is repeated with the same id: it is bought once.
      const isRefused = error instanceof ApiError && error.status >= 400 && error.status < 500;
      if (isRefused) this.id = newId();
      this.submit.disabled = isRefused && error.status === 400;
    } finally {
      this.submit.removeAttribute("aria-busy");
    }
  }
}

/** The id of one request; sent twice with it, it is bought once. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
