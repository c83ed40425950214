/** What the buttons and keys do, wherever they are. */
import { ApiError, elementsOf, getHTML, postJSON } from "./api.js";
import { shown, toast } from "./toast.js";

const SAID = { approved: "Approved", rejected: "Rejected", none: "Verdict taken back" };

/** @typedef {{ key: string, attempt: number, verdict: string | null }} Picture  verdict null: not known */

export class Actions {
  /** @param {{ poll: () => Promise<void>, remake: import("./remake.js").Remake, jobs: import("./jobs.js").Jobs }} parts */
  constructor({ poll, remake, jobs }) {
    this.poll = poll;
    this.jobs = jobs;
    this.remake = remake;
  }

  /** Say a verdict of the pictures that were seen. @param {Picture[]} pictures @param {keyof typeof SAID} verdict */
  review(pictures, verdict) {
    if (!pictures.length) return Promise.resolve();
    return shown(async () => {
      await postJSON("/api/reviews", { attempts: pictures.map((one) => one.attempt), verdict });
      await this.poll();
      const known = pictures.every((one) => one.verdict !== null);
      const which = pictures.length > 1 ? `${pictures.length.toLocaleString("en")} pictures` : pictures[0].key;
      toast(`${SAID[verdict]}: ${which}`, { kind: "verdict", ...(known ? { label: "Undo", act: () => this.#restore(pictures) } : {}) });
    });
  }

  /** @param {Picture[]} pictures */
  #restore(pictures) {
    return shown(async () => {
      for (const verdict of ["approved", "rejected", ""]) {
        const attempts = pictures.filter((one) => one.verdict === verdict).map((one) => one.attempt);
        if (attempts.length) await postJSON("/api/reviews", { attempts, verdict: verdict || "none" });
      }
      await this.poll();
    });
  }

  /** Give up what is held. @param {string} key */
  giveUp(key) {
    return shown(async () => {
      await postJSON("/api/decisions", { key, decision: "give-up" });
      await this.poll();
      toast(`${key} is given up.`, { label: "Lift…", act: () => this.free(key, "lift") });
    });
  }

  /** Ask for what is held or given up; nothing is decided before the dialog is sent. @param {string} key @param {"resubmit" | "lift"} decision */
  free(key, decision) {
    this.remake.open({ keys: [key], how: "retry", decision });
  }

  /** @param {string[]} keys @param {string} [title] */
  retry(keys, title) {
    const free = this.#unqueued(keys);
    this.remake.open({ keys: free, how: "retry", title, queued: keys.length - free.length });
  }

  /**
   * @param {string[]} keys
   * @param {{ asked?: import("./remake.js").Asked | null, first?: boolean }} [known] what a single picture
   *   would be made with, and whether none of them has a picture
   */
  async regenerate(keys, { asked = null, first = false } = {}) {
    const free = this.#unqueued(keys);
    if (!free.length) return;
    const given = asked ?? (free.length === 1 ? await shown(() => askedOf(free[0])) : null);
    if (free.length === 1 && !given) return;
    this.remake.open({ keys: free, how: "regenerate", asked: given ?? null, first: given?.first ?? first, queued: keys.length - free.length });
  }

  /** Without those that wait in a job of this page. @param {string[]} keys */
  #unqueued(keys) {
    const free = keys.filter((key) => !this.jobs.isQueued(key));
    if (keys.length && !free.length) toast(keys.length === 1 ? "It is queued already." : "All of them are queued already.");
    return free;
  }

  /** Make an older picture the current one. @param {number} attempt */
  choose(attempt) {
    return shown(async () => {
      await postJSON("/api/choices", { attempt });
      await this.poll();
      toast("It is the current picture now.");
    });
  }

  /** One file, or a ZIP of many. @param {number[]} attempts */
  download(attempts) {
    if (attempts.length === 1) {
      follow(`/pictures/${attempts[0]}?download=1`);
      return Promise.resolve();
    }
    return shown(async () => {
      const { href, pictures, bytes } = await postJSON("/api/downloads", { attempts });
      follow(href);
      toast(`${pictures.toLocaleString("en")} pictures, ${(bytes / 2 ** 20).toFixed(1)} MB, on their way.`);
    });
  }
}

/** What an item's picture would be made with. @param {string} key @returns {Promise<import("./remake.js").Asked | null>} */
async function askedOf(key) {
  const { html } = await getHTML(`/picture/${encodeURIComponent(key)}?fragment=1`);
  const [picture] = elementsOf(html);
  if (!picture?.dataset.request || !picture.querySelector('[data-action="regenerate"]')) {
    throw new ApiError(`${key} cannot be made just now. Open it to see why.`, 409);
  }
  return JSON.parse(picture.dataset.request);
}

/** @param {string} href */
function follow(href) {
  const link = document.createElement("a");
  link.href = href;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}
