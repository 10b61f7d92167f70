// Keys that work while the map has the focus, so that they never take a letter from a field.

/** Connect the keys of the map. */
export function initKeys(page, reader) {
  const { state, left } = page;
  const canvas = left.map.getCanvas();
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const layer = state.left.product.layers[Number(event.key) - 1];
    if (event.key === "Enter") reader.centre();
    else if (event.key === "[") page.timeline.step(-1);
    else if (event.key === "]") page.timeline.step(1);
    else if (event.key === "s" || event.key === "S") page.toggleSwipe();
    else if ((event.key === "h" || event.key === "H") && state.left.product.relief) state.set({ relief: !state.relief });
    else if (event.key === "0") left.fit(state.left.product);
    else if (/^[1-9]$/.test(event.key) && layer) state.show("left", state.left.product.id, layer.name);
    else return;
    event.preventDefault();
  });
}
