/** Short messages in the corner; what went wrong stays until it is dismissed. */

const SECONDS = 7;

/**
 * @param {string} text
 * @param {{ bad?: boolean, label?: string, act?: () => void, kind?: string }} [options] of one kind there is one message at a time
 */
export function toast(text, { bad = false, label, act, kind = "" } = {}) {
  const place = document.getElementById(bad ? "alerts" : "toasts");
  if (!place) return;
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  const words = document.createElement("p");
  withCode(words, text);
  box.dataset.kind = kind;
  box.append(words);
  if (act && label) box.append(button(label, () => { box.remove(); act(); }));
  if (bad) box.append(button("Dismiss", () => box.remove()));
  if (kind) place.querySelector(`[data-kind="${kind}"]`)?.remove();
  if (!bad) while (place.childElementCount > 2) place.firstElementChild?.remove();
  hostIn(place);
  place.append(box);
  if (!bad) expire(box);
}

/** A modal dialog makes the rest of the page inert: the messages go where it is. @param {HTMLElement} place @param {string} [dialogs] */
export function hostIn(place, dialogs = "dialog:modal") {
  const open = [...document.querySelectorAll(dialogs)].pop() || document.body;
  if (place.parentElement !== open) open.append(place);
}

/** Write a sentence; what it has between backticks is a command. @param {HTMLElement} place @param {string} sentence */
export function withCode(place, sentence) {
  const parts = sentence.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  place.replaceChildren(...parts);
}

// A dialog that closes takes no message with it.
document.addEventListener("close", () => {
  for (const id of ["toasts", "alerts"]) {
    const place = document.getElementById(id);
    if (place) hostIn(place);
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

/** Run `work` and show what goes wrong. @template T @param {() => Promise<T>} work @returns {Promise<T | undefined>} */
export async function shown(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    toast(error instanceof Error ? error.message : String(error), { bad: true });
    return undefined;
  }
}

let quiet = 0;
/** Say a sentence to screen readers, at most one in a while. @param {string} sentence @param {boolean} [now] */
export function say(sentence, now = false) {
  const place = document.getElementById("said");
  if (!place || place.textContent === sentence || (!now && Date.now() < quiet)) return;
  quiet = Date.now() + 5000;
  place.textContent = sentence;
}
