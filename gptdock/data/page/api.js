// GPTDock's own routes. The keys live in sessionStorage, that is in this tab, and never in a URL.

import { explain } from "./words.js";

export const keys = {
  get caller() { return sessionStorage.getItem("key") ?? ""; },
  get admin() { return sessionStorage.getItem("admin-key") ?? ""; },
  use(caller, admin) {
    sessionStorage.setItem("key", caller.trim());
    sessionStorage.setItem("admin-key", admin.trim());
  },
};

/** An error that GPTDock told, before an answer or within it. */
export class Refusal extends Error {
  constructor(status, { error = {}, request_id = "" } = {}, headers = new Headers()) {
    super(error.message ?? `Status ${status}`);
    Object.assign(this, { status, code: error.code ?? "", requestId: request_id, retryAfter: headers.get("Retry-After") });
  }

  get words() {
    return explain(this.code, this.retryAfter);
  }
}

/** The answer to a request; raises Refusal for any status but 2xx, and if there is none. */
export async function call(method, path, { query, body, headers, signal, admin = false } = {}) {
  const url = query ? `${path}?${new URLSearchParams(query)}` : path;
  const given = { Authorization: `Bearer ${admin ? keys.admin : keys.caller}`, ...headers };
  const content = body && JSON.stringify(body);
  const response = await reached(fetch(url, { method, headers: given, body: content, signal, cache: "no-store" }));
  if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => ({})), response.headers);
  return response;
}

/** What is promised; a network that fails is a Refusal with this code. */
async function reached(promise, code = "unreachable") {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { error: { code, message: explain(code) } });
  }
}

export const get = async (path, options) => (await call("GET", path, options)).json();

const IN_A_HEADER = /^[ -~]*$/;

/** How a request names who pays: by headers, or in the path if a header cannot hold the ids. */
export function payer({ client, product }) {
  if (IN_A_HEADER.test(client + product)) return { base: "/v1", headers: { "X-Client-Id": client, "X-Product-Id": product } };
  return { base: `/clients/${encodeURIComponent(client)}/${encodeURIComponent(product)}/v1`, headers: {} };
}

const named = ({ client, product }) => ({ client_id: client, product_id: product });

/** The quota of an account as { used, held, left, max, period, resetsAt }; null for a new client. */
export async function quota(account) {
  try {
    return toQuota(await get("/v1/client/info", { query: named(account) }));
  } catch (error) {
    if (error.code === "client_not_found") return null;
    throw error;
  }
}

export const toQuota = (book) => ({
  used: book.quota_used, held: book.quota_held, left: book.quota_left, max: book.max_quota,
  period: book.period, resetsAt: book.resets_at,
});

export const admin = {
  status: () => get("/v1/admin/status", { admin: true }),
  near: (limit, cursor) => get("/v1/admin/clients/near", { admin: true, query: { percent: 0, limit, ...(cursor && { cursor }) } }),
  find: (text, cursor) =>
    get("/v1/admin/clients", { admin: true, query: { find: text, limit: 20, ...(cursor && { cursor }) } }),
  client: (account) => get("/v1/admin/client", { admin: true, query: named(account) }),
  setQuota: (account, max) =>
    call("PUT", "/v1/admin/client/quota", { admin: true, query: named(account), body: { max_quota: max } }),
  credit: (account, body) => call("POST", "/v1/admin/client/credit", { admin: true, query: named(account), body }),
  reset: (account) => call("POST", "/v1/admin/client/reset", { admin: true, query: named(account) }),
  receipts: (account, cursor) =>
    get("/v1/admin/client/receipts", { admin: true, query: { ...named(account), limit: 20, ...(cursor && { cursor }) } }),
  report: (account, by) => get("/v1/admin/client/usage", { admin: true, query: { ...named(account), by } }),
};

/** The JSON of each event of a streamed answer, until [DONE]; raises Refusal for an error event or an end without it. */
export async function* events(response) {
  let rest = "";
  for await (const text of pieces(response.body.pipeThrough(new TextDecoderStream()).getReader())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") return;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new Refusal(200, event);
      yield event;
    }
  }
  throw new Refusal(200, { error: { code: "broken", message: "The answer ended without [DONE]." } });
}

async function* pieces(reader) {
  const next = () => reached(reader.read(), "broken");
  for (let piece = await next(); !piece.done; piece = await next()) yield piece.value;
}
