// Elements without a template language: text is always text, never markup.

export const $ = (id) => document.getElementById(id);

/** A new element: make("td", { class: "n" }, "12"); properties that start with "on" are listeners. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A table in a box that scrolls by itself. Columns that start with "#" are of numbers. */
export function table(caption, columns, rows) {
  const numeric = columns.map((name) => (name.startsWith("#") ? { class: "n" } : {}));
  const head = columns.map((name, i) => make("th", { scope: "col", ...numeric[i] }, name.replace("#", "")));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, i) => make("td", numeric[i], cell))));
  const whole = make("table", { "aria-label": caption }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, whole);
}

/** Pairs of a name and a number, as a list. */
export function numbers(pairs) {
  return pairs.map(([name, value, swatch = ""]) =>
    make("div", {}, make("dt", { class: swatch && `swatch ${swatch}` }, name), make("dd", {}, value)));
}

/** Told in the line below the header, and by screen readers. */
export function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

export const count = (number) => number.toLocaleString("en");

export const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Asks before a change; resolves to whether it was confirmed. */
export function confirmed(title, text, yes) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  const dialog = $("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
