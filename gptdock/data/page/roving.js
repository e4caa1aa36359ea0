// Arrow keys in a row of tabs or radio buttons: one of them is in the tab order, the chosen one.

/** `choose` is called with the element that is chosen by click or arrow. */
export function roving(elements, mark, choose) {
  const select = (chosen) => {
    for (const each of elements) {
      each.setAttribute(mark, String(each === chosen));
      each.tabIndex = each === chosen ? 0 : -1;
    }
    choose(chosen);
  };
  elements.forEach((element, index) => {
    element.addEventListener("click", () => select(element));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = elements[(index + step + elements.length) % elements.length];
      next.focus();
      select(next);
    });
  });
  return select;
}
