// From stored values to colours, by the same rules as the server's tiles.

const rgb = (colour) => [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16));

/** Whether a stored value is nodata. */
export function isMissing(layer, stored) {
  return !Number.isFinite(stored) || (typeof layer.nodata === "number" && stored === layer.nodata);
}

/** Physical value of a stored one; not a number where it is nodata. */
export const physical = (layer, stored) =>
  isMissing(layer, stored) ? Number.NaN : stored * layer.scale + layer.offset;

/** How many bits of a whole number are 1. */
export function countBits(value) {
  let rest = value >>> 0;
  let count = 0;
  for (; rest; rest >>>= 1) count += rest & 1;
  return count;
}

/**
 * Colour values.
 * @param layer Its description.
 * @param values Stored values.
 * @param known 1 where there is a pixel.
 * @param options {band, colormap, low, high, hide, fade}.
 * @param colormaps Ramps of the site.
 * @param bar Physical error bar of each pixel, or null.
 * @returns Uint8ClampedArray of red, green, blue, opacity.
 */
export function paint(layer, values, known, options, colormaps, bar = null) {
  const rgba = new Uint8ClampedArray(values.length * 4);
  const colourOf = ["classes", "flag"].includes(layer.kind) ? codes(layer, options) : numbers(layer, options, colormaps);
  const about = layer.uncertainty;
  const fade = bar && about ? (options.fade ?? 0) : 0;
  const span = about ? Math.max(about.high - about.low, 1e-12) : 1;
  for (let i = 0; i < values.length; i += 1) {
    if (!known[i] || isMissing(layer, values[i])) continue;
    const colour = colourOf(values[i]);
    if (!colour) continue;
    rgba.set(colour, 4 * i);
    let opacity = 255;
    if (fade > 0) {
      const share = Number.isFinite(bar[i]) ? Math.min(Math.max((bar[i] - about.low) / span, 0), 1) : 1;
      opacity = Math.round(255 * (1 - fade * share));
    }
    rgba[4 * i + 3] = opacity;
  }
  return rgba;
}

const ZERO = 32768;
const HIGHEST = 32767;

/** Heights as red, green, blue of the Terrarium format, metres above `lowest`; what has no height lies on level 0. */
export function terrarium(layer, values, known, lowest) {
  const rgba = new Uint8ClampedArray(values.length * 4);
  for (let i = 0; i < values.length; i += 1) {
    const height = known[i] ? physical(layer, values[i]) - lowest : 0;
    const level = Number.isFinite(height) ? Math.min(Math.max(height, 0), HIGHEST) : 0;
    const steps = Math.min(Math.round((level + ZERO) * 256), 2 ** 24 - 1);
    rgba.set([steps >> 16, (steps >> 8) & 255, steps & 255, 255], 4 * i);
  }
  return rgba;
}

function codes(layer, options) {
  const hidden = new Set(options.hide ?? []);
  const table = new Map(
    layer.classes.filter(({ value }) => !hidden.has(value)).map(({ value, colour }) => [value, rgb(colour)]),
  );
  return (value) => table.get(value) ?? null;
}

function numbers(layer, options, colormaps) {
  const ramp = colormaps[options.colormap ?? layer.colormap ?? "viridis"].map(rgb);
  const own = layer.bands[(options.band ?? 1) - 1].limits;
  const given = options.low !== null && options.low !== undefined && options.high !== null && options.high !== undefined;
  const [low, high] = given ? [options.low, options.high] : own;
  const span = Math.abs(high - low) > 1e-300 ? high - low : 1e-300;
  return (value) => {
    const number = layer.kind === "set" ? countBits(value) : value * layer.scale + layer.offset;
    const share = Math.min(Math.max((number - low) / span, 0), 1);
    return ramp[Math.floor(share * (ramp.length - 1) + 0.5)];
  };
}
