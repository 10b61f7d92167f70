// Small helpers around the document.

const loading = new Map();

/** Make an element. Attributes: `class`, `text`, `on` ({event: handler}), `style` ({property: value}), others as such. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key === "on") for (const [name, handler] of Object.entries(value)) node.addEventListener(name, handler);
    else if (key === "style") for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    else if (key === "class") node.className = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Element by id. */
export const get = (id) => document.getElementById(id);

/** Say something in the live region, for those who do not see the page. */
export function say(text) {
  const live = get("live");
  if (live) live.textContent = text;
}

/** One sentence of an error. */
export const sentence = (error) => (error && error.message ? error.message : String(error));

/** Load a classic script of vendor/ once; resolves when it has run. */
export function script(name) {
  if (!loading.has(name)) {
    loading.set(
      name,
      new Promise((resolve, reject) => {
        const node = el("script", { src: new URL(`../vendor/${name}`, import.meta.url).href });
        node.addEventListener("load", () => resolve());
        node.addEventListener("error", () => {
          loading.delete(name);
          reject(new Error(`The browser library ${name} is missing; build it with: make install.`));
        });
        document.head.append(node);
      }),
    );
  }
  return loading.get(name);
}

/** Call `action` when calls have stopped for `pause` milliseconds. */
export function settled(action, pause = 150) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), pause);
  };
}
