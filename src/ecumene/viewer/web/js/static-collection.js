// A collection of a static site: which of its products a view touches, from an index that is read part by part.
import { Kept } from "./static-file.js";

const KEPT_PARTS = 64;
const KEPT_PRODUCTS = 64;

/** Whether a product's box meets a view's; its west is larger than its east where it crosses the antimeridian. */
function meets(box, view) {
  if (box[3] < view[1] || box[1] > view[3]) return false;
  if (box[0] <= box[2]) return box[2] >= view[0] && box[0] <= view[2];
  return box[2] >= view[0] || box[0] <= view[2];
}

const within = (box, view) => box[0] >= view[0] && box[1] >= view[1] && box[2] <= view[2] && box[3] <= view[3];

/** The products of one collection. */
export class Collection {
  /**
   * @param id Its identifier.
   * @param read (address below the collection's folder of data) => promise of JSON.
   */
  constructor(id, read) {
    Object.assign(this, { id, read, opened: null });
    this.parts = new Kept(KEPT_PARTS);
    this.abouts = new Kept(KEPT_PRODUCTS);
  }

  /** {most_sources, number, parts: [{file, number, box}]}. */
  index() {
    this.opened ??= this.read("index.json").catch((error) => {
      this.opened = null;
      throw error;
    });
    return this.opened;
  }

  part(file) {
    return this.parts.get(file, () => this.read(file));
  }

  /** Records of products that meet a box in degrees, at most `limit`; by name, the uppermost first, if all are there. */
  async units(view, limit) {
    const { parts } = await this.index();
    const found = [];
    for (const part of parts) {
      if (!meets(part.box, view)) continue;
      const { units } = await this.part(part.file);
      found.push(...units.filter((unit) => meets(unit.box, view)));
      if (found.length >= limit) break;
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, limit);
  }

  /** Records of the products of a tile; none where there are too many. */
  async sources(view) {
    const { parts, most_sources: most } = await this.index();
    const sure = parts.filter((part) => within(part.box, view)).reduce((sum, part) => sum + part.number, 0);
    if (sure > most) return [];
    const found = await this.units(view, most + 1);
    return found.length > most ? [] : found;
  }

  /** A product's description, with the folder of its files. */
  async about(unit) {
    const about = await this.abouts.get(unit.name, () => this.read(`units/${encodeURIComponent(unit.name)}.json`));
    return { ...about, folder: [this.id, unit.name] };
  }

  /** The collection's description with one product's place and files. */
  placed(product, unit) {
    const layers = unit.files ? product.layers.map((layer) => ({ ...layer, file: unit.files[layer.name] })) : product.layers;
    return { ...product, ...unit, name: product.name, layers, folder: [this.id, unit.name] };
  }

  /** Outlines as GeoJSON. */
  async outlines(view, limit) {
    const { number } = await this.index();
    const found = await this.units(view, limit + 1);
    const features = found.slice(0, limit).filter(({ box }) => box[0] <= box[2]).map(({ name, box: [w, s, e, n] }) => ({
      type: "Feature",
      properties: { tile: name },
      geometry: { type: "Polygon", coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] },
    }));
    return { type: "FeatureCollection", features, total: number, returned: features.length, truncated: found.length > limit };
  }
}
