// What a product says at one pixel, in numbers and in words: the same answer as the server's.
import { countBits, isMissing, physical } from "./static-paint.js";

const MOST_SAID = 4; // bands in a sentence
const DAY = 86400000;

/** `value` with a number of decimals; exact halves go to the even digit, as in the server's texts. */
export function fixed(value, decimals) {
  // Only whole multiples of 1 / 2^(decimals + 1) can lie exactly in the middle; all others toFixed rounds correctly.
  const doubled = value * 2 ** (decimals + 1);
  const middle = Number.isInteger(doubled) && Math.abs((value * 10 ** decimals) % 1) === 0.5;
  const text = value.toFixed(decimals);
  if (!middle || Number(text.at(-1)) % 2 === 0) return text;
  return (value - Math.sign(value) * 10 ** -decimals * 0.75).toFixed(decimals); // the neighbour towards zero
}

/** A number with at most `digits` significant digits, without trailing zeros. */
export function general(value, digits) {
  if (value === 0) return "0";
  let [mantissa, exponent] = value.toExponential(digits - 1).split("e").map(Number);
  if (exponent < -4 || exponent >= digits) {
    const unit = 10 ** (exponent - digits + 1);
    if (unit > 1 && Math.abs(value) % unit === unit / 2) {
      // An exact half, which toExponential rounds up.
      const lower = Math.trunc(value / unit);
      const even = lower % 2 === 0 ? lower : lower + Math.sign(value);
      [mantissa, exponent] = (even * unit).toExponential(digits - 1).split("e").map(Number);
    }
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const text = fixed(value, Math.max(0, digits - 1 - exponent));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const epochOf = (unit) => /^days since (\d{4}-\d{2}-\d{2})$/.exec(unit)?.[1] ?? null;

/** A number with four digits and its unit, a date for `days since`, or `no data`. */
export function numberText(value, unit = "") {
  if (value === null || !Number.isFinite(value)) return "no data";
  const since = epochOf(unit);
  if (since) return new Date(Date.parse(since) + Number(fixed(value, 0)) * DAY).toISOString().slice(0, 10);
  if (unit === "calendar year") return fixed(value, 0);
  const short = general(value, 4);
  return `${Math.abs(value) < 1e6 ? general(Number(short), 6) : short} ${unit}`.trim();
}

/** `value ± error bar unit`, both to the second digit of the error bar. */
function withBar(value, bar, unit) {
  if (epochOf(unit)) return `${numberText(value, unit)} ± ${general(bar, 2)} days`;
  if (!(bar > 0) || unit === "calendar year") return `${numberText(value, unit)} ± ${general(bar, 2)}`;
  const digits = Math.max(0, 1 - Math.floor(Math.log10(bar)));
  return `${fixed(value, digits)} ± ${fixed(bar, digits)} ${unit}`.trim();
}

const either = (names) => (names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);

/** Text before and after the first `mark`; the second is empty where there is none. */
function parted(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + mark.length)];
}

class Pixel {
  constructor(product, stored) {
    this.product = product;
    this.stored = stored;
    this.layers = new Map(product.layers.filter(({ name }) => name in stored).map((layer) => [layer.name, layer]));
  }

  missing(name) {
    const layer = this.layers.get(name);
    return this.stored[name].every((value) => isMissing(layer, value));
  }

  first(role, kind = null) {
    return [...this.layers.values()].find((layer) => layer.role === role && (kind === null || layer.kind === kind));
  }

  number(name, band) {
    const value = physical(this.layers.get(name), this.stored[name][band] ?? Number.NaN);
    return Number.isFinite(value) ? Number(value.toPrecision(9)) : null;
  }

  get valid() {
    if (this.layers.has("valid")) return this.stored.valid[0] === 1;
    const layer = this.first("value");
    return layer !== undefined && !this.missing(layer.name);
  }

  value() {
    const layer = this.first("value");
    if (!layer || this.missing(layer.name)) return null;
    return layer.kind === "classes" ? this.classValue(layer) : this.numberValue(layer);
  }

  classValue(layer) {
    const code = this.stored[layer.name][0];
    const entry = layer.classes.find(({ value }) => value === code);
    const name = entry?.name ?? `code ${code}`;
    const probability = this.probabilities()?.find(({ value }) => value === code)?.probability ?? null;
    const text = probability === null ? name : `${name}, probability ${fixed(probability, 2)}`;
    return { layer: layer.name, kind: "classes", code, class: name, colour: entry?.colour ?? null, probability, text };
  }

  numberValue(layer) {
    const bands = layer.bands.map((_, index) => this.numberBand(layer, index));
    let said = bands.map(({ name, text }) => (bands.length > 1 ? `${name}: ${text}` : text));
    if (said.length > MOST_SAID) said = [...said.slice(0, MOST_SAID), `and ${said.length - MOST_SAID} more`];
    return { layer: layer.name, kind: layer.kind, bands, text: said.join("; ") };
  }

