// The view Usage, for operators: all clients, and one of them in detail.

import { admin, keys, toQuota } from "./api.js";
import { bar } from "./bar.js";
import { Details } from "./details.js";
import { $, count, make, say, table } from "./dom.js";

const COLUMNS = ["Client", "Product", "Quota", "#Used", "#Held", "#Left", "#Of"];

export class Usage {
  constructor(openKeys) {
    Object.assign(this, { openKeys, clients: [], cursor: null, found: "" });
    this.details = new Details($("client-details"), () => this.refresh());
    $("search").addEventListener("submit", (event) => event.preventDefault());
    $("search-id").addEventListener("input", () => this.show());
  }

  /** Reads the first page of clients again. */
  async refresh() {
    Object.assign(this, { clients: [], cursor: null });
    await this.more();
  }

  async more() {
    if (!keys.admin) {
      $("clients").replaceChildren(
        make("p", { class: "empty" }, "This view needs a key of operators (ADMIN_KEY)."),
        make("div", { class: "actions" }, make("button", { type: "button", onclick: this.openKeys }, "Enter the key")));
      return;
    }
    try {
      const page = await admin.clients(this.cursor);
      this.clients.push(...await Promise.all(page.clients.map(withQuota)));
      this.cursor = page.next_cursor;
      this.show();
    } catch (error) {
      say(error.words || error.message, true);
      $("clients").replaceChildren(make("p", { class: "empty" }, error.words || error.message));
    }
  }

  show() {
    const wanted = $("search-id").value.trim().toLowerCase();
    const shown = this.clients
      .filter(({ account }) => `${account.client}/${account.product}`.toLowerCase().includes(wanted))
      .sort((one, other) => nearness(other) - nearness(one));
    const rows = shown.map(({ account, quota }) => [
      make("button", { type: "button", class: "link", onclick: () => this.details.open(account) }, account.client),
      account.product, bar(quota), count(quota.used), count(quota.held), count(quota.left), count(quota.max),
    ]);
    const parts = [rows.length ? table("Clients, the nearest to their limit first", COLUMNS, rows)
      : make("p", { class: "empty" }, wanted ? "No such client among those that are loaded." : "No client yet: ask a question first.")];
    if (this.cursor) {
      const load = make("button", { type: "button", onclick: () => this.more() }, "Load more clients");
      parts.push(make("div", { class: "actions" }, load, `${count(this.clients.length)} loaded`));
    }
    $("clients").replaceChildren(...parts);
  }
}

async function withQuota({ client_id: client, product_id: product, max_quota: max }) {
  const account = { client, product };
  const { books } = await admin.client(account);
  return { account, quota: books.length ? toQuota(books[0]) : { used: 0, held: 0, left: max, max } };
}

const nearness = ({ quota }) => (quota.max > 0 ? (quota.used + quota.held) / quota.max : 1);
