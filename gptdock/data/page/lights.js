// Three lights with their reasons, the version, and the open answers: for operators.

import { admin, keys } from "./api.js";
import { $, count, make } from "./dom.js";

export async function showLights() {
  if (!keys.admin) {
    show([["idle", "State: needs the key of operators"]]);
    return;
  }
  try {
    const { version, process, dynamodb, upstream, open_answers: open, max_streams: most } = await admin.status();
    $("version").textContent = version;
    show([
      [process === "serving" ? "good" : "bad", `Serving: ${count(open)} of ${count(most)} answers open`],
      [dynamodb === "ready" ? "good" : "bad", `DynamoDB: ${dynamodb}`],
      [{ complete: "good", unknown: "idle" }[upstream.last] ?? "bad", `OpenAI: ${lastOf(upstream)}`],
    ]);
  } catch (error) {
    show([["bad", `Serving: ${error.words || error.message}`]]);
  }
}

const lastOf = ({ last }) => ({ complete: "answers", unknown: "not asked yet" })[last] ?? `last answer was ${last}`;

function show(lights) {
  $("lights").replaceChildren(...lights.map(([kind, text]) => make("li", { class: kind }, text)));
}
