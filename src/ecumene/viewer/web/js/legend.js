// What the colours of a layer mean, with switches for classes.
import { el } from "./dom.js";
import { onRamp, percent } from "./format.js";

const STOPS = 16;

/** The colours of a ramp as CSS gradient. */
export function gradient(colours) {
  const stops = [];
  for (let k = 0; k <= STOPS; k += 1) stops.push(colours[Math.round(((colours.length - 1) * k) / STOPS)]);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

function classes(state, which) {
  const { layer, product } = state[which];
  const shares = new Map();
  if (layer.role === "value") for (const entry of product.legend?.classes ?? []) shares.set(entry.value, entry);
  const hidden = state.hidden(which);
  const all = layer.classes.map((entry) => entry.value);
  const rows = layer.classes.map((entry) => {
    const known = shares.get(entry.value);
    const box = el("input", {
      type: "checkbox",
      checked: !hidden.has(entry.value),
      "data-code": String(entry.value),
      on: { change: (event) => state.hide(which, entry.value, !event.target.checked) },
    });
    return el("li", {}, el("label", { title: known?.description || null },
      box,
      el("span", { class: "swatch", style: { background: entry.colour }, "aria-hidden": "true" }),
      el("span", { class: "class-name", text: entry.name }),
      known?.share !== undefined && known.share !== null
        ? el("span", { class: "share" }, el("span", { text: percent(known.share) }), el("span", { class: "unseen", text: " of the mapped pixels" }))
        : null));
  });
  const every = (away) => () => {
    for (const code of all) if (state.hidden(which).has(code) !== away) state.hide(which, code, away);
  };
  return [
    el("ul", { class: "classes" }, rows),
    all.length > 3
      ? el("p", { class: "row" }, el("button", { type: "button", text: "Show all", on: { click: every(false) } }),
          el("button", { type: "button", text: "Hide all", on: { click: every(true) } }))
      : null,
  ];
}

function ramp(state, which) {
  const { layer, colormap } = state[which];
  const colours = state.site.colormaps[colormap ?? layer.colormap] ?? ["#000000", "#ffffff"];
  const [low, high] = state.limits(which);
  const texts = [low, (low + high) / 2, high].map((value) => onRamp(value, layer));
  return rampBar(colours, texts);
}

/** A bar of colours with the texts of its ends and middle. */
export function rampBar(colours, texts) {
  return [
    el("div", {
      class: "ramp", role: "img", style: { background: gradient(colours) },
      "aria-label": `Colours from ${texts[0]} to ${texts.at(-1)}; values beyond take the colour of the end`,
    }),
    el("div", { class: "ends", "aria-hidden": "true" }, texts.map((text) => el("span", { text }))),
  ];
}

/** The legend of a side of the page. */
export function legend(state, which) {
  const { layer } = state[which];
  if (!layer) return [];
  const choosable = layer.kind === "classes" || layer.kind === "flag";
  return choosable && layer.classes ? classes(state, which) : ramp(state, which);
}