  numberBand(layer, index) {
    const { unit, interval } = layer;
    const value = this.number(layer.name, index);
    let [bar, ends, about] = [null, null, null];
    if (layer.uncertainty && this.layers.has(layer.uncertainty.layer)) {
      bar = this.number(layer.uncertainty.layer, layer.uncertainty.band_for[index] - 1);
    }
    if (interval && this.layers.has(interval.lower) && this.layers.has(interval.upper)) {
      const found = [this.number(interval.lower, index), this.number(interval.upper, index)];
      if (!found.includes(null)) [ends, about] = [found, interval.text];
    }
    let text;
    if (layer.kind === "flag") {
      text = layer.classes.find((entry) => entry.value === value)?.name ?? "no data";
    } else {
      text = value === null || bar === null ? numberText(value, unit) : withBar(value, bar, unit);
      if (value !== null && ends) text += ` (${about}: ${numberText(ends[0], unit)} to ${numberText(ends[1], unit)})`;
    }
    const { name } = layer.bands[index];
    return { name, value, unit, uncertainty: bar, interval: ends, interval_text: about, text };
  }

  uncertainty() {
    const layer = this.first("uncertainty");
    const value = layer ? this.number(layer.name, 0) : null;
    if (value === null) return null;
    const text = `${numberText(value, layer.unit)} (${layer.description})`.replace(" ()", "");
    return { value, unit: layer.unit, text };
  }

  classSet() {
    const layer = this.first("set", "set");
    const { legend } = this.product;
    if (!layer || !legend || isMissing(layer, this.stored[layer.name][0])) return null;
    const bits = this.stored[layer.name][0];
    const classes = legend.classes.filter((_, index) => Math.floor(bits / 2 ** index) % 2 === 1);
    const about = parted(layer.description, " (bit 0")[0].replace(" as a bit mask", "");
    const names = either(classes.map(({ name }) => name));
    return {
      classes: classes.map(({ value, name, colour }) => ({ value, name, colour })),
      text: about ? `${names} (${about})` : names,
    };
  }

  probabilities() {
    const layer = this.first("probability");
    const { legend } = this.product;
    if (!layer || !legend || layer.bands.length !== legend.classes.length || this.missing(layer.name)) return null;
    return legend.classes.map(({ value, name, colour }, index) => {
      return { value, name, colour, probability: this.number(layer.name, index) };
    });
  }

  flags() {
    const said = [];
    for (const layer of this.layers.values()) {
      if (layer.kind !== "flag" || !["outlier", "valid"].includes(layer.role)) continue;
      const code = this.stored[layer.name][0];
      const entry = layer.classes.find(({ value }) => value === code);
      if (!entry || (layer.name === "outlier" && isMissing(layer, code))) continue;
      const alarming = code === (layer.role === "outlier" ? 1 : 0);
      const [one, zero] = parted(layer.description.replace(/^1 where /, ""), ", 0 where ");
      const about = alarming ? (code ? one : zero) : "";
      const text = about ? `${entry.name}: ${about}` : entry.name;
      said.push({ layer: layer.name, code, name: entry.name, text, alarming });
    }
    return said;
  }

  allLayers() {
    return [...this.layers.values()].map((layer) => ({
      name: layer.name,
      title: layer.title,
      bands: layer.bands.map(({ name }, index) => {
        const value = this.number(layer.name, index);
        let text = numberText(value, layer.unit);
        if (layer.classes && value !== null) {
          text = layer.classes.find((entry) => entry.value === Math.trunc(value))?.name ?? text;
        } else if (layer.kind === "set" && value !== null) text = `${countBits(value)} classes`;
        return { name, value, unit: layer.unit, text };
      }),
    }));
  }
}

function spoken(answer) {
  if (!answer.valid) return "Not mapped here.";
  const parts = [answer.value ? answer.value.text : "no value"];
  if (answer.set) parts.push(`class set ${parted(answer.set.text, " (")[0]}`);
  parts.push(...answer.flags.filter(({ alarming }) => alarming).map(({ name }) => name));
  return `${parts.join("; ")}.`;
}

/**
 * The answer for one pixel.
 * @param product Its description.
 * @param place {lon, lat, x, y, col, row}.
 * @param stored Stored values of each layer by name, one a band; null outside of the grid.
 */
export function describePixel(product, place, stored) {
  const answer = {
    product: product.id,
    inside: stored !== null,
    valid: false,
    ...place,
    value: null,
    uncertainty: null,
    set: null,
    probabilities: null,
    flags: [],
    layers: [],
    dates: product.dates,
    channels: product.provenance.channels,
    inputs: product.provenance.inputs,
    card: product.card,
    model: product.model,
    text: "Outside of the map.",
  };
  if (stored === null) return answer;
  const pixel = new Pixel(product, stored);
  Object.assign(answer, {
    valid: pixel.valid,
    value: pixel.value(),
    uncertainty: pixel.uncertainty(),
    set: pixel.classSet(),
    probabilities: pixel.probabilities(),
    flags: pixel.flags(),
    layers: pixel.allLayers(),
  });
  return Object.assign(answer, { text: spoken(answer) });
}
