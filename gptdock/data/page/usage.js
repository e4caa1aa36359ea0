// The view Usage, for operators: all clients, and one of them in detail.

import { admin, keys, toQuota } from "./api.js";
import { bar } from "./bar.js";
import { Details } from "./details.js";
import { $, count, idText, make, say, table } from "./dom.js";

const COLUMNS = ["Client", "Product", "Quota", "#Used", "#Held", "#Left", "#Of"];

const PAGE = 20;
const AT_ONCE = 1000; // for which a whole table is read

export class Usage {
  constructor(openKeys) {
    Object.assign(this, { openKeys, turn: 0 });
    this.details = new Details($("client-details"), (account, quota) => this.changed(account, quota));
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.refresh();
    });
  }

  /** Reads the clients again: those nearest to their limit, or those that were searched. */
  async refresh() {
    Object.assign(this, { clients: [], shown: PAGE, cursor: null, wanted: $("search-id").value.trim() });
    if (!keys.admin) {
      $("clients").replaceChildren(
        make("p", { class: "empty" }, "This view needs a key of operators (ADMIN_KEY)."),
        make("div", { class: "actions" }, make("button", { type: "button", onclick: this.openKeys }, "Enter the key")));
      return;
    }
    $("clients").setAttribute("aria-busy", "true");
    if (!$("clients").childElementCount) $("clients").append(make("p", { class: "empty" }, "Reading the clients."));
    await this.read();
    $("clients").setAttribute("aria-busy", "false");
  }

  /** Shows the next page. */
  async more() {
    const before = Math.min(this.shown, this.clients.length);
    this.shown += PAGE;
    if (this.cursor && this.shown > this.clients.length) await this.read();
    else this.show();
    $("clients").querySelectorAll("button.link")[before]?.focus(); // the button that was pressed is gone
  }

  /** Reads what is to be shown, unless another reading began since. */
  async read() {
    const turn = this.turn += 1;
    try {
      const [found, cursor] = await (this.wanted ? find(this.wanted, this.cursor) : nearest(this.cursor));
      if (turn !== this.turn) return;
      this.clients.push(...found);
      this.cursor = cursor;
      this.show();
    } catch (error) {
      if (turn !== this.turn) return;
      say(error.words || error.message, true);
      $("clients").replaceChildren(make("p", { class: "empty" }, error.words || error.message));
    }
  }

  /** Shows the new quota of a client, in its old place: its list took a whole table to read. */
  changed({ client, product }, quota) {
    const row = this.clients.find(({ account }) => account.client === client && account.product === product);
    if (!row) return;
    row.quota = quota;
    this.show();
  }

  show() {
    const rows = this.clients.slice(0, this.shown).map(({ account, quota }) => [
      make("button", { type: "button", class: "link", onclick: () => this.details.open(account) }, idText(account.client)),
      idText(account.product), bar(quota), count(quota.used), count(quota.held), count(quota.left), count(quota.max),
    ]);
    const none = this.wanted ? "No client has this text in its id." : "Nobody has asked in this period.";
    const name = this.wanted ? "Clients that were found" : "Clients, the nearest to their limit first";
    const parts = [rows.length ? table(name, COLUMNS, rows) : make("p", { class: "empty" }, none)];
    if (this.cursor || this.shown < this.clients.length) {
      const load = make("button", { type: "button", onclick: () => this.more() }, "Load more clients");
      parts.push(make("div", { class: "actions" }, load, `${count(rows.length)} shown`));
    }
    $("clients").replaceChildren(...parts);
  }
}

/** The next clients that are the nearest to their limit, and the cursor of those after them. */
async function nearest(cursor) {
  const page = await admin.near(AT_ONCE, cursor);
  const row = (each) => ({ account: { client: each.client_id, product: each.product_id }, quota: toQuota(each) });
  return [page.clients.map(row), page.next_cursor];
}

/** A page of clients with this text in an id, and the cursor of the next. */
async function find(text, cursor) {
  const page = await admin.find(text, cursor);
  return [await Promise.all(page.clients.map(withQuota)), page.next_cursor];
}

async function withQuota({ client_id: client, product_id: product, max_quota: max }) {
  const account = { client, product };
  const { books } = await admin.client(account);
  return { account, quota: books.length ? toQuota(books[0]) : { used: 0, held: 0, left: max, max } };
}
