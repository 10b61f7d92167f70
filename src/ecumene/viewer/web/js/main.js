// The page: reads the description, builds the parts and joins them through the state.
import { aboutContent } from "./about.js";
import { readAddress, writeAddress } from "./address.js";
import { ChartsPanel } from "./charts.js";
import { el, get, say, sentence, settled } from "./dom.js";
import { place } from "./format.js";
import { initKeys } from "./keys.js";
import { LayerPanel, productName } from "./layerpanel.js";
import { MapView } from "./mapview.js";
import { pixelContent, pixelHint } from "./pixelpanel.js";
import { Reader } from "./reader.js";
import { createState, meet } from "./state.js";
import { initBorder, placeBorder } from "./swipe.js";
import { makeTabs } from "./tabs.js";
import { initTheme, isDark } from "./theme.js";
import { Timeline } from "./timeline.js";
import { VectorLayers } from "./vectorlayers.js";
import { whyButton } from "./why.js";

let noticeTimer = 0;

/** Show a sentence over the map; it goes after a while unless it `stays`. */
function notice(text, stays = false) {
  const box = get("notice");
  clearTimeout(noticeTimer);
  box.textContent = text;
  box.hidden = !text;
  if (text && !stays) noticeTimer = setTimeout(() => notice(""), 8000);
}

const fail = (error, stays = false) => notice(sentence(error), stays);

async function library() {
  try {
    return await import("../vendor/maplibre-gl.mjs");
  } catch {
    throw new Error("The map library is missing; build it with: make install.");
  }
}

function union(products) {
  const edges = [0, 1, 2, 3].map((k) => products.map((product) => product.bounds[k]));
  return [Math.min(...edges[0]), Math.min(...edges[1]), Math.max(...edges[2]), Math.max(...edges[3])];
}

function initPicker(state) {
  const select = get("product");
  const { products, products_total: total, products_truncated: cut } = state.site;
  get("pick").hidden = products.length < 2;
  select.replaceChildren(...products.map((entry) => el("option", { value: entry.id, text: productName(entry, products) })));
  select.addEventListener("change", () => state.show("left", select.value));
  if (cut) notice(`${products.length} of ${total} products are listed; name fewer folders to see the others.`);
  state.on(() => {
    select.value = state.left.product.id;
    const { dates, name } = state.left.product;
    const texts = products.length < 2 ? [name, dates.label] : [];
    if (!state.left.product.georeferenced) texts.push("no coordinate system: columns and rows");
    get("when").textContent = texts.filter(Boolean).join(" · ");
    document.title = `${name} · ecumene`;
  });
}

function initPanels() {
  const small = matchMedia("(max-width: 60rem)");
  const shows = [];
  for (const [button, panel] of [["panel-button", "controls"], ["detail-button", "details"]]) {
    const shown = (open) => {
      get(panel).hidden = !open;
      get(button).setAttribute("aria-expanded", String(open));
      get("stage").classList.toggle(`no-${panel}`, !open);
    };
    get(button).addEventListener("click", () => {
      const open = get(panel).hidden;
      if (open && small.matches) for (const other of shows) other(false); // there is room for one
      shown(open);
    });
    shows.push(shown);
    shown(!small.matches);
  }
  get("help-button").addEventListener("click", () => get("help").showModal());
}

/** Open the panel of details on small screens, where it starts closed. */
function openDetails() {
  if (get("details").hidden) get("detail-button").click();
}

function addControls(maplibre, view, site) {
  const { map } = view;
  map.addControl(new maplibre.NavigationControl({ visualizePitch: true }), "top-right");
  if (site.products.some((product) => product.georeferenced)) {
    map.addControl(new maplibre.ScaleControl({ maxWidth: 120, unit: "metric" }), "bottom-left");
  }
  if (site.basemap) map.addControl(new maplibre.AttributionControl({ compact: false }), "bottom-right");
  map.on("mousemove", ({ lngLat }) => {
    get("place").textContent = place(view.product, lngLat.lng, lngLat.lat);
  });
  map.on("move", () => {
    if (!get("cross").checkVisibility()) return;
    const { lng, lat } = map.getCenter();
    get("place").textContent = place(view.product, lng, lat);
  });
}

