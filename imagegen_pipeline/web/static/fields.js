/** What the fields of the dialog take, said beside them before the server has to. */

/** @typedef {{ steps: number[], guidance: number[] | null, side: number[], side_step: number, seed: string[], model: boolean }} Limits */

/** @type {Limits} */
const ANY = { steps: [1, 10_000], guidance: [0, 100], side: [1, 99_999], side_step: 1, seed: ["0", "18446744073709551615"], model: true };

/** The error of a field, or an empty text. @param {HTMLInputElement} input @param {Limits | null} limits null: of several providers */
export function faultOf(input, limits) {
  const { name } = input;
  const text = input.value.trim();
  const { steps, guidance, side, side_step: step, seed } = limits ?? ANY;
  if (name === "prompt") return text ? "" : "Write what the picture should show.";
  const isSide = name === "width" || name === "height";
  if (!isSide && name !== "steps" && name !== "guidance" && name !== "seed_number") return "";
  if (!text && !input.validity.badInput && name !== "seed_number") return ""; // as it is
  const isWhole = /^\d{1,20}$/.test(text);
  if (name === "seed_number") {
    if (!isWhole) return "A whole number, such as 4711.";
    return BigInt(text) <= BigInt(seed[1]) ? "" : "That is larger than any seed.";
  }
  if (name === "guidance") {
    const [least, most] = guidance ?? [0, 100];
    return text && Number(text) >= least && Number(text) <= most ? "" : `A number from ${least} to ${most}.`;
  }
  const [least, most] = isSide ? side : steps;
  const range = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  if (!isWhole || Number(text) < least || Number(text) > most) return `A whole number ${range}.`;
  return isSide && Number(text) % step ? `A multiple of ${step}.` : "";
}

/** @param {HTMLInputElement} input @param {string} fault nothing: it is well */
export function showFault(input, fault) {
  const id = `fault-${input.name}`;
  let words = document.getElementById(id);
  if (!fault) {
    words?.remove();
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
    return;
  }
  if (!words) {
    words = document.createElement("span");
    words.id = id;
    words.className = "fault";
    (input.closest("label, .own") ?? input).after(words);
  }
  words.textContent = fault;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
}
