/** Keyboard shortcuts; none of them fires while the user types. */

const TYPING = 'input:not([type="checkbox"], [type="radio"], [type="button"]), textarea, select, [contenteditable]';
const IN_VIEWER = {
  ArrowRight: "next", j: "next", ArrowLeft: "previous", k: "previous",
  a: "approved", x: "rejected", u: "none", r: "regenerate", d: "download", c: "compare", s: "select",
};
const IN_GRID = { a: "approved", x: "rejected", u: "none", r: "regenerate", d: "download", s: "select" };

/**
 * @param {{ viewer: import("./viewer.js").Viewer, grid: import("./grid.js").Grid | null }} parts
 */
export function listenToKeys({ viewer, grid }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.matches(TYPING) || document.querySelector(".sheet[open]")) return;
    if (event.key === "?") help();
    else if (viewer.isOpen ? !inViewer(event, viewer) : !(grid && inGrid(event, grid))) return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest('[data-action="help"]')) help();
    if (target.closest("#help [data-close]")) target.closest("dialog")?.close();
  });
}

function help() {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("help"));
  if (!dialog.open) dialog.showModal();
}

/** @param {KeyboardEvent} event @param {import("./viewer.js").Viewer} viewer */
function inViewer(event, viewer) {
  const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  if (sideways && /** @type {HTMLElement} */ (event.target).closest(".scroll")) return false;
  if (event.key === "Escape" && !viewer.dialog) { viewer.close(); return true; }
  const name = IN_VIEWER[/** @type {keyof typeof IN_VIEWER} */ (event.key)];
  if (!name || (event.repeat && !["next", "previous"].includes(name))) return false;
  return viewer.act(name);
}

/** @param {KeyboardEvent} event @param {import("./grid.js").Grid} grid */
function inGrid(event, grid) {
  if (event.key === "/") { /** @type {HTMLElement} */ (document.querySelector('[name="text"]')).focus(); return true; }
  if (event.key === "Escape") return grid.clear();
  if (grid.move(event.key)) return true;
  if (event.key === " ") return grid.pick(event);
  const name = IN_GRID[/** @type {keyof typeof IN_GRID} */ (event.key)];
  return Boolean(name && !event.repeat && grid.act(name));
}
