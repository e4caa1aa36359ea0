// Only in `gptdock dev`: buttons that play what one cannot wait for.

import { admin, call, quota } from "./api.js";
import { make, say } from "./dom.js";

const MOST = 500_000; // what a new client gets

const next = (play) => async () => { await call("POST", "/dev/next", { body: { play } }); };

export function offerPlays(place, ask, plays) {
  let most = MOST;
  const useUp = async () => {
    const { used, held, left, max } = (await quota(ask.account)) ?? { used: 0, held: 0, left: 0 };
    if (left > 0) most = max;
    await admin.setQuota(ask.account, used + held);
  };
  const giveBack = () => admin.setQuota(ask.account, most);
  const offered = [["Use the quota up", useUp, true], ["Give the quota back", giveBack, false]];
  if (plays.includes("break")) offered.push(["Break the stream", next("break")]);
  if (plays.includes("slow")) offered.push(["A slow OpenAI", next("slow")]);
  const buttons = offered.map(([name, play, spends]) => {
    const pressed = async () => {
      if (await run(ask, play) && spends !== undefined) swap(buttons[Number(!spends)], buttons[Number(spends)]);
    };
    return make("button", { type: "button", onclick: pressed }, name);
  });
  buttons[1].hidden = true;
  place.append(...buttons);
  place.hidden = false;
}

/** Whether it was played. */
async function run(ask, play) {
  if (ask.open) return false;
  try {
    await play();
    await ask.ask();
    return true;
  } catch (error) {
    say(error.words || error.message, true);
    return false;
  }
}

function swap(shown, other) {
  other.hidden = false;
  if (document.activeElement === shown) other.focus();
  shown.hidden = true;
}
