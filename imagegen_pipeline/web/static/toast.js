/** Short messages in the corner; errors stay until they are dismissed. */

const SECONDS = 7;

/**
 * @param {string} text
 * @param {{ bad?: boolean, label?: string, act?: () => void, kind?: string }} [options] a new message of the same kind replaces the old one
 */
export function toast(text, { bad = false, label, act, kind = "" } = {}) {
  const element = document.getElementById(bad ? "alerts" : "toasts");
  if (!element) return;
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  const message = document.createElement("p");
  withCode(message, text);
  box.dataset.kind = kind;
  box.append(message);
  if (act && label) box.append(button(label, () => { box.remove(); act(); }));
  if (bad) box.append(button("Dismiss", () => box.remove()));
  if (kind) element.querySelector(`[data-kind="${kind}"]`)?.remove();
  if (!bad) while (element.childElementCount > 2) element.firstElementChild?.remove();
  hostIn(element);
  element.append(box);
  if (!bad) expire(box);
}

/** Move messages into the open modal dialog, since the rest of the page is inert. @param {HTMLElement} element @param {string} [dialogs] */
export function hostIn(element, dialogs = "dialog:modal") {
  const open = [...document.querySelectorAll(dialogs)].pop() || document.body;
  if (element.parentElement !== open) open.append(element);
}

/** Set a text, with <code> for parts between backticks. @param {HTMLElement} element @param {string} sentence */
export function withCode(element, sentence) {
  const parts = sentence.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  element.replaceChildren(...parts);
}

// Move messages out of a dialog that closes.
document.addEventListener("close", () => {
  for (const id of ["toasts", "alerts"]) {
    const element = document.getElementById(id);
    if (element) hostIn(element);
  }
}, true);

/** @param {HTMLElement} box */
function expire(box) {
  setTimeout(() => {
    if (box.matches(":hover, :focus-within")) expire(box);
    else box.remove();
  }, SECONDS * 1000);
}

/** @param {string} label @param {() => void} act */
function button(label, act) {
  const one = document.createElement("button");
  one.type = "button";
  one.textContent = label;
  one.addEventListener("click", act);
  return one;
}

/** Run `work` and show its error. @template T @param {() => Promise<T>} work @returns {Promise<T | undefined>} */
export async function shown(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    toast(error instanceof Error ? error.message : String(error), { bad: true });
    return undefined;
  }
}

let quietUntil = 0;
/** Announce a sentence to screen readers, at most one in five seconds. @param {string} sentence @param {boolean} [now] */
export function announce(sentence, now = false) {
  const element = document.getElementById("announcer");
  if (!element || element.textContent === sentence || (!now && Date.now() < quietUntil)) return;
  quietUntil = Date.now() + 5000;
  element.textContent = sentence;
}
