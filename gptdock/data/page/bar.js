// The bar of a quota: used, held (hatched) and left.

import { count, make, numbers } from "./dom.js";

const share = (part, max) => `${max > 0 ? Math.min(100, (100 * Math.max(0, part)) / max) : 0}%`;

/** The bar alone, with its numbers as its name. */
export function bar(quota) {
  const whole = make("div", { class: "bar", role: "img" }, make("i", { class: "used" }), make("i", { class: "held" }));
  fill(whole, quota);
  return whole;
}

function fill(whole, { used, held, left, max }) {
  const [usedPart, heldPart] = whole.children;
  usedPart.style.width = share(used, max);
  usedPart.style.minWidth = used > 0 ? "3px" : "0";
  heldPart.style.width = share(held, max);
  heldPart.style.minWidth = held > 0 ? "10px" : "0"; // to be seen beside a large quota
  whole.setAttribute("aria-label", `${count(used)} used, ${count(held)} held, ${count(left)} left of ${count(max)} tokens`);
}

/** A bar in `place` with its legend, which moves when it is shown anew. */
export class QuotaBar {
  constructor(place) {
    this.place = place;
  }

  show(quota, note = "") {
    if (!quota) {
      this.place.replaceChildren(make("p", { class: "empty" }, note || "A new client: its first question creates its quota."));
      return;
    }
    if (!this.bar?.isConnected) {
      [this.bar, this.legend, this.note] = [bar(quota), make("dl", { class: "numbers" }), make("p", { class: "empty" })];
      this.place.replaceChildren(this.bar, this.legend, this.note);
    }
    fill(this.bar, quota);
    this.legend.replaceChildren(...numbers([
      ["used", count(quota.used), "used"], ["held", count(quota.held), "held"], ["left", count(quota.left), "left"],
      ["in all", count(quota.max)],
    ]));
    this.note.textContent = note || (quota.resetsAt ? `Renews at ${quota.resetsAt}` : "");
  }
}
