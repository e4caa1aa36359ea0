// The last requests of this tab, newest first, with what their errors mean.

import { count, idText, make, seconds, table } from "./dom.js";

const MOST = 20;
const COLUMNS = ["Time", "Status", "Client", "#Tokens charged", "#Duration", "What happened"];

export class History {
  constructor(place) {
    this.place = place;
    this.requests = [];
    this.show();
  }

  add(request) {
    this.requests = [request, ...this.requests].slice(0, MOST);
    this.show();
  }

  show() {
    const rows = this.requests.map((each) => [
      each.at.toLocaleTimeString("en-GB"), each.status || "none", idText(each.asked.client, each.asked.product),
      each.charged === null ? "unknown" : count(each.charged), seconds(each.ms), what(each),
    ]);
    this.place.replaceChildren(rows.length ? table("Last requests", COLUMNS, rows) : make("p", { class: "empty" }, "None yet."));
  }
}

function what({ error, stopped, id }) {
  const words = error ? `${error.code}: ${error.words || error.message}` : stopped ? "You stopped it: the text that came is charged." : "Complete.";
  return make("span", { class: "why", title: id ? `Request ${id}` : undefined }, words);
}
