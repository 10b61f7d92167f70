// Where the page's data come from: files beside it on any web server, as `ecumene view --export` writes them.
// Layers are read from the products' own Cloud-Optimised GeoTIFFs by range requests and warped here, tile by tile.
import { Collection } from "./static-collection.js";
import { Cog } from "./static-file.js";
import { paint, physical, terrarium } from "./static-paint.js";
import { describePixel } from "./static-pixel.js";
import { locator, tileBox, tilePlaces } from "./static-warp.js";

const SIZE = 256; // pixels of a tile
const SCHEME = "ecog";
const GROUND = ".ground"; // in the place of a layer's name, which begins with a letter
const KEPT_FILES = 128;

const asBitmap = (rgba) => createImageBitmap(new ImageData(rgba, SIZE, SIZE));

/** `upper`, with another picture where it is clear. */
function below(upper, lower) {
  for (let i = 3; i < upper.length; i += 4) if (!upper[i]) upper.set(lower.subarray(i - 3, i + 1), i - 3);
  return upper;
}

async function json(address, signal) {
  let answer;
  try {
    answer = await fetch(address, { signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The site's files cannot be reached; put the folder on a web server.");
  }
  if (!answer.ok) throw new Error(`The site lacks its file ${new URL(address).pathname.split("/").pop()}; export again.`);
  return answer.json();
}

/** Whether two boxes in degrees meet. */
const meet = (a, b) => a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3];

function boxOf(coordinates, box = [Infinity, Infinity, -Infinity, -Infinity]) {
  if (typeof coordinates[0] === "number") {
    const [x, y] = coordinates;
    return [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)];
  }
  return coordinates.reduce((grown, part) => boxOf(part, grown), box);
}

export class StaticSite {
  constructor(root) {
    this.root = root;
    this.files = new Map();
    this.features = new Map();
    this.collections = new Map();
    this.site = null;
  }

  async open() {
    this.site ??= await json(new URL("data/site.json", this.root));
    return this.site;
  }

  product(id) {
    const found = this.site.products.find((product) => product.id === id);
    if (!found) throw new Error(`There is no product ${id} here.`);
    return found;
  }

  file(product, layer) {
    const path = [...(product.folder ?? [product.id]), layer.file].map(encodeURIComponent).join("/");
    const address = new URL(`products/${path}`, this.root).href;
    const found = this.files.get(address) ?? new Cog(address);
    this.files.delete(address);
    this.files.set(address, found);
    if (this.files.size > KEPT_FILES) this.files.delete(this.files.keys().next().value);
    return found;
  }

  collection(product) {
    const { id } = product;
    if (!this.collections.has(id)) {
      const read = (name) => json(new URL(`data/${encodeURIComponent(id)}/${name}`, this.root));
      this.collections.set(id, new Collection(id, read));
    }
    return this.collections.get(id);
  }

  /** The product of a tile, or the products of a collection's tile, the uppermost first. */
  async sources(product, z, x, y) {
    if (product.kind !== "collection") return [product];
    if (z < product.zoom.min) return []; // farther out there are too many
    const collection = this.collection(product);
    const units = await collection.sources(tileBox(z, x, y));
    return units.map((unit) => collection.placed(product, unit));
  }

  /** Colours of a tile: Uint8ClampedArray of SIZE x SIZE x 4, or null where the product has nothing. */
  async tile(id, name, z, x, y, options) {
    await this.open();
    let picture = null;
    for (const product of await this.sources(this.product(id), z, x, y)) {
      const painted = await this.painted(product, name, z, x, y, options);
      picture = picture && painted ? below(picture, painted) : (picture ?? painted);
    }
    return picture;
  }

  async painted(product, name, z, x, y, options) {
    const layer = product.layers.find((entry) => entry.name === name);
    const found = await tilePlaces(product, z, x, y, SIZE);
    if (!found) return null;
    const { values, known } = await this.file(product, layer).sample(found.places, options.band, found.step);
    let bar = null;
    if (options.fade > 0 && layer.uncertainty) {
      const other = product.layers.find((entry) => entry.name === layer.uncertainty.layer);
      const band = layer.uncertainty.band_for[options.band - 1];
      const read = await this.file(product, other).sample(found.places, band, found.step);
      bar = read.values.map((value, i) => (read.known[i] ? physical(other, value) : Number.NaN));
    }
    return paint(layer, values, known, options, this.site.colormaps, bar);
  }

