// What the page shows: one object, changed by `set`, watched by `on`.

/** Whether a vector layer can be raised by its height; points have no ground plan. */
export const stands = (vector) => Boolean(vector.height) && vector.geometry === "polygon";

/** A view of one side of the map. */
const side = () => ({ product: null, layer: null, band: 1, colormap: null, hidden: new Map() });

/** Whether two products show parts of the same place. */
export function meet(one, other) {
  const [a, b] = [one.bounds, other.bounds];
  return one.georeferenced === other.georeferenced && a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
}

/** Make the state of a page that shows `site`. */
export function createState(site) {
  const watchers = [];
  const state = {
    site,
    left: side(),
    right: side(),
    swipe: false,
    border: 0.5, // of the width
    opacity: 1,
    fade: 0,
    basemap: false,
    vectors: new Set(), // names of vector layers shown
    rightVectors: null, // those right of the border; null: the same
    extrude: false,
    relief: false, // whether the ground is raised by a layer of heights
    exaggeration: 1,
  };

  const product = (id) => site.products.find((entry) => entry.id === id) ?? site.products[0];

  function choose(view, id, layerName = null) {
    const next = product(id);
    const wanted = layerName ?? view.layer?.name;
    const same = view.layer && next.group === view.product?.group;
    view.product = next;
    const layer =
      next.layers.find((entry) => entry.name === wanted) ?? next.layers.find((entry) => entry.visible) ?? next.layers[0];
    if (!same || view.layer?.name !== layer?.name) {
      view.band = layer?.default_band ?? 1;
      view.colormap = layer?.colormap ?? null;
    }
    view.layer = layer ?? null;
  }

  return Object.assign(state, {
    /** Call `watcher(changed)` after every change; `changed` is a set of names. */
    on: (watcher) => watchers.push(watcher),
    /** Say that something changed. */
    tell: (...names) => watchers.forEach((watcher) => watcher(new Set(names))),
    /** Show a product, and a layer of it where one is named, on a side. */
    show(which, id, layerName = null) {
      const before = state[which].product?.id;
      choose(state[which], id, layerName);
      state.tell(which, before === state[which].product.id ? `${which}-layer` : `${which}-product`);
    },
    /** Change fields of a side. */
    change(which, fields) {
      Object.assign(state[which], fields);
      state.tell(which);
    },
    /** Change fields of the page. */
    set(fields) {
      Object.assign(state, fields);
      state.tell(...Object.keys(fields));
    },
    /** Class codes that are hidden on a side. */
    hidden(which) {
      const { product: shown, layer, hidden } = state[which];
      return hidden.get(`${shown.group}/${layer?.name}`) ?? new Set();
    },
    /** Hide or show a class on a side. */
    hide(which, code, away) {
      const { product: shown, layer, hidden } = state[which];
      const codes = new Set(state.hidden(which));
      if (away) codes.add(code);
      else codes.delete(code);
      hidden.set(`${shown.group}/${layer.name}`, codes);
      state.tell(which, `${which}-hidden`);
    },
    /** Names of the vector layers that are shown on a side. */
    shapes: (which) => (which === "right" && state.rightVectors) || state.vectors,
    /** Whether something stands up on a side, so that the map is looked at from aside. */
    stands: (which) => {
      const { product: shown } = state[which];
      if (state.relief && shown.relief) return true;
      return state.extrude && shown.vectors.some((entry) => stands(entry) && state.shapes(which).has(entry.name));
    },
    /** Whether a side's band has an uncertainty to fade by. */
    fades: (which) => Boolean(state[which].layer?.uncertainty?.band_for[state[which].band - 1]),
    /** Ends of the ramp of a side: those of all products alike, so that equal colours mean equal values at every date. */
    limits(which) {
      const { product: shown, layer, band } = state[which];
      const alike = site.products
        .filter((entry) => entry.group === shown.group)
        .map((entry) => entry.layers.find(({ name }) => name === layer.name)?.bands.find(({ index }) => index === band)?.limits)
        .filter(Boolean);
      return alike.length ? [Math.min(...alike.map(([low]) => low)), Math.max(...alike.map(([, high]) => high))] : [0, 1];
    },
    /** Options of a side's tiles, as the data source takes them. */
    options(which) {
      const { layer, band, colormap } = state[which];
      const own = layer.bands.find((entry) => entry.index === band)?.limits;
      const [low, high] = layer.colormap ? state.limits(which) : [null, null];
      const shared = layer.colormap && own && (own[0] !== low || own[1] !== high);
      return {
        band,
        colormap: layer.colormap && colormap !== layer.colormap ? colormap : null,
        low: shared ? low : null,
        high: shared ? high : null,
        hide: [...state.hidden(which)].sort((a, b) => a - b),
        fade: state.fades(which) ? state.fade : 0,
      };
    },
    /** Products of the shown one's place with the same layers, by date. */
    series(which = "left") {
      const shown = state[which].product;
      const same = site.products.filter((entry) => entry.group === shown.group && entry.dates?.start && meet(entry, shown));
      const time = (entry) => `${entry.dates.start}${entry.dates.end ?? ""}`;
      return same.sort((a, b) => time(a).localeCompare(time(b)));
    },
  });
}
