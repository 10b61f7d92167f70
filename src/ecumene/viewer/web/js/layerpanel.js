// The left panel: which layer, how it is drawn, its legend, the other side of the swipe, vectors and the base map.
import { el, settled } from "./dom.js";
import { number } from "./format.js";
import { legend, rampBar } from "./legend.js";
import { stands } from "./state.js";

const ROLES = {
  value: "map", uncertainty: "error bar", outlier: "flag", valid: "flag", probability: "probability", set: "set",
  interval: "interval",
};

const TIMES = [1, 2, 5, 10];

const group = (title, ...children) => el("fieldset", {}, el("legend", { text: title }), ...children);

const option = (value, text, selected) => el("option", { value: String(value), text, selected: Boolean(selected) });

/** The left panel; `update` makes it agree with the state. */
export class LayerPanel {
  constructor(container, state) {
    Object.assign(this, { container, state, keys: {} });
    this.parts = {};
    for (const name of ["layers", "style", "legend", "right", "vectors", "relief", "base"]) {
      this.parts[name] = el("div", { class: `part ${name}` });
    }
    container.replaceChildren(...Object.values(this.parts));
    this.build = {
      layers: () => this.layers(), style: () => this.style(), legend: () => this.legendPart(),
      right: () => this.right(), vectors: () => this.vectors(), relief: () => this.relief(), base: () => this.base(),
    };
  }

  /** Rebuild the parts whose content changed; the others keep focus and scroll. */
  update() {
    const { left, right, swipe } = this.state;
    const hidden = (which) => [...this.state.hidden(which)].join();
    const sideKey = (view) => `${view.product?.id}/${view.layer?.name}/${view.band}/${view.colormap}`;
    const keys = {
      layers: `${left.product.id}/${left.layer?.name}`,
      style: sideKey(left),
      legend: `${sideKey(left)}/${hidden("left")}`,
      right: swipe ? `${sideKey(right)}/${hidden("right")}/${[...this.state.shapes("right")].join()}` : "",
      relief: `${left.product.id}/${this.state.relief}/${this.state.exaggeration}`,
      vectors: `${left.product.id}/${[...this.state.vectors].join()}/${this.state.extrude}`,
      base: String(this.state.basemap),
    };
    for (const [name, key] of Object.entries(keys)) {
      if (this.keys[name] === key) continue;
      this.keys[name] = key;
      this.replace(this.parts[name], this.build[name]());
    }
  }

  /** Put new content in a part; the focus stays on what has the same `data-focus`, code or value. */
  replace(part, content) {
    const active = part.contains(document.activeElement) ? document.activeElement : null;
    const mark = active && ["data-focus", "data-code", "value"].map((name) => [name, active.getAttribute(name)]).find(([, v]) => v);
    part.replaceChildren(...[content].flat().filter(Boolean));
    part.hidden = !part.childNodes.length;
    if (mark) [...part.querySelectorAll(`[${mark[0]}]`)].find((node) => node.getAttribute(mark[0]) === mark[1])?.focus();
  }

  layers() {
    const { product, layer } = this.state.left;
    const rows = product.layers.map((entry, at) =>
      el("label", { class: "choice", title: entry.description || null },
        el("input", {
          type: "radio", name: "layer", value: entry.name, checked: entry.name === layer?.name,
          on: { change: () => this.state.show("left", product.id, entry.name) },
        }),
        el("span", { text: entry.title }),
        el("span", { class: "role", text: ROLES[entry.role] ?? "" }),
        at < 9 ? el("kbd", { text: String(at + 1), "aria-hidden": "true" }) : null));
    return group("Layer", ...rows, layer?.description ? el("p", { class: "hint", text: layer.description }) : null);
  }

  bandChoice(which) {
    const { layer, band } = this.state[which];
    if (!layer || layer.bands.length < 2) return null;
    const id = `band-${which}`;
    return el("div", { class: "field" },
      el("label", { for: id, text: layer.role === "probability" ? "Class" : "Band" }),
      el("select", {
        id, "data-focus": id, on: { change: (event) => this.state.change(which, { band: Number(event.target.value) }) },
      }, layer.bands.map((entry) => option(entry.index, entry.name || `band ${entry.index}`, entry.index === band))));
  }

  ramps() {
    const { layer, colormap } = this.state.left;
    if (!layer?.colormap) return null;
    return el("div", { class: "field" },
      el("label", { for: "colormap", text: "Colours" }),
      el("select", {
        id: "colormap", "data-focus": "colormap", on: { change: (event) => this.state.change("left", { colormap: event.target.value }) },
      }, Object.keys(this.state.site.colormaps).map((name) => option(name, name, name === (colormap ?? layer.colormap)))));
  }

  slider(name, title, value, act) {
    const output = el("output", { for: name, text: `${Math.round(100 * value)} %` });
    const input = el("input", {
      type: "range", id: name, "data-focus": name, min: "0", max: "100", step: "5", value: String(Math.round(100 * value)),
      on: {
        input: (event) => {
          output.textContent = `${event.target.value} %`;
          act(Number(event.target.value) / 100);
        },
      },
    });
    return el("div", { class: "field wide" }, el("label", { for: name, text: title }), output, input);
  }

