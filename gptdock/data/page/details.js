// One client: its quota and what an operator can do to it, its days, its users, its receipts.

import { admin, toQuota } from "./api.js";
import { QuotaBar } from "./bar.js";
import { confirmed, count, make, say, table } from "./dom.js";
import { whyCharged } from "./words.js";

const MOST_RECEIPTS = 50;
const MOST_USERS = 10;

export class Details {
  /** `changed` is called after each change. */
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

  async load() {
    const [{ books }, days, users, requests] = await Promise.all([
      admin.client(this.account), ...["day", "user", "request"].map((by) => admin.report(this.account, by)),
    ]);
    this.quota = books.length ? toQuota(books[0]) : null;
    const shown = make("div");
    new QuotaBar(shown).show(this.quota, this.quota ? "" : "It has not asked yet.");
    this.title = make("h2", { tabindex: "-1" }, `${this.account.client} / ${this.account.product}`);
    this.place.replaceChildren(make("section", { class: "card", "aria-label": "One client" },
      this.title, shown, this.changes(),
      make("h3", {}, `Tokens by day, period ${days.period}`), plot(days.rows),
      make("h3", {}, "Top users"), topUsers(users.rows),
      make("h3", {}, "Receipts, newest first"), receipts(requests.rows)));
  }

  changes() {
    const reset = make("button", { type: "button", onclick: () => this.reset() }, "Reset the period");
    const quota = tokensForm("new-quota", "New quota in tokens", this.quota?.max ?? "", "Set quota", (max) => this.setQuota(max));
    const credit = tokensForm("credit", "Tokens to add in this period", "", "Credit", (tokens) => this.credit(tokens));
    return make("div", { class: "changes" }, quota, credit, reset);
  }

  async setQuota(max) {
    const old = this.quota ? `It is ${count(this.quota.max)} now, with ${count(this.quota.used)} used.` : "";
    const text = `${old} The new quota of ${this.account.client} is ${count(max)} tokens, now and in later periods.`;
    if (await confirmed("Set the quota?", text, "Set quota")) {
      await this.apply(() => admin.setQuota(this.account, max), `The quota is ${count(max)} tokens.`);
    }
  }

  async credit(tokens) {
    const id = hex(crypto.getRandomValues(new Uint8Array(12))); // a repetition is applied once
    const text = `${count(tokens)} tokens are added to the ${count(this.quota?.max ?? 0)} of this period.`;
    if (await confirmed("Credit the client?", text, "Credit now")) {
      await this.apply(() => admin.credit(this.account, { tokens, reason: "the page", id }), `${count(tokens)} tokens were added.`);
    }
  }

  async reset() {
    const text = `${count(this.quota?.used ?? 0)} tokens that are used become 0 again. Receipts stay.`;
    if (await confirmed("Reset the period?", text, "Reset")) {
      await this.apply(() => admin.reset(this.account), "The period begins again with 0 used.");
    }
  }

  async apply(change, done) {
    try {
      await change();
      await this.load();
      this.title.focus();
      this.changed();
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

function plot(days) {
  if (!days.length) return make("p", { class: "empty" }, "Nothing yet.");
  const most = Math.max(...days.map((each) => each.tokens), 1);
  const bars = days.map((each) => {
    const column = make("i", { title: `${each.day}: ${count(each.tokens)} tokens in ${count(each.requests)} requests` });
    column.style.height = `${(100 * each.tokens) / most}%`;
    return column;
  });
  const name = days.map((each) => `${each.day}: ${count(each.tokens)}`).join(", ");
  return make("div", {},
    make("div", { class: "plot", role: "img", "aria-label": `Tokens by day. ${name}` }, ...bars),
    make("div", { class: "ends", "aria-hidden": "true" },
      ...(days.length > 1 ? [days[0], days.at(-1)] : days).map((each) => make("span", {}, `${each.day}: ${count(each.tokens)}`))));
}

function topUsers(all) {
  const users = all.filter((each) => each.tokens > 0); // operators have receipts, too
  if (!users.length) return make("p", { class: "empty" }, "Nobody yet.");
  const sorted = users.sort((one, other) => other.tokens - one.tokens).slice(0, MOST_USERS);
  return table("Top users", ["User", "#Requests", "#Tokens"],
    sorted.map((each) => [each.user, count(each.requests), count(each.tokens)]));
}

function receipts(all) {
  if (!all.length) return make("p", { class: "empty" }, "None yet.");
  const newest = all.slice(-MOST_RECEIPTS).reverse();
  return table("Receipts", ["Time", "User", "Model", "#Prompt", "#Answer", "#Charged", "Why"], newest.map((each) => [
    each.time.slice(0, 19).replace("T", " "), each.user, each.model, count(each.prompt_tokens),
    count(each.completion_tokens), count(each.tokens),
    make("span", { class: "why", title: `Request ${each.request_id}` }, whyCharged(each)),
  ]));
}
