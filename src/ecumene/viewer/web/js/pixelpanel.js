// What is known about one pixel.
import { el } from "./dom.js";
import { number, percent, place } from "./format.js";
import { whyPart } from "./why.js";

const row = (name, ...content) => el("div", {}, el("dt", { text: name }), el("dd", {}, ...content));

function bars(probabilities) {
  const shown = [...probabilities].sort((a, b) => b.probability - a.probability);
  return el("table", { class: "bars" },
    el("caption", { text: "Probability of each class" }),
    el("thead", { class: "unseen" }, el("tr", {}, el("th", { scope: "col", text: "class" }), el("th", { scope: "col", text: "probability" }))),
    el("tbody", {}, shown.map((entry) =>
      el("tr", {},
        el("th", { scope: "row", text: entry.name }),
        el("td", {},
          el("span", { class: "bar", "aria-hidden": "true" },
            el("span", { style: { width: `${Math.max(0, Math.min(100, 100 * entry.probability))}%`, background: entry.colour } })),
          el("span", { class: "amount", text: percent(entry.probability) }))))));
}

function valuePart(value) {
  if (value.kind === "classes") {
    return el("p", { class: "answer" },
      el("span", { class: "swatch", style: { background: value.colour }, "aria-hidden": "true" }),
      el("strong", { text: value.class }),
      value.probability === null ? null : el("span", { text: ` probability ${percent(value.probability)}` }));
  }
  return el("ul", { class: "answer" }, value.bands.map((band) =>
    el("li", {}, value.bands.length > 1 ? el("span", { text: `${band.name}: ` }) : null, el("strong", { text: band.text }))));
}

function featurePart({ title, vector, properties }) {
  const height = vector.height;
  const entries = Object.entries(properties).filter(([key, value]) => key !== "colour" && value !== null);
  const rows = entries.slice(0, 12).map(([key, value]) => row(key.replaceAll("_", " "), typeof value === "number" ? number(value) : String(value)));
  const known = height && Number.isFinite(properties[height.column]);
  const bar = known && height.uncertainty ? properties[height.uncertainty] : null;
  return el("section", {}, el("h3", { text: title }),
    known ? el("p", { class: "answer" }, el("strong", { text: `${number(properties[height.column], 3)} m${Number.isFinite(bar) ? ` ± ${number(bar, 2)} m` : ""} high` })) : null,
    el("dl", {}, rows));
}

function sourcePart(pixel, product) {
  const dates = pixel.dates ?? product.dates;
  const rows = [];
  if (dates?.label) rows.push(row(dates.is_processing_time ? "processed" : "dates of the inputs", dates.label));
  if (pixel.channels?.length) rows.push(row("bands", pixel.channels.join(", ")));
  if (pixel.inputs?.length) {
    rows.push(row("inputs", el("ul", {}, pixel.inputs.slice(0, 12).map((input) => el("li", { text: input.title || input.name })),
      pixel.inputs.length > 12 ? el("li", { text: `and ${pixel.inputs.length - 12} more` }) : null)));
  }
  return rows.length ? el("details", {}, el("summary", { text: "Dates, bands and inputs" }), el("dl", {}, rows)) : null;
}

const CONCRETE = (layer) => layer.bands?.some((band) => band.value !== null);

/** The panel's content for a pixel; `features` are vector features there, `why` explanation layers, `ask` a button. */
export function pixelContent(pixel, product, { features = [], why = [], ask = null, cardUrl = null } = {}) {
  const parts = [el("p", { class: "where", text: `${product.name}: ${place(product, pixel.lon, pixel.lat)}${product.georeferenced && pixel.col !== null && pixel.inside ? ` (column ${pixel.col}, row ${pixel.row})` : ""}` })];
  if (!pixel.inside) parts.push(el("p", { text: "This place lies outside of the product." }));
  else if (pixel.valid === false) parts.push(el("p", { class: "alarm", text: "Not mapped here: no usable data, or outside of the clip." }));
  if (pixel.inside) {
    if (pixel.value) parts.push(valuePart(pixel.value));
    for (const flag of pixel.flags ?? []) if (flag.alarming) parts.push(el("p", { class: "alarm", text: flag.text }));
    const rows = [];
    if (pixel.set) rows.push(row("set of classes", pixel.set.text));
    if (pixel.uncertainty) rows.push(row("uncertainty", pixel.uncertainty.text));
    for (const flag of pixel.flags ?? []) if (!flag.alarming) rows.push(row(flag.layer, flag.text));
    if (rows.length) parts.push(el("dl", {}, rows));
    if (pixel.probabilities?.length) parts.push(bars(pixel.probabilities));
    parts.push(...why.map(whyPart), ask);
  }
  parts.push(...features.map(featurePart));
  if (pixel.inside) {
    const layers = (pixel.layers ?? []).filter(CONCRETE);
    if (layers.length) {
      parts.push(el("details", {}, el("summary", { text: "All layers" }), el("dl", {}, layers.map((layer) =>
        row(layer.title, layer.bands.length > 1
          ? el("ul", {}, layer.bands.map((band) => el("li", { text: `${band.name}: ${band.text}` })))
          : layer.bands[0].text)))));
    }
    parts.push(sourcePart(pixel, product));
  }
  if (cardUrl) parts.push(el("p", {}, el("a", { href: cardUrl, target: "_blank", rel: "noopener", text: "Model card (opens a new page)" })));
  return parts.filter(Boolean);
}

/** What is shown before the first click. */
export const pixelHint = () => [
  el("p", { class: "hint", text: "Click the map, or give it the focus and press Enter, to read a pixel: value with its error bar, classes that remain possible, flags, dates and inputs." }),
];
