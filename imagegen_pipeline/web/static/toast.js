/** Short messages in the corner; what went wrong stays until it is dismissed. */

const SECONDS = 7;

/**
 * @param {string} text
 * @param {{ bad?: boolean, label?: string, act?: () => void }} [options]
 */
export function toast(text, { bad = false, label, act } = {}) {
  const place = document.getElementById(bad ? "alerts" : "toasts");
  if (!place) return;
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  const words = document.createElement("p");
  words.textContent = text;
  box.append(words);
  if (act && label) box.append(button(label, () => { box.remove(); act(); }));
  if (bad) box.append(button("Dismiss", () => box.remove()));
  if (!bad) while (place.childElementCount > 2) place.firstElementChild?.remove();
  host(place);
  place.append(box);
  if (!bad) expire(box);
}

/** A modal dialog makes the rest of the page inert: the messages go where it is. @param {HTMLElement} place */
function host(place) {
  const open = [...document.querySelectorAll("dialog:modal")].pop() || document.body;
  if (place.parentElement !== open) open.append(place);
}

// A dialog that closes takes no message with it.
document.addEventListener("close", () => {
  for (const id of ["toasts", "alerts"]) {
    const place = document.getElementById(id);
    if (place) host(place);
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
