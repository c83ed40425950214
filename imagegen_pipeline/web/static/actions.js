/** What the buttons and keys do, wherever they are. */
import { elementsOf, getHTML, postJSON } from "./api.js";
import { shown, toast } from "./toast.js";

const SAID = { approved: "Approved", rejected: "Rejected", none: "Verdict taken back" };

/** @typedef {{ attempt: number, verdict: string | null }} Picture  verdict null: not known */

export class Actions {
  /** @param {{ poll: () => Promise<void>, remake: import("./remake.js").Remake }} parts */
  constructor({ poll, remake }) {
    this.poll = poll;
    this.remake = remake;
  }

  /** Say a verdict of the pictures that were seen. @param {Picture[]} pictures @param {keyof typeof SAID} verdict */
  review(pictures, verdict) {
    if (!pictures.length) return Promise.resolve();
    return shown(async () => {
      await postJSON("/api/reviews", { attempts: pictures.map((one) => one.attempt), verdict });
      await this.poll();
      const known = pictures.every((one) => one.verdict !== null);
      const many = pictures.length > 1 ? ` ${pictures.length.toLocaleString("en")} pictures` : "";
      toast(SAID[verdict] + many, known ? { label: "Undo", act: () => this.#restore(pictures) } : {});
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

  /** Free what is held (and then ask for it, cost first), or give it up. @param {string} key @param {string} decision */
  decide(key, decision) {
    return shown(async () => {
      await postJSON("/api/decisions", { key, decision });
      await this.poll();
      if (decision === "give-up") toast(`${key} is given up.`, { label: "Lift", act: () => this.decide(key, "lift") });
      else this.retry([key]);
    });
  }

  /** @param {string[]} keys @param {string} [title] */
  retry(keys, title) {
    this.remake.open({ keys, how: "retry", title });
  }

  /** @param {string[]} keys @param {import("./remake.js").Asked | null} [asked] what a single picture was made with */
  async regenerate(keys, asked = null) {
    const given = asked ?? (keys.length === 1 ? await shown(() => askedOf(keys[0])) : null);
    this.remake.open({ keys, how: "regenerate", asked: given ?? null });
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

/** What an item's picture was made with. @param {string} key @returns {Promise<import("./remake.js").Asked | null>} */
async function askedOf(key) {
  const { html } = await getHTML(`/picture/${encodeURIComponent(key)}?fragment=1`);
  const text = elementsOf(html)[0]?.dataset.request;
  return text ? JSON.parse(text) : null;
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