/** Keep a side's map in step with the state. */
function draw(view, source, state, which) {
  const { product, layer } = state[which];
  view.product = product;
  if (!layer) return;
  const template = source.tiles(product, layer, state.options(which));
  view.raster(template, product, state.opacity);
  view.relief(state.relief && product.relief ? source.relief(product) : null, product, state.exaggeration);
}

/** What is worth comparing with the left product: another date, else another product of the place, else itself. */
function partner(state) {
  const shown = state.left.product;
  const others = state.site.products.filter((entry) => entry !== shown && meet(entry, shown));
  return others.findLast((entry) => entry.group === shown.group) ?? others[0] ?? shown;
}

function initSwipe(page) {
  const { state, source, maplibre, left } = page;
  let right = null;
  const container = get("map-right");
  const divider = get("divider");
  initBorder(divider, get("maps"), (border) => state.set({ border }));
  const button = get("swipe-button");
  button.addEventListener("click", () => page.toggleSwipe());
  page.toggleSwipe = () => {
    if (!state.swipe && !state.right.product) {
      const other = partner(state);
      const layer = other === state.left.product ? other.layers.find((entry) => entry.role === "uncertainty")?.name : state.left.layer?.name;
      state.show("right", other.id, layer ?? null);
    }
    state.set({ swipe: !state.swipe });
    say(state.swipe ? "Swipe on: two maps side by side" : "Swipe off");
  };
  state.on((changed) => {
    button.setAttribute("aria-pressed", String(state.swipe));
    for (const node of [container, divider, get("left-label"), get("right-label")]) node.hidden = !state.swipe;
    if (!state.swipe) {
      if (changed.has("swipe")) page.rightVectors?.update();
      return;
    }
    if (!right) {
      right = new MapView(maplibre, container, { interactive: false, bounds: state.left.product.bounds, basemap: state.site.basemap, label: "Map right of the border" });
      right.failed = fail;
      page.right = right;
      right.follow(left);
      page.rightVectors = new VectorLayers(right, source, state, "right", { told: say, cut: notice, failed: fail });
    }
    if (changed.has("swipe")) {
      right.map.resize();
      right.map.jumpTo({ center: left.map.getCenter(), zoom: left.map.getZoom(), bearing: left.map.getBearing(), pitch: left.map.getPitch() });
    }
    placeBorder(divider, container, state.border);
    draw(right, source, state, "right");
    if (["swipe", "right-product", "vectors", "rightVectors", "extrude"].some((name) => changed.has(name))) page.rightVectors.update();
    right.showBasemap(state.basemap);
    const title = (which) => [productName(state[which].product, state.site.products), state[which].layer?.title].filter(Boolean).join(": ");
    get("left-label").textContent = title("left");
    get("right-label").textContent = title("right");
    divider.setAttribute("aria-valuetext", `${Math.round(100 * state.border)} percent; left ${title("left")}, right ${title("right")}`);
  });
}

function initDetails(page) {
  const { state, source } = page;
  let charted = null;
  const tabs = makeTabs(get("details"), { pixel: "Pixel", charts: "Charts", about: "About" }, () => page.showCharts?.());
  const charts = new ChartsPanel(tabs.panels.charts);
  tabs.panels.pixel.append(...pixelHint());
  page.showCharts = async (again = false) => {
    const { product } = state.left;
    if (tabs.current() !== "charts" || (charted === product.id && !again)) return;
    charted = product.id;
    try {
      const { charts: list } = await source.charts(product);
      if (charted === product.id) await charts.show(list);
    } catch (error) {
      charted = null;
      charts.clear();
      tabs.panels.charts.append(el("p", { class: "alarm", text: sentence(error) }));
    }
  };
  page.followsPixel = () => tabs.current() === "pixel" && !get("details").hidden;
  page.showPixel = ({ pixel, product, features, why, quiet }) => {
    tabs.panels.pixel.replaceChildren(...pixelContent(pixel, product, { features, why, ask: whyButton(page, product, pixel), cardUrl: source.cardUrl(product) }));
    if (quiet) return;
    tabs.open("pixel");
    openDetails();
    say(pixel.inside ? (pixel.text ?? "") : "This place lies outside of the product.");
  };
  let about = null;
  state.on(() => {
    const { product } = state.left;
    if (about === product) return;
    about = product;
    tabs.panels.about.replaceChildren(...aboutContent(product, source.cardUrl(product)));
    page.showCharts();
  });
}

