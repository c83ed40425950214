/** The jobs that were begun here: how far they are, how they ended, and what waits in them. */
import { ApiError, getJSON, postJSON } from "./api.js";
import { hostIn, shown, withCode } from "./toast.js";

const STORE = "imagegen-jobs";
const ASK_EVERY = 5000; // ms
const SOONEST = 1000; // ms between two questions; more where the answer is long
const GONE_AFTER = 6000; // ms: what went well is not kept on the screen
const MOST_REMEMBERED = 4_000_000; // characters that a browser's session keeps
const STOPPED_BEFORE = /stopped before/;

/**
 * @typedef {{ key: string, status: string, error: string | null, remedy: string | null }} Outcome
 * @typedef {{ status: string, total: number, made: number, reused: number, failed: number, outcomes: Outcome[] }} Answer
 * @typedef {{ id: string, keys: string[], left: Set<string>, before: Map<string, string>, ended: boolean,
 *   stopping: boolean, box: HTMLElement }} Job
 */

export class Jobs {
  /** @param {HTMLElement} place @param {() => void} changed told when other items wait than before */
  constructor(place, changed) {
    this.place = place;
    this.changed = changed;
    /** @type {Job[]} newest first */
    this.all = [];
    /** @type {Map<string, string>} the newest attempt of each item that was seen on the page */
    this.seen = new Map();
    this.due = 0;
    this.wait = SOONEST;
    this.timer = 0;
    this.asking = false;
    for (const { id, keys } of remembered().reverse()) this.#begin(id, keys, new Map());
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--jobs", `${place.offsetHeight}px`);
    }).observe(place);
    document.addEventListener("close", () => this.settle(), true);
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    this.look();
  }

  /** Follow a job that has just been accepted. @param {string} id @param {string[]} keys @param {Map<string, string>} before what `seen` was when it was asked for */
  add(id, keys, before) {
    if (this.all.some((job) => job.id === id)) return;
    this.#begin(id, keys, before);
    this.#remember();
    this.changed();
    this.look();
  }

  /** @param {string} id @param {string[]} keys @param {Map<string, string>} before */
  #begin(id, keys, before) {
    const box = document.createElement("section");
    box.className = "job";
    box.setAttribute("aria-label", "Job");
    const job = { id, keys, left: new Set(keys), before: new Map(), ended: false, stopping: false, box };
    for (const key of keys) {
      const known = before.get(key);
      if (known !== undefined) job.before.set(key, known);
      if (known !== undefined && known !== this.seen.get(key)) job.left.delete(key);
    }
    const words = document.createElement("p");
    words.setAttribute("role", "status");
    words.setAttribute("aria-live", "off"); // each step would be too much to hear; the end is said
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", "Ended");
    box.append(words, button("Stop", () => this.#stop(job)), bar);
    this.all.unshift(job);
    this.place.prepend(box);
    this.settle();
    this.#show(job, null);
  }

  /** Whether an item waits in a job that has not begun it. @param {string} key */
  isQueued(key) {
    return this.all.some((job) => !job.ended && job.left.has(key));
  }

  /** A card is on the page: what has been begun since waits no longer. @param {HTMLElement} card */
  saw(card) {
    const { key = "", last = "", state } = card.dataset;
    this.seen.set(key, last);
    for (const job of this.all) {
      if (job.ended || !job.left.has(key)) continue;
      const before = job.before.get(key);
      if (before === undefined) job.before.set(key, last);
      if (state === "running" || (before !== undefined && before !== last)) job.left.delete(key);
    }
  }

  /** Stand where it can be seen: over a picture that is opened large, too. */
  settle() {
    hostIn(this.place, "dialog.viewer:modal");
  }

  /** Something has changed: ask how far they are, soon. */
  look() {
    if (!this.all.some((job) => !job.ended)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), Math.max(0, this.due - Date.now()));
  }

  async #ask() {
    if (this.asking) return;
    this.asking = true;
    this.wait = SOONEST;
    await Promise.all(this.all.filter((job) => !job.ended).map((job) => this.#askOf(job)));
    this.asking = false;
    this.due = Date.now() + this.wait;
    this.changed();
    clearTimeout(this.timer);
    if (this.all.some((job) => !job.ended)) this.timer = setTimeout(() => this.#ask(), ASK_EVERY);
  }

  /** @param {Job} job */
  async #askOf(job) {
    try {
      this.#told(job, await getJSON(`/api/jobs/${encodeURIComponent(job.id)}`));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        this.#end(job, "The server does not remember this job any more; what it made is here.", null);
      } // else the note says that the connection is lost, and it is asked again
    }
  }

  /** @param {Job} job @param {Answer} answer */
  #told(job, answer) {
    this.wait = Math.min(ASK_EVERY, Math.max(this.wait, answer.total));
    for (const { key } of answer.outcomes) job.left.delete(key);
    if (answer.status === "IN_QUEUE" || answer.status === "IN_PROGRESS") this.#show(job, answer);
    else this.#end(job, ending(answer), answer);
  }

  /** @param {Job} job @param {Answer | null} answer */
  #show(job, answer) {
    const total = answer?.total || job.keys.length || 1;
    const ended = answer ? answer.made + answer.reused + answer.failed : 0;
    const failed = answer?.failed ? `, ${number(answer.failed)} failed` : "";
    const [words, bar] = [job.box.querySelector("p"), job.box.querySelector("progress")];
    if (!words || !bar) return;
    const making = total === 1 ? "Making 1 picture …" : `Making ${number(ended)} of ${number(total)} …`;
    words.textContent = job.stopping ? "Stopping: nothing more is sent, what was sent is collected." : making + failed;
    bar.max = total;
    bar.value = ended;
  }

  /** @param {Job} job @param {string} sentence @param {Answer | null} answer */
  #end(job, sentence, answer) {
    job.ended = true;
    job.left.clear();
    const words = /** @type {HTMLElement} */ (job.box.querySelector("p"));
    const isHeld = job.box.contains(document.activeElement);
    words.setAttribute("aria-live", "polite");
    for (const part of job.box.querySelectorAll("button, progress")) part.remove();
    withCode(words, sentence);
    const isGood = answer?.status === "COMPLETED";
    job.box.dataset.tone = isGood ? "good" : "bad";
    for (const state of ["failed", "held"]) {
      if (!answer?.outcomes.some((one) => one.status === state)) continue;
      job.box.append(link(`/?state=${state}`, `Show the ${state} ones`));
    }
    const dismiss = button("Dismiss", () => this.#remove(job));
    job.box.append(dismiss);
    if (isHeld) dismiss.focus({ preventScroll: true });
    if (isGood) this.#fade(job);
    this.#remember();
  }

  /** @param {Job} job */
  #fade(job) {
    setTimeout(() => {
      if (job.box.matches(":hover, :focus-within")) this.#fade(job);
      else this.#remove(job);
    }, GONE_AFTER);
  }

  /** @param {Job} job */
  #remove(job) {
    job.box.remove();
    this.all = this.all.filter((one) => one !== job);
    this.#remember();
  }

  /** @param {Job} job */
  #stop(job) {
    const stop = /** @type {HTMLButtonElement} */ (job.box.querySelector("button"));
    stop.disabled = true;
    return shown(async () => {
      try {
        const answer = await postJSON(`/api/jobs/${encodeURIComponent(job.id)}/stop`, {});
        job.stopping = true;
        if (!job.ended) this.#told(job, answer);
        this.look();
      } catch (error) {
        stop.disabled = false;
        throw error;
      }
    });
  }

  /** A reload goes on following; what went well is over. */
  #remember() {
    const kept = this.all.filter((job) => !job.ended || job.box.dataset.tone === "bad");
    const whole = JSON.stringify(kept.map(({ id, keys, ended }) => ({ id, keys: ended ? [] : keys })));
    const text = whole.length < MOST_REMEMBERED ? whole : JSON.stringify(kept.map(({ id }) => ({ id, keys: [] })));
    try {
      sessionStorage.setItem(STORE, text);
    } catch { /* a browser that keeps nothing: a reload does not go on following */ }
  }
}

