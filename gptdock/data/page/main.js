// Begins the page: keys, models, the two views, and the lights.

import { get, keys } from "./api.js";
import { Ask } from "./ask.js";
import { $, make, say } from "./dom.js";
import { showLights } from "./lights.js";
import { offerPlays } from "./plays.js";
import { roving } from "./roving.js";
import { LANGUAGES } from "./snippets.js";
import { Usage } from "./usage.js";

const LIGHTS_MS = 10_000;
const COPIED_MS = 1500;

const here = await (await fetch("/page/here.json")).json();
const views = { ask: new Ask(showLights), usage: new Usage(openKeys) };
let language = "curl";

function openKeys() {
  $("key").value = keys.caller;
  $("admin-key").value = keys.admin;
  $("keys").showModal();
}

/** Shows with these keys what they open. */
async function begin() {
  const showsUsage = !$("usage").hidden; // if it is chosen meanwhile, that reads it
  try {
    const { data } = await get("/v1/models");
    $("model").replaceChildren(...data.map(({ id }) => make("option", {}, id)));
    say("Ready.");
    await views.ask.showQuota();
  } catch (error) {
    say(error.words || error.message, true);
    if (error.code === "forbidden") openKeys();
  }
  showCode();
  await Promise.all([showLights(), showsUsage ? views.usage.refresh() : null]);
}

function showCode() {
  $("code").textContent = LANGUAGES[language](views.ask.asked);
  $("code-key").textContent = `Before: export GPTDOCK_KEY=${here.dev && keys.caller === here.key ? here.key : "..."}`;
}

/** Reads again what is shown, which another tab or program may have changed. */
function refresh() {
  if (!$("usage").hidden) views.usage.refresh();
  else if (!views.ask.open && keys.caller) views.ask.showQuota();
}

function makeTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  roving(tabs, "aria-selected", (chosen) => {
    for (const tab of tabs) $(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    if (!views.ask.open) say("");
    refresh();
  });
}

function makeLanguages() {
  const choices = Object.keys(LANGUAGES).map((name) => make("button", { type: "button", role: "radio" }, name));
  $("languages").append(...choices);
  roving(choices, "aria-checked", (chosen) => {
    language = chosen.textContent;
    showCode();
  })(choices[0]);
  $("question-form").addEventListener("input", showCode);
  $("copy").addEventListener("click", async () => {
    getSelection().selectAllChildren($("code"));
    if (!navigator.clipboard) return; // without TLS only this machine has one: then what is selected can be copied
    await navigator.clipboard.writeText($("code").textContent);
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy"; }, COPIED_MS);
  });
}

$("open-keys").addEventListener("click", openKeys);
$("keys-form").addEventListener("submit", () => {
  keys.use($("key").value, $("admin-key").value);
  begin();
});
$("keys-cancel").addEventListener("click", () => $("keys").close());
makeTabs();
makeLanguages();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  showLights();
  if ($("usage").hidden) refresh();
});
if (here.dev) {
  if (!keys.caller) keys.use(here.key, here.admin_key);
  offerPlays($("plays"), views.ask, here.plays);
}
setInterval(() => { if (!document.hidden) showLights(); }, LIGHTS_MS);
if (keys.caller) begin(); else openKeys();
