/** Wires the page together: grid, item dialog, jobs and live updates. */
import { Actions } from "./actions.js";
import { Chunks, keepImage } from "./chunks.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Jobs } from "./jobs.js";
import { listenToKeys } from "./keys.js";
import { Live } from "./live.js";
import { RegenerateDialog } from "./regenerate.js";
import { Selection } from "./selection.js";
import { announce, shown } from "./toast.js";
import { Viewer } from "./viewer.js";

const AT_TOP = 60; // px
const place = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {Live} */
let live;
const poll = () => live.poll();
/** Called when the waiting items of this page's jobs may have changed. */
let queued = () => {};
const jobs = new Jobs(place("jobs"), () => queued());
const notified = () => jobs.pollSoon();
const dialog = new RegenerateDialog(/** @type {HTMLDialogElement} */ (place("regenerate")), { poll, jobs });
const actions = new Actions({ poll, dialog, jobs });

document.documentElement.classList.remove("no-script");
if (document.body.dataset.page === "grid") startGrid();
else startPicture();
document.body.dataset.ready = "yes";

function startPicture() {
  const main = place("viewer");
  const query = () => main.dataset.query || "";
  const keyOf = (/** @type {string | undefined} */ address) =>
    address ? decodeURIComponent(new URL(address, location.href).pathname.split("/").pop() || "") : null;
  const viewer = new Viewer(main, {
    query,
    neighbour: async (_key, delta) => keyOf(delta < 0 ? main.dataset.before : main.dataset.after),
    closed: () => {},
    actions,
    selection: null,
  });
  queued = () => viewer.mark();
  listenToKeys({ viewer, grid: null });
  live = new Live({
    changeSeq: Number(main.dataset.changeSeq),
    query,
    changed: (cards, more) => {
      if (more || cards.some((card) => card.dataset.key === viewer.key)) viewer.refresh();
    },
    summary: () => {},
    notified,
  });
}

function startGrid() {
  const results = place("results");
  /** @type {Chunks | null} */
  let chunks = null;
  const selection = new Selection(place("bulk"), () => chunks);
  const grid = new Grid(results, { chunks: () => chunks, selection, actions, open: (key) => viewer.open(key) });
  const query = () => results.dataset.query || "";
  const viewer = new Viewer(place("viewer"), {
    query,
    neighbour: (key, delta) => chunks?.neighbour(key, delta) ?? Promise.resolve(null),
    closed: (key) => { grid.focus(key); renew(); },
    actions,
    selection,
  });
  /** The newest attempt when the page was loaded: items with a newer one belong on top. */
  let newest = 0;
  let before = new Set();
  /** Items registered since without an attempt: they come last. */
  let registered = new Set();

  function adopt() {
    chunks?.dispose();
    const found = document.getElementById("grid");
    chunks = found && new Chunks(found, { total: Number(results.dataset.total), query: query(), prepare: (card) => grid.prepare(card) });
    newest = Math.max(0, ...(chunks?.cards() ?? []).map((card) => Number(card.dataset.last ?? 0)));
    before = new Set();
    registered = new Set();
    showPill();
    grid.ensureTabStop();
    selection.render();
  }

  /** @param {Document} page the server's present page */
  function swap(page) {
    const fresh = page.getElementById("results");
    if (!fresh) return;
    for (const card of fresh.querySelectorAll(".card")) {
      const old = chunks?.find(/** @type {HTMLElement} */ (card).dataset.key || "");
      if (old) keepImage(old, card);
    }
    const pill = place("new-items");
    const announcer = place("announcer");
    results.replaceChildren(...fresh.children);
    place("new-items").replaceWith(pill);
    place("announcer").replaceWith(announcer);
    for (const name of ["total", "changeSeq", "first", "query"]) results.dataset[name] = fresh.dataset[name];
    updateSummary([...page.querySelectorAll("#states, #totals")].map((one) => /** @type {HTMLElement} */ (one)));
    adopt();
  }

  /** @param {HTMLElement[]} elements */
  function updateSummary(elements) {
    const focused = document.activeElement instanceof HTMLElement && document.activeElement.closest("#states") ? document.activeElement.dataset.state : null;
    for (const one of elements) place(one.id)?.replaceWith(one);
    if (focused) /** @type {HTMLElement | null} */ (document.querySelector(`#states [data-state="${focused}"]`))?.focus();
    const current = /** @type {HTMLElement | null} */ (document.querySelector("#states [aria-current]"));
    const total = Number(current?.dataset.count ?? results.dataset.total);
    if (chunks && total !== chunks.total && !before.size && !registered.size) chunks.resize(total);
    results.dataset.total = String(total);
    const counts = ["running", "done", "failed", "held"].map((state) => [Number(/** @type {HTMLElement | null} */ (document.querySelector(`#states [data-state="${state}"]`))?.dataset.count), state]);
    announce(counts.filter(([count]) => count).map(([count, state]) => `${count} ${state}`).join(", "));
  }

  const filters = new Filters({ results, swap, query });

  /** Show new cards on top: at once if nobody is using the grid, else behind the pill. */
  function renew() {
    const isBusy = viewer.isOpen || selection.size || results.matches(":hover") || results.contains(document.activeElement) || document.querySelector("dialog[open]");
    if (before.size + registered.size && scrollY < AT_TOP && !isBusy) shown(() => filters.reload());
    else showPill();
  }

  function showPill() {
    const pill = place("new-items");
    const size = before.size + registered.size;
    pill.hidden = size === 0;
    /** @type {HTMLElement} */ (pill.querySelector("span")).textContent = `${size.toLocaleString("en")} new`;
    if (chunks) chunks.above = before.size;
  }

  /** @param {HTMLElement[]} cards @param {boolean} more */
  function changed(cards, more) {
    if (more) { before.add("…"); shown(() => filters.reload()); }
    for (const card of cards) {
      const key = card.dataset.key || "";
      if (chunks?.replace(card)) continue;
      registered.delete(key); // with an attempt it comes on top
      const isNew = Number(card.dataset.last ?? 0) > newest || !chunks;
      if (card.dataset.matches === "1" && isNew) before.add(key);
      else if (card.dataset.matches === "1" && !card.dataset.last && !chunks?.known.has(key)) registered.add(key);
    }
    if (cards.some((card) => card.dataset.key === viewer.key)) viewer.refresh();
    if (!chunks && before.size) shown(() => filters.reload());
    else renew();
  }

  queued = () => {
    for (const card of chunks?.cards() ?? []) grid.mark(card);
    viewer.mark();
  };
  adopt();
  listenToKeys({ viewer, grid });
  live = new Live({ changeSeq: Number(results.dataset.changeSeq), query, changed, summary: updateSummary, notified });
  results.addEventListener("click", (event) => {
    if (!/** @type {HTMLElement} */ (event.target).closest("#new-items")) return;
    scrollTo({ top: 0 });
    shown(() => filters.reload()).then(() => results.focus({ preventScroll: true }));
  });
  results.addEventListener("pointerleave", () => renew());
  place("bulk").addEventListener("click", (event) => {
    const name = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("[data-bulk]"))?.dataset.bulk;
    if (name === "clear") selection.clear();
    else if (name && name !== "all") grid.act(name);
  });
  addEventListener("popstate", () => {
    setTimeout(() => { if (!viewer.isOpen) history.scrollRestoration = "auto"; });
    const open = location.pathname.startsWith("/picture/") ? decodeURIComponent(location.pathname.slice(9)) : null;
    if (open) viewer.open(open, { push: false });
    else if (viewer.isOpen) viewer.close({ push: false });
    else if (location.search !== query()) filters.follow();
  });
}
