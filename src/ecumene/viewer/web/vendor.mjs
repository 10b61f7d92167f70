// Copies what the page needs from node_modules/ to vendor/, with all licences. Run by: npm ci && npm run vendor
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");

const FILES = {
  "maplibre-gl.mjs": "maplibre-gl/dist/maplibre-gl.mjs",
  "maplibre-gl-worker.mjs": "maplibre-gl/dist/maplibre-gl-worker.mjs",
  "maplibre-gl.css": "maplibre-gl/dist/maplibre-gl.css",
  "chart.umd.min.js": "chart.js/dist/chart.umd.min.js",
  "fzstd.js": "fzstd/umd/index.js",
  "geotiff.js": "geotiff/dist-browser/geotiff.js",
  "proj4.js": "proj4/dist/proj4.js",
};

// Packages whose archive holds no licence file: the text of the licence that their package.json names.
const HOLDERS = { "murmurhash-js": "Gary Court, Derek Perez, Ray Myers", lerc: "Esri" };
const MIT = (holder) => `MIT License

Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
const APACHE = (holder) => `Copyright ${holder}

Licensed under the Apache License, Version 2.0; the text is at https://www.apache.org/licenses/LICENSE-2.0`;

async function licence(name) {
  const folder = join(modules, name);
  const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  if (!texts.length) {
    const holder = HOLDERS[name];
    if (!holder) throw new Error(`${name} holds no licence file; name its holder in vendor.mjs.`);
    texts.push(about.license === "Apache-2.0" ? APACHE(holder) : MIT(holder));
  }
  return `${name} ${about.version} (${about.license})\n\n${texts.map((text) => text.trim()).join("\n\n")}\n`;
}

const lock = JSON.parse(await readFile(join(here, "package-lock.json"), "utf8"));
const shipped = Object.entries(lock.packages)
  .filter(([path, entry]) => path.startsWith("node_modules/") && !entry.dev && !path.includes("/@types/"))
  .map(([path]) => path.slice("node_modules/".length))
  .sort();

const fresh = join(here, "vendor.new");
await rm(fresh, { recursive: true, force: true });
await mkdir(fresh);
for (const [name, path] of Object.entries(FILES)) {
  const text = await readFile(join(modules, path), "utf8");
  // Source maps are not shipped, so nothing may ask for them.
  await writeFile(join(fresh, name), text.replace(/\n?\/[/*]# sourceMappingURL=.*$/gm, ""));
}
const rule = `\n${"-".repeat(100)}\n\n`;
await writeFile(join(fresh, "LICENCES.txt"), (await Promise.all(shipped.map(licence))).join(rule));
const versions = Object.fromEntries(
  Object.keys(JSON.parse(await readFile(join(here, "package.json"), "utf8")).dependencies).map((name) => [
    name,
    lock.packages[`node_modules/${name}`].version,
  ]),
);
await writeFile(join(fresh, "versions.json"), JSON.stringify(versions, null, 1) + "\n");
await rm(join(here, "vendor"), { recursive: true, force: true });
await rename(fresh, join(here, "vendor"));