/** @returns {{ id: string, keys: string[] }[]} */
function remembered() {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORE) || "[]");
    return found.filter((/** @type {any} */ one) => typeof one.id === "string" && Array.isArray(one.keys));
  } catch {
    return [];
  }
}

/** How it ended, and why where it did not go well. @param {Answer} answer */
function ending({ status, total, made, reused, outcomes }) {
  const got = [made || !reused ? `${number(made)} made.` : "", reused ? `${number(reused)} reused at no cost.` : ""];
  if (status === "COMPLETED") return got.filter(Boolean).join(" ");
  const why = outcomes.find((one) => one.error && !STOPPED_BEFORE.test(one.error));
  const reason = why ? `: ${[why.error, why.remedy].filter(Boolean).join(" ")}` : ".";
  const isCut = status === "STOPPED" || outcomes.some((one) => one.status === "skipped");
  if (isCut) return `Stopped after ${number(made + reused)} of ${number(total)}${reason}`;
  if (total === 1) return why ? [why.error, why.remedy].filter(Boolean).join(" ") : "It failed.";
  return `${number(total - made - reused)} of ${number(total)} failed${reason}`;
}

/** @param {number} count */
function number(count) {
  return count.toLocaleString("en");
}

/** @param {string} label @param {() => void} act */
function button(label, act) {
  const one = document.createElement("button");
  one.type = "button";
  one.textContent = label;
  one.addEventListener("click", act);
  return one;
}

/** @param {string} href @param {string} label */
function link(href, label) {
  const one = document.createElement("a");
  one.href = href;
  one.className = "state-link";
  one.textContent = label;
  return one;
}
