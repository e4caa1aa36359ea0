// The tokens of each day as columns; a day without any has its place, too.

import { count, make } from "./dom.js";

const DAY_MS = 86_400_000;
const LEAST = 14;
const MOST = 90;

export function plot(used) {
  if (!used.length) return make("p", { class: "empty" }, "Nothing yet.");
  const days = filled(used);
  const most = Math.max(...days.map((each) => each.tokens), 1);
  const bars = days.map((each) => {
    const column = make("i", { title: `${each.day}: ${count(each.tokens)} tokens in ${count(each.requests)} requests` });
    column.style.height = `${(100 * each.tokens) / most}%`;
    return column;
  });
  const name = days.filter((each) => each.tokens).map((each) => `${each.day}: ${count(each.tokens)}`).join(", ");
  return make("div", {},
    make("div", { class: "plot", role: "img", "aria-label": `Tokens by day. ${name}` }, ...bars),
    make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, days[0].day),
      make("span", {}, `at most ${count(most)} in a day`), make("span", {}, days.at(-1).day)));
}

/** Every day from the first, but 14 at least and 90 at most, until the last or today. */
function filled(used) {
  const byDay = new Map(used.map((each) => [each.day, each]));
  const last = Math.max(day(used.at(-1).day), day(new Date().toISOString().slice(0, 10)));
  const size = Math.min(Math.max(last - day(used[0].day) + 1, LEAST), MOST);
  return Array.from({ length: size }, (_, i) => {
    const name = new Date((last - size + 1 + i) * DAY_MS).toISOString().slice(0, 10);
    return byDay.get(name) ?? { day: name, tokens: 0, requests: 0 };
  });
}

const day = (text) => Date.parse(text) / DAY_MS;