  /** Heights of a tile as Terrarium colours. */
  async relief(id, z, x, y) {
    await this.open();
    const whole = this.product(id);
    const about = whole.relief;
    let picture = null;
    for (const product of await this.sources(whole, z, x, y)) {
      const layer = product.layers.find((entry) => entry.name === about.layer);
      const found = await tilePlaces(product, z, x, y, SIZE);
      if (!found) continue;
      const { values, known } = await this.file(product, layer).sample(found.places, about.band, found.step);
      const packed = terrarium(layer, values, known, about.lowest);
      known.forEach((there, i) => {
        if (!there || Number.isNaN(physical(layer, values[i]))) packed[4 * i + 3] = 0;
      });
      picture = picture ? below(picture, packed) : packed;
    }
    const flat = terrarium(null, new Float64Array(SIZE * SIZE), new Uint8Array(SIZE * SIZE), 0);
    return picture ? below(picture, flat) : flat;
  }

  /** Answer a request of the map for a tile; its address is one of `tiles` or of `ground`. */
  async load(url) {
    const [path, query] = url.slice(`${SCHEME}://`.length).split("?");
    const [id, name, z, x, y] = path.split("/").map(decodeURIComponent);
    if (name === GROUND) return { data: await asBitmap(await this.relief(id, Number(z), Number(x), Number(y))) };
    const given = new URLSearchParams(query);
    const number = (key) => (given.has(key) ? Number(given.get(key)) : null);
    const options = {
      band: number("band") ?? 1,
      colormap: given.get("colormap"),
      low: number("low"),
      high: number("high"),
      hide: (given.get("hide") ?? "").split(",").filter(Boolean).map(Number),
      fade: number("fade") ?? 0,
    };
    const rgba = await this.tile(id, name, Number(z), Number(x), Number(y), options);
    return { data: await asBitmap(rgba ?? new Uint8ClampedArray(SIZE * SIZE * 4)) };
  }

  ground(product) {
    return `${SCHEME}://${product.id}/${GROUND}/{z}/{x}/{y}`;
  }

  tiles(product, layer, { band, colormap, low, high, hide, fade }) {
    const given = { band, colormap, low, high, hide: hide.join(","), fade: fade || null };
    const kept = Object.entries(given).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const query = new URLSearchParams(kept);
    return `${SCHEME}://${product.id}/${encodeURIComponent(layer.name)}/{z}/{x}/{y}?${query}`;
  }

  async pixel(product, lon, lat) {
    if (product.kind !== "collection") return this.read(product, lon, lat);
    const collection = this.collection(product);
    const { most_sources: most } = await collection.index();
    let answer = null;
    for (const unit of await collection.units([lon, lat, lon, lat], most)) {
      const found = await this.read(await collection.about(unit), lon, lat);
      if (found.inside && found.valid) return { ...found, card: product.card };
      if (found.inside) answer = { ...found, card: product.card };
    }
    return answer ?? describePixel(product, { lon, lat, x: null, y: null, col: -1, row: -1 }, null);
  }

  async read(product, lon, lat) {
    const [x, y, column, row] = (await locator(product))(lon, lat);
    const [rows, columns] = product.shape;
    const [col, line] = [Math.floor(column), Math.floor(row)];
    const finite = Number.isFinite(col) && Number.isFinite(line);
    const place = { lon, lat, x: finite ? x : null, y: finite ? y : null };
    Object.assign(place, finite ? { col, row: line } : { col: -1, row: -1 });
    if (!(col >= 0 && line >= 0 && col < columns && line < rows)) return describePixel(product, place, null);
    const read = product.layers.map(async (layer) => {
      return [layer.name, await this.file(product, layer).pixel(col, line, layer.bands.length)];
    });
    return describePixel(product, place, Object.fromEntries(await Promise.all(read)));
  }

  async vectors(product, vector, box, limit, signal) {
    if (product.kind === "collection") return this.collection(product).outlines(box, limit);
    const address = new URL(`data/${product.id}/${encodeURIComponent(vector.name)}.geojson`, this.root).href;
    if (!this.features.has(address)) {
      const whole = await json(address, signal);
      const boxes = whole.features.map(({ geometry }) => (geometry ? boxOf(geometry.coordinates) : null));
      this.features.set(address, { whole, boxes });
    }
    const { whole, boxes } = this.features.get(address);
    const here = whole.features.filter((_, index) => boxes[index] && meet(boxes[index], box));
    const features = here.slice(0, limit);
    const truncated = features.length < here.length || whole.truncated;
    return { type: "FeatureCollection", features, total: whole.total, returned: features.length, truncated };
  }
}

/** The data source of an exported page. */
export async function createSource() {
  const site = new StaticSite(new URL("./", document.baseURI));
  return {
    protocols: { [SCHEME]: ({ url }) => site.load(url) },
    open: () => site.open(),
    tiles: (product, layer, options) => site.tiles(product, layer, options),
    relief: (product) => site.ground(product),
    pixel: (product, lon, lat) => site.pixel(product, lon, lat),
    charts: (product) => json(new URL(`data/${product.id}/charts.json`, site.root)),
    vectors: (product, vector, box, limit, signal) => site.vectors(product, vector, box, limit, signal),
    cardUrl: (product) => (product.card ? new URL(product.card, site.root).href : null),
    site,
  };
}
