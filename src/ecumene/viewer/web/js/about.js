// Where a product comes from: times, model, inputs, software, licences.
import { el } from "./dom.js";
import { number } from "./format.js";

const row = (name, content) => (content ? el("div", {}, el("dt", { text: name }), el("dd", {}, content)) : null);

function tree(value) {
  if (value === null || value === undefined) return "not known";
  if (typeof value === "number") return number(value);
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) {
    if (value.every((entry) => typeof entry !== "object")) return value.slice(0, 40).map(tree).join(", ");
    return el("ul", {}, value.slice(0, 40).map((entry) => el("li", {}, tree(entry))));
  }
  return el("dl", {}, Object.entries(value).map(([key, entry]) => row(key.replaceAll("_", " "), tree(entry))));
}

const folded = (title, content) => (content ? el("details", {}, el("summary", { text: title }), content) : null);

const filled = (value) => value && Object.keys(value).length;

/** What is known about a product as a whole. */
export function aboutContent(product, cardUrl) {
  const { provenance, model, crs, shape } = product;
  const software = Object.entries(provenance.software ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const size = shape ? `${shape[1]} × ${shape[0]} pixels` : `${product.tiles_number} products`;
  const resolution = product.resolution ? ` of ${number(product.resolution, 3)} ${product.resolution_unit}` : "";
  return [
    ...product.warnings.map((text) => el("p", { class: "alarm", text })),
    el("dl", {},
      row("title", product.title),
      row(product.dates.is_processing_time ? "processed" : "dates", product.dates.label),
      row("grid", `${size}${resolution}`),
      row("coordinates", product.georeferenced ? [crs.name, crs.code && !crs.name?.includes(crs.code) ? ` (${crs.code})` : ""].join("") : "pixels of the images; the product has no coordinate system"),
      row("model", model ? `${model.name} (${model.kind})` : null),
      row("method", product.method?.name),
      row("how", provenance.lineage),
      row("software", software),
      row("made", provenance.created),
      row("licence", provenance.licence)),
    cardUrl ? el("p", {}, el("a", { href: cardUrl, target: "_blank", rel: "noopener", text: "Model card (opens a new page)" })) : null,
    folded("Results", filled(product.results) ? tree(product.results) : null),
    folded("Parameters of the method", filled(product.method?.parameters) ? tree(product.method.parameters) : null),
    folded("Execution", filled(provenance.execution) ? tree(provenance.execution) : null),
    folded(`Inputs (${provenance.inputs?.length ?? 0})`, provenance.inputs?.length
      ? el("ul", { class: "files" }, provenance.inputs.map((input) => el("li", {}, el("span", { text: input.title ? `${input.title}: ${input.name}` : input.name }), input.checksum ? el("code", { text: input.checksum }) : null)))
      : null),
    folded("Files", provenance.files?.length
      ? el("ul", { class: "files" }, provenance.files.map((file) => el("li", {}, el("span", { text: file.name }), file.checksum ? el("code", { text: file.checksum }) : null)))
      : null),
  ].filter(Boolean);
}
