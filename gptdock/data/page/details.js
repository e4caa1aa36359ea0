// One client: its quota and what an operator can do to it, its days, its users, its receipts.

import { admin, toQuota } from "./api.js";
import { QuotaBar } from "./bar.js";
import { confirmed, count, idText, make, say, table } from "./dom.js";
import { plot } from "./plot.js";
import { Receipts } from "./receipts.js";

const MOST_USERS = 10;

export class Details {
  /** `changed` is called with the account and its quota after each change. */
  constructor(place, changed) {
    Object.assign(this, { place, changed });
  }

  async open(account) {
    this.account = account;
    try {
      await this.load();
      this.title.focus();
    } catch (error) {
      say(error.words || error.message, true);
    }
  }

  get name() {
    return `${this.account.client} / ${this.account.product}`;
  }

  async load() {
    const receipts = new Receipts(this.account);
    const { books } = await admin.client(this.account);
    await receipts.more();
    this.quota = books.length ? toQuota(books[0]) : null;
    const shown = make("div");
    new QuotaBar(shown).show(this.quota, this.quota ? "" : "It has not asked yet.");
    this.title = make("h2", { tabindex: "-1" }, idText(this.account.client), " / ", idText(this.account.product));
    const [days, users] = [0, 1].map(() => make("div", {}, make("p", { class: "empty" }, "Reading all receipts.")));
    const period = this.quota && this.quota.period !== "all" ? `, period ${this.quota.period}` : "";
    this.place.replaceChildren(make("section", { class: "card", "aria-label": "One client" },
      this.title, shown, this.changes(),
      make("h3", {}, `Tokens by day (UTC)${period}`), days, make("h3", {}, "Top users"), users,
      make("h3", {}, "Receipts, newest first"), receipts.place));
    this.sum(days, users);
  }

  /** Sums all receipts, which takes its time: one report after the other, while the rest is shown. */
  async sum(days, users) {
    for (const [place, by, shape] of [[days, "day", plot], [users, "user", topUsers]]) {
      try {
        place.replaceChildren(shape((await admin.report(this.account, by)).rows));
      } catch (error) {
        place.replaceChildren(make("p", { class: "error" }, error.words || error.message));
      }
    }
  }

  changes() {
    const reset = make("button", { type: "button", onclick: () => this.reset() }, "Reset the period");
    const quota = tokensForm("new-quota", "New quota in tokens", this.quota?.max ?? "", "Set quota", (max) => this.setQuota(max));
    const credit = tokensForm("credit", "Tokens to add in this period", "", "Credit", (tokens) => this.credit(tokens));
    return make("div", { class: "changes" }, quota, credit, reset);
  }

  async setQuota(max) {
    const old = this.quota ? `It is ${count(this.quota.max)} now, with ${count(this.quota.used)} used.` : "";
    const less = max < (this.quota?.used ?? 0) ? " That is less than what is used: it can ask nothing more." : "";
    const text = `${old} The new quota of ${this.name} is ${count(max)} tokens, now and in later periods.${less}`;
    if (await confirmed("Set the quota?", text, "Set quota")) {
      await this.apply(() => admin.setQuota(this.account, max), `The quota is ${count(max)} tokens.`);
    }
  }

  async credit(tokens) {
    const id = hex(crypto.getRandomValues(new Uint8Array(12))); // a repetition is applied once
    const text = `${count(tokens)} tokens are added to the ${count(this.quota?.max ?? 0)} that ${this.name} has in this period.`;
    if (await confirmed("Credit the client?", text, "Credit now")) {
      await this.apply(() => admin.credit(this.account, { tokens, reason: "the page", id }), `${count(tokens)} tokens were added.`);
    }
  }

  async reset() {
    const text = `${count(this.quota?.used ?? 0)} tokens that ${this.name} has used become 0 again. Receipts stay.`;
    if (await confirmed("Reset the period?", text, "Reset")) {
      await this.apply(() => admin.reset(this.account), "The period begins again with 0 used.");
    }
  }

  async apply(change, done) {
    try {
      await change();
      await this.load();
      this.title.focus();
      if (this.quota) this.changed(this.account, this.quota);
      say(done);
    } catch (error) {
      say(error.words || error.message, true);
    }
  }
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A field for a number of tokens, with its button. */
function tokensForm(id, label, value, button, then) {
  const input = make("input", { id, inputmode: "numeric", pattern: "[0-9]{1,16}", required: "", value });
  const form = make("form", {}, make("label", { for: id }, label), make("div", { class: "row" }, input, make("button", {}, button)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    then(Number(input.value));
  });
  return form;
}

function topUsers(all) {
  const users = all.filter((each) => each.tokens > 0); // operators have receipts, too
  if (!users.length) return make("p", { class: "empty" }, "Nobody yet.");
  const sorted = users.sort((one, other) => other.tokens - one.tokens).slice(0, MOST_USERS);
  return table("Top users", ["User", "#Requests", "#Tokens"],
    sorted.map((each) => [idText(each.user), count(each.requests), count(each.tokens)]));
}
