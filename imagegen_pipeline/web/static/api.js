/** The server's answers; whatever goes wrong becomes an ApiError with a sentence to show. */

export class ApiError extends Error {
  /** @param {string} sentence @param {number} status 0: the server was not reached */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const UNREACHABLE = "The server does not answer. Is `imagegen serve` still running?";

/** @param {string} address @param {RequestInit} [options] */
async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE, 0);
  }
  if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new ApiError("Log in again.", 401);
  }
  if (!answer.ok) throw new ApiError(await sentenceOf(answer), answer.status);
  return answer;
}

/** @param {Response} answer */
async function sentenceOf(answer) {
  const kind = answer.headers.get("content-type") || "";
  if (kind.includes("json")) {
    const body = await answer.json().catch(() => ({}));
    if (typeof body.error === "string") return body.error;
  } else if (kind.includes("html")) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const said = [...page.querySelectorAll("main h1, main h1 + p")].map((one) => one.textContent);
    if (said.length) return said.join(" ");
  }
  return `The server answered ${answer.status}.`;
}

/** @param {string} address @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function getJSON(address, signal) {
  return (await ask(address, { signal, headers: { Accept: "application/json" } })).json();
}

/** @param {string} address @param {unknown} body @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function postJSON(address, body, signal) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return (await ask(address, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
}

/**
 * A piece of a page, with the answer's headers.
 * @param {string} address @param {AbortSignal} [signal]
 */
export async function getHTML(address, signal) {
  const answer = await ask(address, { signal, headers: { Accept: "text/html" } });
  return { html: await answer.text(), headers: answer.headers };
}

/** @param {string} address @param {string} query `?a=b` or nothing @param {Record<string, unknown>} more */
export function withQuery(address, query, more = {}) {
  const all = new URLSearchParams(query);
  for (const [name, value] of Object.entries(more)) all.set(name, String(value));
  const text = all.toString();
  return text ? `${address}?${text}` : address;
}

/** Elements of a piece of HTML that the server wrote. @param {string} html @returns {HTMLElement[]} */
export function elementsOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return /** @type {HTMLElement[]} */ ([...template.content.children]);
}
