// The view Ask: one question at a time, and what it does to the quota of its client.

import { admin, call, events, keys, payer, quota, Refusal } from "./api.js";
import { QuotaBar } from "./bar.js";
import { $, count, make, numbers, say, seconds } from "./dom.js";
import { History } from "./history.js";

const SETTLE_POLLS = 40;
const SETTLE_MS = 100;
const RECEIPT_POLLS = 10;

export class Ask {
  /** `changed` is called when a request is admitted, and after it. */
  constructor(changed) {
    this.changed = changed;
    this.bar = new QuotaBar($("quota"));
    this.history = new History($("requests"));
    this.open = null;
    $("question-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.open) this.ask();
    });
    $("stop").addEventListener("click", () => this.open?.abort());
    for (const id of ["client", "product"]) $(id).addEventListener("change", () => this.showQuota());
  }

  get account() {
    return { client: $("client").value.trim(), product: $("product").value.trim() };
  }

  get asked() {
    return { ...this.account, question: $("question").value, model: $("model").value };
  }

  async showQuota() {
    try {
      this.bar.show(await quota(this.account));
    } catch (error) {
      this.bar.show(null, error.words || error.message);
    }
  }

  /** Asks the question of the form, and shows everything until it is settled. */
  async ask() {
    const asked = this.asked;
    this.begin();
    const request = new Request(asked, this.bar, this.changed);
    try {
      await request.run(this.open.signal);
    } catch (error) {
      request.failed(error);
    }
    await request.settled();
    this.history.add(request);
    this.end();
    say(request.summary(), Boolean(request.error));
  }

  begin() {
    this.open = new AbortController();
    $("answer").replaceChildren();
    $("pace").replaceChildren();
    const hadFocus = document.activeElement === $("send"); // which a disabled button loses
    $("stop").disabled = false;
    if (hadFocus) $("stop").focus();
    $("send").disabled = true;
    say("Asking.");
  }

  end() {
    const hadFocus = document.activeElement === $("stop");
    this.open = null;
    $("send").disabled = false;
    if (hadFocus) $("send").focus();
    $("stop").disabled = true;
    this.changed();
  }
}

/** One question: what came, how fast, what it was charged. */
class Request {
  constructor(asked, bar, admitted) {
    Object.assign(this, { asked, bar, admitted, status: 0, words: 0, firstMs: null, charged: null, error: null, stopped: false, waiting: "", frame: 0 });
    this.began = performance.now();
    this.ms = 0;
    this.at = new Date();
  }

  async run(signal) {
    this.before = await quota(this.asked);
    const { base, headers } = payer(this.asked);
    const response = await call("POST", `${base}/chat/completions`, {
      signal,
      headers,
      body: {
        model: this.asked.model, messages: [{ role: "user", content: this.asked.question }], user: "page",
        stream: true, stream_options: { include_usage: true },
      },
    });
    this.status = response.status;
    this.id = response.headers.get("X-Request-Id");
    this.showHold(response.headers);
    this.admitted();
    for await (const event of events(response)) this.show(event);
    this.ms = performance.now() - this.began;
  }

  showHold(headers) {
    const [max, left] = ["X-Quota-Max", "X-Quota-Left"].map((name) => Number(headers.get(name)));
    const used = this.before?.used ?? 0;
    this.bar.show({ max, left, used, held: max - left - used }, "Held until the answer ends, then replaced by what it cost.");
  }

  show(event) {
    if (event.usage) this.usage = event.usage;
    const text = event.choices?.[0]?.delta?.content;
    if (!text) return;
    this.firstMs ??= performance.now() - this.began;
    this.words += 1;
    this.waiting += text;
    this.frame ||= requestAnimationFrame(() => this.draw()); // a long answer is drawn once a frame, not once a token
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!this.text) $("answer").append(this.text = document.createTextNode(""));
    this.text.appendData(this.waiting);
    this.waiting = "";
    this.showPace();
  }

  showPace() {
    const streamed = (performance.now() - this.began - this.firstMs) / 1000;
    const rate = this.words > 1 ? (this.words - 1) / streamed : 0;
    const pairs = [["tokens", count(this.usage?.completion_tokens ?? this.words)], ["to the first token", seconds(this.firstMs ?? 0)]];
    if (rate) pairs.push(["tokens a second", rate.toFixed(1)]);
    if (this.charged !== null) pairs.push(["charged, with the prompt", count(this.charged)]);
    $("pace").replaceChildren(...numbers(pairs));
  }

  failed(error) {
    this.ms = performance.now() - this.began;
    if (error.name === "AbortError") {
      this.stopped = true;
      return;
    }
    if (this.words) this.draw();
    this.error = error instanceof Refusal ? error : new Refusal(0, { error: { message: error.message } });
    this.status ||= this.error.status;
    this.id ||= this.error.requestId;
    const { message, words } = this.error;
    $("answer").append(make("strong", { class: "error" }, message));
    if (words && words !== message) $("answer").append(make("span", { class: "error" }, words));
  }

  /** Waits until the hold became a charge, a moment after the answer ended. */
  async settled() {
    try {
      let now = await quota(this.asked);
      for (let i = 0; i < SETTLE_POLLS && now && now.held > (this.before?.held ?? 0); i += 1) {
        await new Promise((resolve) => { setTimeout(resolve, SETTLE_MS); });
        now = await quota(this.asked);
      }
      this.charged = now ? this.usage?.total_tokens ?? await this.onReceipt() ?? now.used - (this.before?.used ?? 0) : 0;
      this.bar.show(now);
      if (this.words) this.draw();
    } catch (error) {
      this.bar.show(null, error.words || error.message);
    }
  }

  /** What its receipt says, for operators: others may ask for the same client meanwhile. */
  async onReceipt() {
    if (!keys.admin || this.status !== 200) return undefined;
    for (let i = 0; i < RECEIPT_POLLS; i += 1) {
      const { receipts } = await admin.receipts(this.asked);
      const own = receipts.find((each) => each.request_id === this.id);
      if (own) return own.tokens;
      await new Promise((resolve) => { setTimeout(resolve, SETTLE_MS); });
    }
    return undefined;
  }

  summary() {
    const cost = this.charged === null ? "" : ` ${count(this.charged)} tokens charged.`;
    if (this.error) return `${ended(this)} (${this.error.code}).${cost}`;
    return `${this.stopped ? "Stopped." : "Answered."}${cost}`;
  }
}

function ended({ status }) {
  return status === 200 ? "The answer broke off" : status ? `Refused with ${status}` : "No answer";
}
