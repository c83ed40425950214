/** The jobs started on this page: progress, results, and waiting items. */
import { ApiError, getJSON, postJSON } from "./api.js";
import { hostIn, shown, withCode } from "./toast.js";

const STORE = "imagegen-jobs";
const POLL_EVERY = 5000; // ms
const MIN_INTERVAL = 1000; // ms between two requests; more for long responses
const HIDE_AFTER = 6000; // ms after success
const MAX_STORED = 4_000_000; // characters of session storage
const STOPPED_BEFORE = /stopped before/;

/**
 * @typedef {{ key: string, status: string, error: string | null, remedy: string | null }} Outcome
 * @typedef {{ status: string, total: number, made: number, reused: number, failed: number, outcomes: Outcome[] }} JobResponse
 * @typedef {{ id: string, keys: string[], waiting: Set<string>, before: Map<string, string>, ended: boolean,
 *   stopping: boolean, box: HTMLElement }} Job
 */

export class Jobs {
  /** @param {HTMLElement} place @param {() => void} changed called when the waiting items may have changed */
  constructor(place, changed) {
    this.place = place;
    this.changed = changed;
    /** @type {Job[]} newest first */
    this.all = [];
    /** @type {Map<string, string>} the newest attempt of each item shown on the page */
    this.lastAttempts = new Map();
    this.nextPoll = 0;
    this.interval = MIN_INTERVAL;
    this.timer = 0;
    this.polling = false;
    for (const { id, keys } of storedJobs().reverse()) this.#start(id, keys, new Map());
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--jobs", `${place.offsetHeight}px`);
    }).observe(place);
    document.addEventListener("close", () => this.attach(), true);
    document.addEventListener("visibilitychange", () => document.hidden || this.pollSoon());
    this.pollSoon();
  }

  /** Follow an accepted job. @param {string} id @param {string[]} keys @param {Map<string, string>} before `lastAttempts` when it was requested */
  add(id, keys, before) {
    if (this.all.some((job) => job.id === id)) return;
    this.#start(id, keys, before);
    this.#store();
    this.changed();
    this.pollSoon();
  }

  /** @param {string} id @param {string[]} keys @param {Map<string, string>} before */
  #start(id, keys, before) {
    const box = document.createElement("section");
    box.className = "job";
    box.setAttribute("aria-label", "Job");
    const job = { id, keys, waiting: new Set(keys), before: new Map(), ended: false, stopping: false, box };
    for (const key of keys) {
      const known = before.get(key);
      if (known !== undefined) job.before.set(key, known);
      if (known !== undefined && known !== this.lastAttempts.get(key)) job.waiting.delete(key);
    }
    const message = document.createElement("p");
    message.setAttribute("role", "status");
    message.setAttribute("aria-live", "off"); // only the end is announced
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", "Progress");
    box.append(message, button("Stop", () => this.#stop(job)), bar);
    this.all.unshift(job);
    this.place.prepend(box);
    this.attach();
    this.#show(job, null);
  }

  /** Whether an item waits in a job that has not started it. @param {string} key */
  isQueued(key) {
    return this.all.some((job) => !job.ended && job.waiting.has(key));
  }

  /** A card is shown: an item that has started since no longer waits. @param {HTMLElement} card */
  cardShown(card) {
    const { key = "", last = "", state } = card.dataset;
    this.lastAttempts.set(key, last);
    for (const job of this.all) {
      if (job.ended || !job.waiting.has(key)) continue;
      const before = job.before.get(key);
      if (before === undefined) job.before.set(key, last);
      if (state === "running" || (before !== undefined && before !== last)) job.waiting.delete(key);
    }
  }

  /** Attach the bar to the open item's dialog, or to the page. */
  attach() {
    hostIn(this.place, "dialog.viewer:modal");
  }

  /** Request the jobs' progress soon. */
  pollSoon() {
    if (!this.all.some((job) => !job.ended)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#poll(), Math.max(0, this.nextPoll - Date.now()));
  }

  async #poll() {
    if (this.polling) return;
    this.polling = true;
    this.interval = MIN_INTERVAL;
    await Promise.all(this.all.filter((job) => !job.ended).map((job) => this.#pollJob(job)));
    this.polling = false;
    this.nextPoll = Date.now() + this.interval;
    this.changed();
    clearTimeout(this.timer);
    if (this.all.some((job) => !job.ended)) this.timer = setTimeout(() => this.#poll(), POLL_EVERY);
  }

  /** @param {Job} job */
  async #pollJob(job) {
    try {
      this.#update(job, await getJSON(`/api/jobs/${encodeURIComponent(job.id)}`));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        this.#end(job, "The server has forgotten this job; its images are here.", null);
      } // else the note shows the lost connection, and the next poll tries again
    }
  }

  /** @param {Job} job @param {JobResponse} response */
  #update(job, response) {
    this.interval = Math.min(POLL_EVERY, Math.max(this.interval, response.total));
    for (const { key } of response.outcomes) job.waiting.delete(key);
    if (response.status === "IN_QUEUE" || response.status === "IN_PROGRESS") this.#show(job, response);
    else this.#end(job, ending(response), response);
  }

  /** @param {Job} job @param {JobResponse | null} response */
  #show(job, response) {
    const total = response?.total || job.keys.length || 1;
    const ended = response ? response.made + response.reused + response.failed : 0;
    const failed = response?.failed ? `, ${number(response.failed)} failed` : "";
    const [message, bar] = [job.box.querySelector("p"), job.box.querySelector("progress")];
    if (!message || !bar) return;
    const progress = total === 1 ? "Generating 1 image …" : `Generating ${number(ended)} of ${number(total)} …`;
    message.textContent = job.stopping ? "Stopping: nothing more is sent; images in flight are collected." : progress + failed;
    bar.max = total;
    bar.value = ended;
  }

  /** @param {Job} job @param {string} sentence @param {JobResponse | null} response */
  #end(job, sentence, response) {
    job.ended = true;
    job.waiting.clear();
    const message = /** @type {HTMLElement} */ (job.box.querySelector("p"));
    const hasFocus = job.box.contains(document.activeElement);
    message.setAttribute("aria-live", "polite");
    for (const part of job.box.querySelectorAll("button, progress")) part.remove();
    withCode(message, sentence);
    const isGood = response?.status === "COMPLETED";
    job.box.dataset.tone = isGood ? "good" : "bad";
    for (const state of ["failed", "held"]) {
      if (!response?.outcomes.some((one) => one.status === state)) continue;
      job.box.append(link(`/?state=${state}`, `Show ${state} items`));
    }
    const dismiss = button("Dismiss", () => this.#remove(job));
    job.box.append(dismiss);
    if (hasFocus) dismiss.focus({ preventScroll: true });
    if (isGood) this.#fade(job);
    this.#store();
  }

  /** @param {Job} job */
  #fade(job) {
    setTimeout(() => {
      if (job.box.matches(":hover, :focus-within")) this.#fade(job);
      else this.#remove(job);
    }, HIDE_AFTER);
  }

  /** @param {Job} job */
  #remove(job) {
    job.box.remove();
    this.all = this.all.filter((one) => one !== job);
    this.#store();
  }

  /** @param {Job} job */
  #stop(job) {
    const stop = /** @type {HTMLButtonElement} */ (job.box.querySelector("button"));
    stop.disabled = true;
    return shown(async () => {
      try {
        const response = await postJSON(`/api/jobs/${encodeURIComponent(job.id)}/stop`, {});
        job.stopping = true;
        if (!job.ended) this.#update(job, response);
        this.pollSoon();
      } catch (error) {
        stop.disabled = false;
        throw error;
      }
    });
  }

  /** Store the jobs for a reload, without successful ones. */
  #store() {
    const kept = this.all.filter((job) => !job.ended || job.box.dataset.tone === "bad");
    const whole = JSON.stringify(kept.map(({ id, keys, ended }) => ({ id, keys: ended ? [] : keys })));
    const text = whole.length < MAX_STORED ? whole : JSON.stringify(kept.map(({ id }) => ({ id, keys: [] })));
    try {
      sessionStorage.setItem(STORE, text);
    } catch { /* without session storage a reload forgets the jobs */ }
  }
}

/** @returns {{ id: string, keys: string[] }[]} */
function storedJobs() {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORE) || "[]");
    return found.filter((/** @type {any} */ one) => typeof one.id === "string" && Array.isArray(one.keys));
  } catch {
    return [];
  }
}

/** The result, with the reason for a failure. @param {JobResponse} response */
function ending({ status, total, made, reused, outcomes }) {
  const counts = [made || !reused ? `${number(made)} generated.` : "", reused ? `${number(reused)} reused at no cost.` : ""];
  if (status === "COMPLETED") return counts.filter(Boolean).join(" ");
  const first = outcomes.find((one) => one.error && !STOPPED_BEFORE.test(one.error));
  const reason = first ? `: ${[first.error, first.remedy].filter(Boolean).join(" ")}` : ".";
  const wasStopped = status === "STOPPED" || outcomes.some((one) => one.status === "skipped");
  if (wasStopped) return `Stopped after ${number(made + reused)} of ${number(total)}${reason}`;
  if (total === 1) return first ? [first.error, first.remedy].filter(Boolean).join(" ") : "It failed.";
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
