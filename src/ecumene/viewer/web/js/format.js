// Numbers, dates and places as text.

/** A number with about `digits` significant digits, without needless zeros. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "no value";
  if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-3)) return value.toExponential(digits - 2);
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(places, 6) });
}

/** A share 0..1 in percent. */
export const percent = (share) =>
  share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toLocaleString("en", { maximumFractionDigits: 1 })} %`;

/** A value on a layer's ramp as text: dates are days since 1970-01-01 or years, as the unit says. */
export function onRamp(value, layer) {
  if (layer.kind === "date") return dateText(value, layer.unit);
  if (layer.kind === "set") return number(value, 2);
  return layer.unit ? `${number(value, 3)} ${layer.unit}` : number(value, 3);
}

function dateText(value, unit) {
  if (/^(d|day|days)\b/.test(unit)) {
    const since = /since\s+(\d{4}-\d{2}-\d{2})/.exec(unit);
    const start = since ? Date.parse(`${since[1]}T00:00:00Z`) : 0;
    return new Date(start + value * 86400000).toISOString().slice(0, 10);
  }
  return value.toLocaleString("en", { maximumFractionDigits: 1, useGrouping: false });
}

/** Longitude and latitude as text. */
export function lonLat(lon, lat) {
  const east = `${Math.abs(lon).toFixed(5)}° ${lon < 0 ? "W" : "E"}`;
  return `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}, ${east}`;
}

const RADIUS = 6378137;

/** Column and row of a place of a product without coordinate system, whose pixels lie around 0° N, 0° E. */
export function columnRow(product, lon, lat) {
  const size = product.pixel_grid.metres;
  const x = (lon * Math.PI * RADIUS) / 180;
  const y = RADIUS * Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360));
  return [Math.floor(x / size + product.shape[1] / 2), Math.floor(product.shape[0] / 2 - y / size)];
}

/** A place as the product has it: longitude and latitude, or column and row. */
export function place(product, lon, lat) {
  if (product.georeferenced) return lonLat(lon, lat);
  const [column, row] = columnRow(product, lon, lat);
  return `column ${column}, row ${row}`;
}
