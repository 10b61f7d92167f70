// Where the page's data come from: the local server. See createSource; source-static.js has the same shape.

const root = new URL("./", document.baseURI);

async function json(path, signal) {
  let answer;
  try {
    answer = await fetch(new URL(path, root), { signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; start it again with: ecumene view.");
  }
  const body = await answer.json().catch((error) => {
    if (error.name === "AbortError" || answer.ok) throw error;
    return null; // an error of something between the page and the server need not be JSON
  });
  if (!answer.ok) throw new Error(body?.error ?? `The server answered ${answer.status} for ${path}.`);
  return body;
}

const query = (parameters) => {
  const kept = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${kept.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&")}` : "";
};

/** The data source of a page that is served by `ecumene view`. */
export async function createSource() {
  return {
    protocols: {},
    open: () => json("api/products"),
    tiles(product, layer, options) {
      const { band, colormap, low, high, hide, fade } = options;
      const limits = low === null || high === null ? {} : { low, high };
      const parameters = { band, colormap, ...limits, hide: hide.join(","), fade: fade || null, size: 256 };
      // The braces of the template must stay as they are, so the address is not built by URL.
      return root.href + layer.tiles + query(parameters);
    },
    relief: (product) => root.href + product.relief.url,
    pixel: (product, lon, lat, signal) =>
      json(`api/products/${encodeURIComponent(product.id)}/pixel${query({ lon, lat })}`, signal),
    why: (product, lon, lat, signal) =>
      json(`api/products/${encodeURIComponent(product.id)}/why${query({ lon, lat })}`, signal),
    charts: (product) => json(`api/products/${encodeURIComponent(product.id)}/charts`),
    vectors: (product, vector, bbox, limit, signal) =>
      json(vector.url + query({ bbox: bbox.join(","), limit }), signal),
    cardUrl: (product) => (product.card ? new URL(product.card, root).href : null),
  };
}
