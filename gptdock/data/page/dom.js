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

/** A table. Columns that start with "#" are of numbers. On a narrow screen each row is a block, hence the roles. */
export function table(caption, columns, rows) {
  const numeric = columns.map((name) => (name.startsWith("#") ? { class: "n" } : {}));
  const names = columns.map((name) => name.replace("#", ""));
  const head = names.map((name, i) => make("th", { role: "columnheader", scope: "col", ...numeric[i] }, name));
  const body = rows.map((cells) => make("tr", { role: "row" },
    ...cells.map((cell, i) => make("td", { role: "cell", "data-name": names[i], ...numeric[i] }, cell))));
  return make("table", { role: "table", "aria-label": caption },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)), make("tbody", { role: "rowgroup" }, ...body));
}

/** An id, which may be as long as its owner likes, and written from right to left. */
export const idText = (...texts) =>
  make("span", { class: "id" }, ...texts.flatMap((text, i) => [i ? "/" : "", make("bdi", {}, text)]));

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