  style() {
    const fade = settled((value) => this.state.set({ fade: value }), 120);
    return group("Drawing",
      this.bandChoice("left"),
      this.ramps(),
      this.slider("opacity", "Opacity", this.state.opacity, (value) => this.state.set({ opacity: value })),
      this.state.fades("left") ? this.slider("fade", "Fade what is uncertain", this.state.fade, fade) : null);
  }

  legendPart() {
    const { layer, band } = this.state.left;
    if (!layer) return null;
    const name = layer.bands.length > 1 ? layer.bands.find((entry) => entry.index === band)?.name : "";
    return group(`Legend: ${layer.title}${name ? `, ${name}` : ""}`, ...legend(this.state, "left"));
  }

  right() {
    if (!this.state.swipe) return null;
    const { product, layer } = this.state.right;
    const products = this.state.site.products;
    return group("Right of the border",
      el("div", { class: "field wide" }, el("label", { for: "right-product", text: "Product" }),
        el("select", {
          id: "right-product", "data-focus": "right-product",
          on: { change: (event) => this.state.show("right", event.target.value) },
        }, products.map((entry) => option(entry.id, productName(entry, products), entry === product)))),
      el("div", { class: "field wide" }, el("label", { for: "right-layer", text: "Layer" }),
        el("select", {
          id: "right-layer", "data-focus": "right-layer",
          on: { change: (event) => this.state.show("right", product.id, event.target.value) },
        }, product.layers.map((entry) => option(entry.name, entry.title, entry === layer)))),
      this.bandChoice("right"),
      ...legend(this.state, "right"),
      product.vectors.length ? el("p", { class: "hint", text: "Shapes right of the border" }) : null,
      ...this.shapes("right"));
  }

  /** Switches of a side's vector layers, with what their colours mean. */
  shapes(which) {
    const shown = this.state.shapes(which);
    const toggle = (name) => (event) => {
      const names = new Set(shown);
      if (event.target.checked) names.add(name);
      else names.delete(name);
      this.state.set({ [which === "left" ? "vectors" : "rightVectors"]: names });
    };
    const colours = (entry) => {
      const ramp = shown.has(entry.name) && entry.limits && this.state.site.colormaps[entry.colormap];
      if (!ramp) return [];
      const name = entry.colour_by.replaceAll("_", " ");
      return [el("p", { class: "hint", text: name }), ...rampBar(ramp, entry.limits.map((value) => number(value, 3)))];
    };
    return this.state[which].product.vectors.flatMap((entry) => [
      el("label", { class: "choice" },
        el("input", { type: "checkbox", "data-focus": `${which}-${entry.name}`, value: entry.name, checked: shown.has(entry.name), on: { change: toggle(entry.name) } }),
        el("span", { text: entry.title }),
        el("span", { class: "role", text: entry.number === null ? "" : entry.number.toLocaleString("en") })),
      ...colours(entry),
    ]);
  }

  vectors() {
    const { vectors } = this.state.left.product;
    if (!vectors.length) return null;
    return group("Shapes", ...this.shapes("left"), vectors.some(stands)
      ? el("label", { class: "choice" },
          el("input", { type: "checkbox", "data-focus": "extrude", id: "extrude", checked: this.state.extrude, on: { change: (event) => this.state.set({ extrude: event.target.checked }) } }),
          el("span", { text: "Raise them by height (3D)" }))
      : null);
  }

  relief() {
    const { relief } = this.state.left.product;
    if (!relief) return null;
    const times = el("div", { class: "field" },
      el("label", { for: "exaggeration", text: "Heights times" }),
      el("select", {
        id: "exaggeration", "data-focus": "exaggeration", on: { change: (event) => this.state.set({ exaggeration: Number(event.target.value) }) },
      }, TIMES.map((value) => option(value, String(value), value === this.state.exaggeration))));
    return group("Ground",
      el("label", { class: "choice" },
        el("input", { type: "checkbox", id: "relief", "data-focus": "relief", checked: this.state.relief, on: { change: (event) => this.state.set({ relief: event.target.checked }) } }),
        el("span", { text: "Raise it by its height (3D)" })),
      el("p", { class: "hint", text: `${relief.title}, from ${number(relief.lowest, 3)} m` }),
      this.state.relief ? times : null);
  }

  base() {
    const { basemap } = this.state.site;
    if (!basemap) return null;
    return group("Base map", el("label", { class: "choice" },
      el("input", { type: "checkbox", "data-focus": "basemap", checked: this.state.basemap, on: { change: (event) => this.state.set({ basemap: event.target.checked }) } }),
      el("span", { text: "Show it below" })));
  }
}

/** A product's name; with its date where names repeat. */
export function productName(product, products) {
  const twice = products.filter((entry) => entry.name === product.name).length > 1;
  const date = product.dates?.label;
  return `${product.name}${date && (twice || !product.name.includes(date)) ? ` · ${date}` : ""}`;
}
