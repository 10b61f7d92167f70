// Reads the pixel that is clicked, of the product on that side of the border.

const EXPLAINS = /^importance/;

/** Products of `ecumene explain` that the page shows as well. */
const explanations = (site) => site.products.filter((product) => product.layers.some((layer) => EXPLAINS.test(layer.name)));

/** Reads pixels and their explanations; a later click cancels an earlier one. */
export class Reader {
  constructor(page, { shown, failed }) {
    Object.assign(this, { page, shown, failed, cancel: null, last: null, pending: Promise.resolve() });
    page.left.map.on("click", (event) => this.read(event.lngLat.lng, event.lngLat.lat, event.point));
    page.state.on((changed) => {
      if (changed.has("left-product") && this.last && page.followsPixel()) this.again();
    });
  }

  /** Read the last place once more, where another date or product is shown now. */
  again() {
    const [lon, lat] = this.last;
    return this.read(lon, lat, this.page.left.map.project([lon, lat]), { quiet: true });
  }

  /** Read the pixel at the centre of the map. */
  centre() {
    const { map } = this.page.left;
    const { lng, lat } = map.getCenter();
    return this.read(lng, lat, map.project([lng, lat]));
  }

  side(point) {
    const { state, left } = this.page;
    const width = left.map.getContainer().clientWidth;
    return state.swipe && point.x > state.border * width ? "right" : "left";
  }

  /** Read a place and show what is known about it; a `quiet` reading is not announced. */
  read(lon, lat, point, { quiet = false } = {}) {
    this.last = [lon, lat];
    this.pending = this.request(lon, lat, point, quiet);
    return this.pending;
  }

  async request(lon, lat, point, quiet) {
    const { state, source, left, right, vectors, rightVectors } = this.page;
    const which = this.side(point);
    const { product } = state[which];
    this.cancel?.abort();
    this.cancel = new AbortController();
    const { signal } = this.cancel;
    left.mark(lon, lat);
    right?.mark(lon, lat);
    const features = (which === "right" ? rightVectors : vectors).at(point);
    try {
      const [pixel, why] = await Promise.all([source.pixel(product, lon, lat, signal), this.why(product, lon, lat, signal)]);
      this.shown({ pixel, product, features, why, quiet });
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    }
  }

  /** What explanations of the same date say about a place. */
  async why(product, lon, lat, signal) {
    const { site, source } = this.page;
    const found = [];
    for (const other of explanations(site)) {
      if (other !== product && other.dates.label !== product.dates.label) continue;
      const pixel = await source.pixel(other, lon, lat, signal);
      if (!pixel.inside) continue;
      for (const layer of pixel.layers ?? []) {
        if (!EXPLAINS.test(layer.name)) continue;
        const bands = layer.bands.filter((band) => Number.isFinite(band.value)).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
        const about = other.layers.find((entry) => entry.name === layer.name);
        if (bands.length) {
          found.push({ title: layer.title, product: other.title, description: about?.description ?? "", bands: bands.slice(0, 10) });
        }
      }
    }
    return found;
  }
}
