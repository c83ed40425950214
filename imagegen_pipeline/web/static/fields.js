/** Validates the fields of the regenerate dialog before the server does. */

/** @typedef {{ steps: number[], guidance: number[] | null, side: number[], side_step: number, seed: string[], model: boolean }} Limits of a provider; seeds are texts, since JavaScript's numbers are too short for them */

/** @type {Limits} */
const WIDEST = { steps: [1, 10_000], guidance: [0, 100], side: [1, 99_999], side_step: 1, seed: ["0", "18446744073709551615"], model: true };

/** What is wrong with a field; empty if nothing is. @param {HTMLInputElement} input @param {Limits | null} limits null: several providers */
export function faultOf(input, limits) {
  const { name } = input;
  const text = input.value.trim();
  const { steps, guidance, side, side_step: step, seed } = limits ?? WIDEST;
  if (name === "prompt") return text ? "" : "Describe the image.";
  const isSide = name === "width" || name === "height";
  if (!isSide && name !== "steps" && name !== "guidance" && name !== "seed_number") return "";
  if (!text && !input.validity.badInput && name !== "seed_number") return ""; // unchanged
  const isInteger = /^\d{1,20}$/.test(text);
  if (name === "seed_number") {
    if (!isInteger) return "A whole number, such as 4711.";
    return BigInt(text) <= BigInt(seed[1]) ? "" : "That is larger than the largest seed.";
  }
  if (name === "guidance") {
    const [least, most] = guidance ?? [0, 100];
    return text && Number(text) >= least && Number(text) <= most ? "" : `A number from ${least} to ${most}.`;
  }
  const [least, most] = isSide ? side : steps;
  const range = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  if (!isInteger || Number(text) < least || Number(text) > most) return `A whole number ${range}.`;
  return isSide && Number(text) % step ? `A multiple of ${step}.` : "";
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
