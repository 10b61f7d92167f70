// One map: base map, a product's layer, its outline and the picked place.
import { isDark, variable } from "./theme.js";

const OUTLINE = "outline";
const PICKED = "picked";

const emptyCollection = () => ({ type: "FeatureCollection", features: [] });

/** The outline of products as GeoJSON; edges have points between, so that they follow the projection. */
function outlines(products) {
  const features = products.map(({ bounds: [west, south, east, north] }) => ({
    type: "Feature",
    properties: {},
    geometry: {
      type: "Polygon",
      coordinates: [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    },
  }));
  return { type: "FeatureCollection", features };
}

/** An error of the library as a sentence for readers; its own ones carry whole addresses. */
function readable(error) {
  if (error?.status) return new Error(`A part of the map could not be drawn (the server answered ${error.status}).`);
  return error ?? new Error("A part of the map could not be drawn.");
}

/** A MapLibre map that shows one raster layer at a time; a new layer replaces the old one when its tiles are there. */
export class MapView {
  /**
   * @param maplibre The library.
   * @param container Element.
   * @param interactive Whether it is moved by hand; the other side of a swipe follows instead.
   * @param bounds What to show at the start, degrees [west, south, east, north].
   */
  constructor(maplibre, container, { interactive, bounds, basemap = null, label = "Map" }) {
    this.basemap = basemap;
    this.rasters = []; // names of raster layers, the newest last
    this.count = 0;
    this.template = null;
    this.ground = null; // {name, template, exaggeration} of the raised ground
    this.map = new maplibre.Map({
      container,
      interactive,
      bounds,
      fitBoundsOptions: { padding: 24 },
      style: this.style(),
      attributionControl: false,
      renderWorldCopies: false,
      maxPitch: 70,
      fadeDuration: 0,
      locale: { "Map.Title": label },
    });
    this.map.on("error", ({ error }) => this.failed?.(readable(error)));
    this.loaded = new Promise((resolve) => this.map.once("load", resolve));
  }

  style() {
    const line = (colour) => ({ "line-color": colour, "line-width": 1, "line-opacity": 0.7 });
    return {
      version: 8,
      transition: { duration: 0, delay: 0 },
      sources: {
        [OUTLINE]: { type: "geojson", data: emptyCollection() },
        [PICKED]: { type: "geojson", data: emptyCollection() },
      },
      layers: [
        { id: "background", type: "background", paint: { "background-color": variable("--map") } },
        { id: OUTLINE, type: "line", source: OUTLINE, paint: line(variable("--muted")) },
        {
          id: "picked-halo",
          type: "circle",
          source: PICKED,
          paint: { "circle-radius": 8, "circle-opacity": 0, "circle-stroke-color": "#fff", "circle-stroke-width": 4 },
        },
        {
          id: PICKED,
          type: "circle",
          source: PICKED,
          paint: { "circle-radius": 8, "circle-opacity": 0, "circle-stroke-color": "#000", "circle-stroke-width": 2 },
        },
      ],
    };
  }

  /** Follow the page's theme. */
  async recolour() {
    await this.loaded;
    this.map.setPaintProperty("background", "background-color", variable("--map"));
    this.map.setPaintProperty(OUTLINE, "line-color", variable("--muted"));
    if (this.map.getLayer("basemap")) this.map.setPaintProperty("basemap", "raster-brightness-max", isDark() ? 0.6 : 1);
  }

  /** Show the outlines of products. */
  async outline(products) {
    await this.loaded;
    this.map.getSource(OUTLINE).setData(outlines(products));
  }

  /** Mark a place, or nothing. */
  async mark(lon, lat) {
    await this.loaded;
    const data = emptyCollection();
    if (lon !== null) {
      data.features.push({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: [lon, lat] } });
    }
    this.map.getSource(PICKED).setData(data);
  }

  /** Show or hide the base map. */
  async showBasemap(shown) {
    await this.loaded;
    if (!this.basemap) return;
    if (!this.map.getSource("basemap")) {
      if (!shown) return;
      const { tiles, attribution } = this.basemap;
      this.map.addSource("basemap", { type: "raster", tiles: [tiles], tileSize: 256, maxzoom: 19, attribution });
      this.map.addLayer({ id: "basemap", type: "raster", source: "basemap" }, this.lowest());
    }
    this.map.setLayoutProperty("basemap", "visibility", shown ? "visible" : "none");
    await this.recolour();
  }

  lowest() {
    return this.rasters.find((name) => this.map.getLayer(name)) ?? OUTLINE;
  }

  /** Show the tiles of a template. Pixels stay pixels: nothing is interpolated between them. */
  async raster(template, product, opacity) {
    await this.loaded;
    if (template === this.template) {
      this.opacity(opacity);
      return;
    }
    this.template = template;
    const name = `raster-${this.count++}`;
    this.map.addSource(name, {
      type: "raster",
      tiles: [template],
      tileSize: 256,
      bounds: product.bounds,
      minzoom: 0,
      maxzoom: product.zoom.max,
    });
    const paint = { "raster-opacity": opacity, "raster-fade-duration": 0, "raster-resampling": "nearest" };
    this.map.addLayer({ id: name, type: "raster", source: name, paint }, OUTLINE);
    this.rasters.push(name);
    this.busy?.(true);
    const finish = (event) => {
      const there = this.map.getSource(name);
      // An idle map waits for nothing any more, even where a tile could not be had.
      if (there && event.type !== "idle" && !(this.map.isSourceLoaded(name) && this.map.areTilesLoaded())) return;
      this.map.off("sourcedata", finish);
      this.map.off("idle", finish);
      if (there) this.forget(name);
    };
    this.map.on("sourcedata", finish);
    this.map.on("idle", finish);
  }

  /** Remove the raster layers that came before `name`. */
  forget(name) {
    const at = this.rasters.indexOf(name);
    for (const old of this.rasters.splice(0, Math.max(at, 0))) {
      this.map.removeLayer(old);
      this.map.removeSource(old);
    }
    if (this.rasters.length <= 1) this.busy?.(false);
  }

  /** Raise the ground by the heights of a template, or lay it flat where there is none. */
  async relief(template, product, exaggeration) {
    await this.loaded;
    if (this.ground && this.ground.template !== template) {
      this.map.setTerrain(null);
      this.map.removeSource(this.ground.name);
      this.ground = null;
    }
    if (!template || this.ground?.exaggeration === exaggeration) return;
    if (!this.ground) {
      this.ground = { name: `relief-${this.count++}`, template };
      this.map.addSource(this.ground.name, {
        type: "raster-dem",
        tiles: [template],
        tileSize: 256,
        encoding: "terrarium",
        bounds: product.bounds,
        minzoom: 0,
        maxzoom: product.zoom.max,
      });
    }
    this.ground.exaggeration = exaggeration;
    this.map.setTerrain({ source: this.ground.name, exaggeration });
  }

  /** Set the opacity, 0..1. */
  opacity(value) {
    for (const name of this.rasters) if (this.map.getLayer(name)) this.map.setPaintProperty(name, "raster-opacity", value);
  }

  /** Look at a product as a whole. */
  fit(product, animate = true) {
    const [west, south, east, north] = product.bounds;
    this.map.fitBounds([[west, south], [east, north]], { padding: 24, animate, pitch: this.map.getPitch() });
  }

  /** Look where another map looks. */
  follow(other) {
    const copy = () => {
      this.map.jumpTo({
        center: other.map.getCenter(),
        zoom: other.map.getZoom(),
        bearing: other.map.getBearing(),
        pitch: other.map.getPitch(),
      });
    };
    other.map.on("move", copy);
    copy();
  }
}