function initVectors(page) {
  const { state, source, left } = page;
  const vectors = new VectorLayers(left, source, state, "left", { told: say, cut: notice, failed: fail });
  Object.assign(page, { vectors, rightVectors: null, standing: false });
  state.on((changed) => {
    if (changed.has("left-product") || changed.has("vectors") || changed.has("extrude")) vectors.update();
    const standing = state.stands("left") || (state.swipe && state.stands("right"));
    if (standing !== page.standing) left.map.easeTo({ pitch: standing ? 55 : 0, duration: 600 });
    page.standing = standing;
  });
}

function watch(page) {
  const { state, source, left } = page;
  const panel = new LayerPanel(get("controls"), state);
  const timeline = new Timeline(get("timeline"), state);
  page.timeline = timeline;
  let warned = new Set();
  state.on((changed) => {
    panel.update();
    timeline.update();
    draw(left, source, state, "left");
    left.showBasemap(state.basemap);
    if (changed.has("left-product") || changed.has("left-layer")) {
      const { product, layer } = state.left;
      say([productName(product, state.site.products), layer?.title].filter(Boolean).join(": "));
      if (!warned.has(product.id) && product.warnings.length) notice(product.warnings[0]);
      warned.add(product.id);
      document.body.classList.toggle("pixels", !product.georeferenced);
    }
  });
  // A product that does not touch what is in view would seem empty.
  state.on((changed) => {
    if (!changed.has("left-product") || !page.opened) return;
    const [west, south, east, north] = state.left.product.bounds;
    const edges = left.map.getBounds();
    const apart = west > edges.getEast() || east < edges.getWest() || south > edges.getNorth() || north < edges.getSouth();
    if (apart) left.fit(state.left.product);
  });
}

async function start() {
  const kind = document.querySelector('meta[name="ecumene-source"]').content === "static" ? "static" : "server";
  const [maplibre, { createSource }] = await Promise.all([library(), import(`./source-${kind}.js`)]);
  maplibre.setWorkerUrl(new URL("../vendor/maplibre-gl-worker.mjs", import.meta.url).href);
  const source = await createSource();
  for (const [scheme, answer] of Object.entries(source.protocols)) maplibre.addProtocol(scheme, answer);
  const site = await source.open();
  if (!site.products.length) throw new Error("There is no product to show; name one: ecumene view product/.");
  const state = createState(site);
  const wanted = readAddress();
  const known = site.products.some((product) => product.id === wanted.product);
  const first = known ? wanted.product : site.products[0].id;
  let left;
  try {
    left = new MapView(maplibre, get("map"), { interactive: true, bounds: site.products[0].bounds, basemap: site.basemap });
  } catch {
    throw new Error("This browser cannot draw the map, because it has no WebGL 2; the report shows the product without it.");
  }
  left.failed = fail;
  left.busy = (busy) => {
    get("loading").hidden = !busy;
  };
  const page = { state, source, maplibre, left, site };
  initPicker(state);
  initPanels();
  addControls(maplibre, left, site);
  initDetails(page);
  initVectors(page);
  initSwipe(page);
  watch(page);
  const reader = new Reader(page, { shown: page.showPixel, failed: fail });
  page.reader = reader;
  initKeys(page, reader);
  initTheme(get("theme-button"), () => {
    left.recolour();
    page.right?.recolour();
    page.showCharts(true);
  });
  state.show("left", first, known ? wanted.layer : null);
  left.map.resize(); // the slider through the dates may have taken some of the height
  if (wanted.at) left.map.jumpTo({ center: [wanted.at[0], wanted.at[1]], zoom: wanted.at[2] });
  else left.fit({ bounds: union(state.series().length > 1 ? state.series() : [state.left.product]) }, false);
  left.outline(site.products);
  const write = settled(() => writeAddress(state, left.map), 300);
  left.map.on("moveend", write);
  state.on(write);
  await left.loaded;
  write();
  page.opened = true;
  return { state, map: left.map, page, isDark };
}

// An address that is typed or pasted into an open page; the page's own changes do not come here.
addEventListener("hashchange", () => location.reload());
const ready = start();
window.ecumene = { ready };
ready.then(
  (page) => Object.assign(window.ecumene, page),
  (error) => {
    initTheme(get("theme-button"));
    fail(error, true);
    say(sentence(error));
  },
);
