// From tiles of the map to pixels of a product.
import { script } from "./dom.js";

const HALF = 20037508.342789244; // half the width of the Web Mercator world, metres
const NODES = 16; // tile pixels between exactly transformed places; between them the way is almost straight
const FAR_OUT = 8; // below this zoom level a tile bends more

const transformations = new Map();

/** Degrees of Web Mercator metres. */
export const toDegrees = (x, y) => [(x / HALF) * 180, (Math.atan(Math.sinh((y / HALF) * Math.PI)) * 180) / Math.PI];

/** Degrees [west, south, east, north] of a tile. */
export function tileBox(z, x, y) {
  const side = (2 * HALF) / 2 ** z;
  const [west, north] = toDegrees(-HALF + x * side, HALF - y * side);
  const [east, south] = toDegrees(-HALF + (x + 1) * side, HALF - (y + 1) * side);
  return [west, south, east, y === 0 ? 90 : north];
}

/** Web Mercator metres of degrees. */
export function toMercator(lon, lat) {
  const held = Math.min(Math.max(lat, -85.0511287798066), 85.0511287798066);
  const y = (Math.log(Math.tan(Math.PI / 4 + (held * Math.PI) / 360)) * HALF) / Math.PI;
  return [(lon / 180) * HALF, y];
}

async function transformation(product) {
  if (!transformations.has(product.proj4)) {
    await script("proj4.js");
    const made = globalThis.proj4("+proj=longlat +datum=WGS84 +no_defs", product.proj4);
    transformations.set(product.proj4, made);
  }
  return transformations.get(product.proj4);
}

/**
 * The way from degrees to a product's grid.
 * @returns (lon, lat) => [x, y, column, row], not numbers where there is none.
 */
export async function locator(product) {
  const [rows, columns] = product.shape;
  if (!product.georeferenced) {
    const size = product.pixel_grid.metres;
    return (lon, lat) => {
      const [mx, my] = toMercator(lon, lat);
      const [column, row] = [mx / size + columns / 2, rows / 2 - my / size];
      return [column, row, column, row];
    };
  }
  const moved = await transformation(product);
  const [a, b, c, d, e, f] = product.transform;
  const scale = a * e - b * d;
  return (lon, lat) => {
    let x, y;
    try {
      [x, y] = moved.forward([lon, lat]);
    } catch {
      return [Number.NaN, Number.NaN, Number.NaN, Number.NaN]; // a place that the projection does not have
    }
    return [x, y, (e * (x - c) - b * (y - f)) / scale, (a * (y - f) - d * (x - c)) / scale];
  };
}

/**
 * Places of a tile's pixels in the product's grid.
 * @returns {places: Float64Array of column, row (NaN outside of the product's bounds), step}, or null where the tile
 *   has nothing of the product; `step` is how many pixels of the product a tile pixel is wide.
 */
export async function tilePlaces(product, z, x, y, size = 256) {
  const metres = (2 * HALF) / 2 ** z / size;
  const [left, top] = [-HALF + x * size * metres, HALF - y * size * metres];
  const [west, south, east, north] = product.bounds;
  const [low, bottom] = toMercator(west, south);
  const [high, upper] = toMercator(east, north);
  const inside = {
    first: Math.max(0, Math.floor((low - left) / metres) - 1),
    last: Math.min(size - 1, Math.ceil((high - left) / metres) + 1),
    upper: Math.max(0, Math.floor((top - upper) / metres) - 1),
    lower: Math.min(size - 1, Math.ceil((top - bottom) / metres) + 1),
  };
  if (inside.first > inside.last || inside.upper > inside.lower) return null;
  const locate = await locator(product);
  const step = z < FAR_OUT ? NODES / 4 : NODES;
  const count = Math.floor(size / step) + 1;
  const nodes = new Float64Array(count * count * 2);
  for (let j = 0; j < count; j += 1) {
    for (let i = 0; i < count; i += 1) {
      const [lon, lat] = toDegrees(left + i * step * metres, top - j * step * metres);
      const [, , column, row] = locate(lon, lat);
      nodes.set([column, row], 2 * (j * count + i));
    }
  }
  const places = new Float64Array(size * size * 2).fill(Number.NaN);
  for (let v = inside.upper; v <= inside.lower; v += 1) {
    for (let u = inside.first; u <= inside.last; u += 1) {
      between(nodes, count, (u + 0.5) / step, (v + 0.5) / step, places, 2 * (v * size + u));
    }
  }
  const middle = 2 * (Math.floor(count / 2) * count + Math.floor(count / 2));
  const width = Math.hypot(nodes[middle] - nodes[middle - 2], nodes[middle + 1] - nodes[middle - 1]) / step;
  return { places, step: Number.isFinite(width) && width > 0 ? width : 1 };
}

/** Write the column and row between four nodes. */
function between(nodes, count, u, v, places, at) {
  const [i, j] = [Math.min(Math.floor(u), count - 2), Math.min(Math.floor(v), count - 2)];
  const [p, q] = [u - i, v - j];
  const first = 2 * (j * count + i);
  const below = first + 2 * count;
  for (let k = 0; k < 2; k += 1) {
    const above = nodes[first + k] * (1 - p) + nodes[first + 2 + k] * p;
    const under = nodes[below + k] * (1 - p) + nodes[below + 2 + k] * p;
    places[at + k] = above * (1 - q) + under * q;
  }
}
