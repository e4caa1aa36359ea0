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

/** The answer to a request; raises Refusal for any status but 2xx. */
export async function call(method, path, { query, body, headers, signal, admin = false } = {}) {
  const url = query ? `${path}?${new URLSearchParams(query)}` : path;
  const given = { Authorization: `Bearer ${admin ? keys.admin : keys.caller}`, ...headers };
  const content = body && JSON.stringify(body);
  const response = await fetch(url, { method, headers: given, body: content, signal, cache: "no-store" });
  if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => ({})), response.headers);
  return response;
}

export const get = async (path, options) => (await call("GET", path, options)).json();

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
  near: (limit) => get("/v1/admin/clients/near", { admin: true, query: { percent: 0, limit } }),
  find: (text, cursor) =>
    get("/v1/admin/clients", { admin: true, query: { find: text, limit: 20, ...(cursor && { cursor }) } }),
  client: (account) => get("/v1/admin/client", { admin: true, query: named(account) }),
  setQuota: (account, max) =>
    call("PUT", "/v1/admin/client/quota", { admin: true, query: named(account), body: { max_quota: max } }),
  credit: (account, body) => call("POST", "/v1/admin/client/credit", { admin: true, query: named(account), body }),
  reset: (account) => call("POST", "/v1/admin/client/reset", { admin: true, query: named(account) }),
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
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
}
