/** Requests to the server; every error becomes an ApiError with a message to show. */

export class ApiError extends Error {
  /** @param {string} sentence @param {number} status 0: the server was not reached */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const UNREACHABLE = "The server does not answer. Is `imagegen serve` still running?";

/** @param {string} address @param {RequestInit} [options] */
async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE, 0);
  }
  if (response.status === 401 || (response.redirected && new URL(response.url).pathname === "/login")) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new ApiError("Log in again.", 401);
  }
  if (!response.ok) throw new ApiError(await messageOf(response), response.status);
  return response;
}

/** @param {Response} response */
async function messageOf(response) {
  const kind = response.headers.get("content-type") || "";
  if (kind.includes("json")) {
    const body = await response.json().catch(() => ({}));
    if (typeof body.error === "string") return body.error;
  } else if (kind.includes("html")) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const texts = [...page.querySelectorAll("main h1, main h1 + p")].map((one) => one.textContent);
    if (texts.length) return texts.join(" ");
  }
  return `The server returned status ${response.status}.`;
}

/** @param {string} address @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function getJSON(address, signal) {
  return (await request(address, { signal, headers: { Accept: "application/json" } })).json();
}

/** @param {string} address @param {unknown} body @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function postJSON(address, body, signal) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return (await request(address, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
}

/**
 * An HTML fragment with the response's headers.
 * @param {string} address @param {AbortSignal} [signal]
 */
export async function getHTML(address, signal) {
  const response = await request(address, { signal, headers: { Accept: "text/html" } });
  return { html: await response.text(), headers: response.headers };
}

/** @param {string} address @param {string} query `?a=b` or nothing @param {Record<string, unknown>} more */
export function withQuery(address, query, more = {}) {
  const all = new URLSearchParams(query);
  for (const [name, value] of Object.entries(more)) all.set(name, String(value));
  const text = all.toString();
  return text ? `${address}?${text}` : address;
}

/** The elements of an HTML fragment. @param {string} html @returns {HTMLElement[]} */
export function elementsOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return /** @type {HTMLElement[]} */ ([...template.content.children]);
}
