// The view in the address, so that it can be sent to somebody: #p=product&l=layer&at=lon,lat,zoom

/** Read the address. */
export function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const at = (parameters.get("at") ?? "").split(",").map(Number);
  const whole = at.length === 3 && at.every(Number.isFinite) && Math.abs(at[0]) <= 180 && Math.abs(at[1]) <= 85;
  return { product: parameters.get("p"), layer: parameters.get("l"), at: whole ? at : null };
}

/** Write the address without a step in the history. */
export function writeAddress(state, map) {
  const { lng, lat } = map.getCenter();
  const parameters = new URLSearchParams();
  parameters.set("p", state.left.product.id);
  if (state.left.layer) parameters.set("l", state.left.layer.name);
  const text = `${parameters}&at=${lng.toFixed(5)},${lat.toFixed(5)},${map.getZoom().toFixed(2)}`;
  history.replaceState(null, "", `#${text}`);
}
