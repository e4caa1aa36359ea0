// Only in `gptdock dev`: buttons that play what one cannot wait for.

import { admin, call, quota } from "./api.js";
import { make, say } from "./dom.js";

const next = (play) => async () => { await call("POST", "/dev/next", { body: { play } }); };

export function offerPlays(place, ask, plays) {
  const useUp = async () => {
    const { used, held } = (await quota(ask.account)) ?? { used: 0, held: 0 };
    await admin.setQuota(ask.account, used + held);
  };
  const offered = [["Use the quota up", useUp]];
  if (plays.includes("break")) offered.push(["Break the stream", next("break")]);
  if (plays.includes("slow")) offered.push(["A slow OpenAI", next("slow")]);
  place.append(...offered.map(([name, play]) => make("button", { type: "button", onclick: () => run(ask, play) }, name)));
  place.hidden = false;
}

async function run(ask, play) {
  if (ask.open) return;
  try {
    await play();
    await ask.ask();
  } catch (error) {
    say(error.words || error.message, true);
  }
}
