// The view Usage, for operators: all clients, and one of them in detail.

import { admin, keys, toQuota } from "./api.js";
import { bar } from "./bar.js";
import { Details } from "./details.js";
import { $, count, idText, make, say, table } from "./dom.js";

const COLUMNS = ["Client", "Product", "Quota", "#Used", "#Held", "#Left", "#Of"];

const PAGE = 20;

export class Usage {
  constructor(openKeys) {
    Object.assign(this, { openKeys, wanted: "" });
    this.details = new Details($("client-details"), () => this.refresh());
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.refresh();
    });
  }

  /** Reads the first page of clients again. */
  async refresh() {
    Object.assign(this, { clients: [], cursor: null, wanted: $("search-id").value.trim() });
    await this.more();
  }

  /** Reads the next page. */
  async next() {
    const shown = this.clients.length;
    await this.more();
    $("clients").querySelectorAll("button.link")[shown]?.focus(); // the button that was pressed is gone
  }

  async more() {
    if (!keys.admin) {
      $("clients").replaceChildren(
        make("p", { class: "empty" }, "This view needs a key of operators (ADMIN_KEY)."),
        make("div", { class: "actions" }, make("button", { type: "button", onclick: this.openKeys }, "Enter the key")));
      return;
    }
    try {
      await (this.wanted ? this.find() : this.nearest());
      this.show();
    } catch (error) {
      say(error.words || error.message, true);
      $("clients").replaceChildren(make("p", { class: "empty" }, error.words || error.message));
    }
  }

  /** The next page of the clients that are the nearest to their limit. */
  async nearest() {
    const page = await admin.near(PAGE, this.cursor);
    this.clients.push(...page.clients.map((each) => ({ account: { client: each.client_id, product: each.product_id }, quota: toQuota(each) })));
    this.cursor = page.next_cursor;
  }

  async find() {
    const page = await admin.find(this.wanted, this.cursor);
    this.clients.push(...await Promise.all(page.clients.map(withQuota)));
    this.cursor = page.next_cursor;
  }

  show() {
    const rows = this.clients.map(({ account, quota }) => [
      make("button", { type: "button", class: "link", onclick: () => this.details.open(account) }, idText(account.client)),
      idText(account.product), bar(quota), count(quota.used), count(quota.held), count(quota.left), count(quota.max),
    ]);
    const none = this.wanted ? "No client has this text in its id." : "Nobody has asked in this period.";
    const name = this.wanted ? "Clients that were found" : "Clients, the nearest to their limit first";
    const parts = [rows.length ? table(name, COLUMNS, rows) : make("p", { class: "empty" }, none)];
    if (this.cursor) {
      const load = make("button", { type: "button", onclick: () => this.next() }, "Load more clients");
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
