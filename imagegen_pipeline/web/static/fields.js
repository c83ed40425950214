/** Validates the fields of the regenerate dialog before the server does. */

/** Ranges of each provider's fields; the server has the last word. @type {Record<string, Record<string, number[]>>} */
const RANGES = {
  duomi: { steps: [1, 100], guidance: [0, 20], width: [1, 99_999], height: [1, 99_999], seed_number: [0, 9_999_999_999] },
  runpod: { steps: [1, 10_000], guidance: [0, 100], width: [16, 16_384], height: [16, 16_384], seed_number: [0, 2 ** 64 - 1] },
};
const WIDEST = { ...RANGES.runpod, width: [1, 99_999], height: [1, 99_999] };
/** Sides are multiples of this. @type {Record<string, number>} */
const SIDE_STEPS = { runpod: 16 };

/** What is wrong with a field; empty if nothing is. @param {HTMLInputElement} input @param {string | null} provider null: several */
export function faultOf(input, provider) {
  const { name } = input;
  const text = input.value.trim();
  if (name === "prompt") return text ? "" : "Describe the image.";
  const range = (RANGES[provider ?? ""] ?? WIDEST)[name];
  if (!range) return "";
  if (!text && !input.validity.badInput && name !== "seed_number") return ""; // unchanged
  const [least, most] = range;
  if (name === "guidance") {
    return text && Number(text) >= least && Number(text) <= most ? "" : `A number from ${least} to ${most}.`;
  }
  const isInteger = /^\d{1,20}$/.test(text);
  if (name === "seed_number") {
    if (!isInteger) return "A whole number, such as 4711.";
    return BigInt(text) <= largestSeed(most) ? "" : "That is larger than the largest seed.";
  }
  const limits = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  if (!isInteger || Number(text) < least || Number(text) > most) return `A whole number ${limits}.`;
  const step = name === "width" || name === "height" ? SIDE_STEPS[provider ?? ""] ?? 1 : 1;
  return Number(text) % step ? `A multiple of ${step}.` : "";
}

/** 2^64 - 1 is no exact number: as one it is 2^64. @param {number} most */
function largestSeed(most) {
  return Number.isSafeInteger(most) ? BigInt(most) : BigInt(most) - 1n;
}

/** @param {HTMLInputElement} input @param {string} fault empty: none */
export function showFault(input, fault) {
  const id = `fault-${input.name}`;
  let message = document.getElementById(id);
  if (!fault) {
    message?.remove();
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
    return;
  }
  if (!message) {
    message = document.createElement("span");
    message.id = id;
    message.className = "fault";
    (input.closest("label, .number") ?? input).after(message);
  }
  message.textContent = fault;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
}
