/** What the fields of the dialog take, said beside them before the server has to. */

const DUOMI = { steps: [1, 100], guidance: [0, 20], width: [1, 99_999], height: [1, 99_999], seed_number: [0, 9_999_999_999] };
const GRAPH = { steps: [1, 10_000], guidance: [0, 100], width: [16, 16_384], height: [16, 16_384], seed_number: [0, 2 ** 64] };
const ANY = { ...GRAPH, width: [1, 99_999], height: [1, 99_999] };
const GRAPH_STEP = 16;

/** What is wrong with a field, or nothing. @param {HTMLInputElement} input @param {string | null} provider null: of both */
export function faultOf(input, provider) {
  const { name } = input;
  const text = input.value.trim();
  if (name === "prompt") return text ? "" : "Write what the picture should show.";
  const limits = provider === "duomi" ? DUOMI : provider === "runpod" ? GRAPH : ANY;
  if (!(name in limits)) return "";
  if (!text && !input.validity.badInput && name !== "seed_number") return ""; // as it is
  const [least, most] = limits[/** @type {keyof typeof limits} */ (name)];
  if (name === "guidance") {
    return text && Number(text) >= least && Number(text) <= most ? "" : `A number from ${least} to ${most}.`;
  }
  const isWhole = /^\d{1,20}$/.test(text);
  if (name === "seed_number") {
    if (!isWhole) return "A whole number, such as 4711.";
    return BigInt(text) < BigInt(most) + (provider === "duomi" ? 1n : 0n) ? "" : "That is larger than any seed.";
  }
  const range = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  if (!isWhole || Number(text) < least || Number(text) > most) return `A whole number ${range}.`;
  const isSide = name === "width" || name === "height";
  return isSide && provider === "runpod" && Number(text) % GRAPH_STEP ? `A multiple of ${GRAPH_STEP}.` : "";
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
