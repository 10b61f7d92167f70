// Polygons, boxes and points of a product on the map, flat or standing up.
import { settled } from "./dom.js";
import { stands } from "./state.js";

const LIMIT = 5000;
const STOPS = 8;

/** A MapLibre expression for the colour of a feature. */
export function colourExpression(vector, colormaps) {
  const own = ["==", ["typeof", ["get", "colour"]], "string"];
  const plain = "#c44e52";
  const ramp = colormaps[vector.colormap];
  if (!ramp || !vector.limits || !vector.colour_by) return ["case", own, ["to-color", ["get", "colour"]], plain];
  const [low, high] = vector.limits;
  const span = high > low ? high - low : 1;
  const stops = [];
  for (let k = 0; k <= STOPS; k += 1) {
    stops.push(low + (span * k) / STOPS, ramp[Math.round((255 * k) / STOPS)]);
  }
  const value = ["get", vector.colour_by];
  const numeric = ["interpolate", ["linear"], value, ...stops];
  return ["case", own, ["to-color", ["get", "colour"]], ["==", ["typeof", value], "number"], numeric, plain];
}

function layersOf(id, vector, colour, extrude) {
  if (vector.geometry === "point") {
    const [radius, edge] = vector.number > 1000 ? [3, 0.5] : [5, 1.5]; // many would hide each other
    const paint = { "circle-color": colour, "circle-radius": radius, "circle-stroke-color": "#fff", "circle-stroke-width": edge };
    return [{ id, type: "circle", source: id, paint }];
  }
  if (vector.geometry === "line") return [{ id, type: "line", source: id, paint: { "line-color": colour, "line-width": 2 } }];
  if (extrude && stands(vector)) {
    const height = ["max", 0, ["to-number", ["get", vector.height.column], 0]];
    const paint = { "fill-extrusion-color": colour, "fill-extrusion-height": height, "fill-extrusion-opacity": 0.9 };
    return [{ id, type: "fill-extrusion", source: id, paint }];
  }
  return [
    { id, type: "fill", source: id, paint: { "fill-color": colour, "fill-opacity": 0.45 } },
    { id: `${id}-edge`, type: "line", source: id, paint: { "line-color": colour, "line-width": 1.5 } },
  ];
}

/** Vector layers of the product on a side of the map; fetches only what is in view where there are more than the limit. */
export class VectorLayers {
  constructor(view, source, state, which, { told, cut, failed }) {
    Object.assign(this, { view, source, state, which, told, cut, failed });
    this.shown = new Map(); // id on the map -> {product, vector, truncated, cancel}
    this.waiting = 0; // answers that are not there yet
    view.map.on("moveend", settled(() => this.refresh(), 250));
  }

  id(product, vector) {
    return `vector-${product.id}-${vector.name}`;
  }

  /** Make the map agree with the state. */
  async update() {
    await this.view.loaded;
    const { product } = this.state[this.which];
    const chosen = this.state.shapes(this.which);
    const hidden = this.which === "right" && !this.state.swipe;
    const wanted = hidden ? [] : product.vectors.filter((vector) => chosen.has(vector.name));
    const names = new Set(wanted.map((vector) => this.id(product, vector)));
    for (const id of [...this.shown.keys()]) if (!names.has(id)) this.remove(id);
    for (const vector of wanted) {
      const id = this.id(product, vector);
      const entry = this.shown.get(id);
      if (entry && entry.extrude === this.state.extrude) continue;
      this.remove(id);
      this.add(id, product, vector);
    }
  }

  add(id, product, vector) {
    const { map } = this.view;
    map.addSource(id, { type: "geojson", data: { type: "FeatureCollection", features: [] } });
    const colour = colourExpression(vector, this.state.site.colormaps);
    const layers = layersOf(id, vector, colour, this.state.extrude);
    for (const layer of layers) map.addLayer(layer, "picked-halo");
    const names = layers.map((layer) => layer.id);
    this.shown.set(id, { product, vector, names, extrude: this.state.extrude, truncated: true, cancel: null });
    this.fetch(id);
  }

  remove(id) {
    const entry = this.shown.get(id);
    if (!entry) return;
    entry.cancel?.abort();
    this.shown.delete(id);
    for (const name of entry.names) this.view.map.removeLayer(name);
    this.view.map.removeSource(id);
  }

  async fetch(id) {
    const entry = this.shown.get(id);
    entry.cancel?.abort();
    entry.cancel = new AbortController();
    const edges = this.view.map.getBounds();
    const clip = (value, most) => Math.min(most, Math.max(-most, value));
    const bbox = [
      clip(edges.getWest(), 180), clip(edges.getSouth(), 90), clip(edges.getEast(), 180), clip(edges.getNorth(), 90),
    ];
    this.waiting += 1;
    try {
      const data = await this.source.vectors(entry.product, entry.vector, bbox, LIMIT, entry.cancel.signal);
      if (this.shown.get(id) !== entry) return;
      entry.truncated = data.truncated || data.returned < entry.vector.number;
      this.view.map.getSource(id).setData(data);
      if (data.truncated) {
        this.cut(`${entry.vector.title}: ${data.returned} of ${data.total} in view are shown; move closer to see all.`);
      } else this.told(`${entry.vector.title}: ${data.returned} shown.`);
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    } finally {
      this.waiting -= 1;
    }
  }

  refresh() {
    for (const [id, entry] of this.shown) if (entry.truncated) this.fetch(id);
  }

  /** Features at a point of the screen: [{title, properties}]. */
  at(point) {
    const names = [...this.shown.values()].flatMap((entry) => entry.names).filter((name) => this.view.map.getLayer(name));
    if (!names.length) return [];
    const box = [[point.x - 3, point.y - 3], [point.x + 3, point.y + 3]];
    const seen = new Set();
    const found = [];
    for (const feature of this.view.map.queryRenderedFeatures(box, { layers: names })) {
      const key = `${feature.source}${JSON.stringify(feature.properties)}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const entry = this.shown.get(feature.source);
      if (entry) found.push({ title: entry.vector.title, vector: entry.vector, properties: feature.properties });
    }
    return found;
  }
}
