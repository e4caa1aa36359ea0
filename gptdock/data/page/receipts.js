// The receipts of one client, newest first, page by page.

import { admin } from "./api.js";
import { count, idText, make, say, table } from "./dom.js";
import { whyCharged } from "./words.js";

const COLUMNS = ["Time (UTC)", "User", "Model", "#Prompt", "#Answer", "#Charged", "Why"];

export class Receipts {
  constructor(account) {
    Object.assign(this, { account, place: make("div", { class: "receipts" }), shown: [], cursor: null });
  }

  /** Reads the next page. */
  async more() {
    const page = await admin.receipts(this.account, this.cursor);
    this.shown.push(...page.receipts);
    this.cursor = page.next_cursor;
    this.show();
  }

  show() {
    const parts = [this.shown.length ? table("Receipts", COLUMNS, this.shown.map(row)) : make("p", { class: "empty" }, "None yet.")];
    if (this.cursor) parts.push(make("button", { type: "button", class: "older", onclick: () => this.older() }, "Older receipts"));
    this.place.replaceChildren(...parts);
  }

  async older() {
    const shown = this.shown.length;
    try {
      await this.more();
      const next = this.place.querySelector(".older") ?? this.place.querySelectorAll("tbody tr")[shown];
      next.tabIndex = next.matches("button") ? 0 : -1;
      next.focus();
      say(`${count(this.shown.length)} receipts are shown.`);
    } catch (error) {
      say(error.words || error.message, true);
    }
  }
}

function row(each) {
  const why = make("span", { class: "why", title: `Request ${each.request_id}` }, whyCharged(each));
  const numbers = each.model === "-" ? ["", "", ""] : [each.prompt_tokens, each.completion_tokens, each.tokens].map(count);
  return [each.time.slice(0, 19).replace("T", " "), idText(each.user), each.model === "-" ? "" : idText(each.model), ...numbers, why];
}
