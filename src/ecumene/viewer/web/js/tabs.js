// Tabs after the WAI-ARIA pattern: arrow keys move between them.
import { el } from "./dom.js";

/** Make tabs in a container; returns {panels: {name: element}, open(name), current()}. */
export function makeTabs(container, names, changed = () => {}) {
  const entries = Object.entries(names);
  const panels = {};
  const buttons = {};
  let shown = entries[0][0];
  const open = (name) => {
    shown = name;
    for (const [key] of entries) {
      buttons[key].setAttribute("aria-selected", String(key === name));
      buttons[key].tabIndex = key === name ? 0 : -1;
      panels[key].hidden = key !== name;
    }
    changed(name);
  };
  const keys = (event) => {
    const at = entries.findIndex(([key]) => key === shown);
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1 + entries.length, Home: 0, End: entries.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [next] = entries[moves[event.key] % entries.length];
    open(next);
    buttons[next].focus();
  };
  for (const [key, title] of entries) {
    buttons[key] = el("button", {
      type: "button", role: "tab", id: `tab-${key}`, "aria-controls": `panel-${key}`, text: title, on: { click: () => open(key) },
    });
    panels[key] = el("div", { role: "tabpanel", id: `panel-${key}`, "aria-labelledby": `tab-${key}`, tabindex: "0" });
  }
  container.replaceChildren(
    el("div", { class: "tabs", role: "tablist", "aria-label": "Details", on: { keydown: keys } }, Object.values(buttons)),
    ...Object.values(panels),
  );
  open(shown);
  return { panels, open, current: () => shown };
}
