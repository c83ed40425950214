/** The actions behind buttons and keyboard shortcuts. */
import { ApiError, elementsOf, getHTML, postJSON } from "./api.js";
import { shown, toast } from "./toast.js";

const VERDICT_LABELS = { approved: "Approved", rejected: "Rejected", none: "Verdict removed" };

/** @typedef {{ key: string, attempt: number, verdict: string | null }} Picture  verdict null: unknown */

export class Actions {
  /** @param {{ poll: () => Promise<void>, dialog: import("./regenerate.js").RegenerateDialog, jobs: import("./jobs.js").Jobs }} parts */
  constructor({ poll, dialog, jobs }) {
    this.poll = poll;
    this.jobs = jobs;
    this.dialog = dialog;
  }

  /** Set a verdict on images. @param {Picture[]} pictures @param {keyof typeof VERDICT_LABELS} verdict */
  review(pictures, verdict) {
    if (!pictures.length) return Promise.resolve();
    return shown(async () => {
      await postJSON("/api/reviews", { attempts: pictures.map((one) => one.attempt), verdict });
      await this.poll();
      const known = pictures.every((one) => one.verdict !== null);
      const which = pictures.length > 1 ? `${pictures.length.toLocaleString("en")} images` : pictures[0].key;
      toast(`${VERDICT_LABELS[verdict]}: ${which}`, { kind: "verdict", ...(known ? { label: "Undo", act: () => this.#restore(pictures) } : {}) });
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

  /** Give up a held item. @param {string} key */
  giveUp(key) {
    return shown(async () => {
      await postJSON("/api/decisions", { key, decision: "give-up" });
      await this.poll();
      toast(`${key} is given up.`, { label: "Undo…", act: () => this.decide(key, "allow-retry") });
    });
  }

  /** Open the dialog for a held item; the decision is sent with it. @param {string} key @param {"resubmit" | "allow-retry"} decision */
  decide(key, decision) {
    this.dialog.open({ keys: [key], mode: "retry", decision });
  }

  /** @param {string[]} keys @param {string} [title] */
  retry(keys, title) {
    const free = this.#unqueued(keys);
    this.dialog.open({ keys: free, mode: "retry", title, queued: keys.length - free.length });
  }

  /**
   * @param {string[]} keys
   * @param {{ values?: import("./regenerate.js").Values | null, first?: boolean }} [known] the fields of a single
   *   item, and whether none of the items has an image
   */
  async regenerate(keys, { values = null, first = false } = {}) {
    const free = this.#unqueued(keys);
    if (!free.length) return;
    const fields = values ?? (free.length === 1 ? await shown(() => fieldValues(free[0])) : null);
    if (free.length === 1 && !fields) return;
    this.dialog.open({ keys: free, mode: "regenerate", values: fields ?? null, first: fields?.first ?? first, queued: keys.length - free.length });
  }

  /** The keys that do not wait in a job of this page. @param {string[]} keys */
  #unqueued(keys) {
    const free = keys.filter((key) => !this.jobs.isQueued(key));
    if (keys.length && !free.length) toast(keys.length === 1 ? "It is queued already." : "All of them are queued already.");
    return free;
  }

  /** Make an older image the current one. @param {number} attempt */
  choose(attempt) {
    return shown(async () => {
      await postJSON("/api/choices", { attempt });
      await this.poll();
      toast("It is the current image now.");
    });
  }

  /** Download one file, or a ZIP file of many. @param {number[]} attempts */
  download(attempts) {
    if (attempts.length === 1) {
      follow(`/pictures/${attempts[0]}?download=1`);
      return Promise.resolve();
    }
    return shown(async () => {
      const { href, pictures, bytes } = await postJSON("/api/downloads", { attempts });
      follow(href);
      toast(`Downloading ${pictures.toLocaleString("en")} images, ${(bytes / 2 ** 20).toFixed(1)} MB.`);
    });
  }
}

/** The dialog's initial values for an item. @param {string} key @returns {Promise<import("./regenerate.js").Values | null>} */
async function fieldValues(key) {
  const { html } = await getHTML(`/picture/${encodeURIComponent(key)}?fragment=1`);
  const [picture] = elementsOf(html);
  if (!picture?.dataset.request || !picture.querySelector('[data-action="regenerate"]')) {
    throw new ApiError(`${key} cannot be generated now. Open it for the reason.`, 409);
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
