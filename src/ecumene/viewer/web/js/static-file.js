// A Cloud-Optimised GeoTIFF that is read block by block with HTTP range requests.
import { script } from "./dom.js";

const CHUNK = 1 << 16; // bytes that are asked for at least
const KEPT_CHUNKS = 256; // 16 MiB of raw bytes a file
const KEPT_BLOCKS = 96; // decoded blocks of all files together
const LARGEST_WHOLE = 64 << 20; // a server without ranges sends whole files: only up to this size
const ZSTD = 50000; // TIFF's number of the compression

/** Least recently used entries go first. */
export class Kept {
  constructor(most) {
    this.most = most;
    this.entries = new Map();
  }

  /** The value of a key, made by `make` where it is not there; a promise that fails is not kept. */
  get(key, make) {
    let value = this.entries.get(key);
    this.entries.delete(key);
    if (value === undefined) {
      value = make();
      value.catch(() => this.entries.delete(key));
    }
    this.entries.set(key, value);
    while (this.entries.size > this.most) this.entries.delete(this.entries.keys().next().value);
    return value;
  }
}

/** Bytes of a file on a web server; what geotiff.js calls a source. */
export class RangeSource {
  constructor(address) {
    this.address = address;
    this.name = new URL(address).pathname.split("/").pop();
    this.chunks = new Kept(KEPT_CHUNKS);
    this.whole = null;
  }

  get fileSize() {
    return null;
  }

  async close() {}

  async fetch(slices) {
    return Promise.all(slices.map((slice) => this.slice(slice.offset, slice.length)));
  }

  async fetchSlice({ offset, length }) {
    return { offset, length, data: await this.slice(offset, length) };
  }

  /** Bytes from `offset`; fewer at the end of the file. */
  async slice(offset, length) {
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + length - 1) / CHUNK);
    const parts = await Promise.all(this.request(first, last));
    if (this.whole) return this.whole.slice(offset, offset + length);
    const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
    let at = 0;
    for (const part of parts) {
      joined.set(new Uint8Array(part), at);
      at += part.byteLength;
    }
    const start = offset - first * CHUNK;
    return joined.buffer.slice(start, start + length);
  }

  /** Promises of the chunks `first` to `last`; neighbours that are not there yet come in one request. */
  request(first, last) {
    const promises = [];
    let run = null;
    for (let chunk = first; chunk <= last; chunk += 1) {
      promises.push(
        this.chunks.get(chunk, () => {
          run ??= { first: chunk, bytes: null };
          const own = run;
          own.last = chunk;
          // Asked for in the next turn, when the length of the run is known.
          own.bytes ??= Promise.resolve().then(() => this.load(own.first * CHUNK, (own.last + 1) * CHUNK));
          return own.bytes.then((data) => data.slice((chunk - own.first) * CHUNK, (chunk - own.first + 1) * CHUNK));
        }),
      );
      if (run && run.last !== chunk) run = null;
    }
    return promises;
  }

  async load(start, stop) {
    if (this.whole) return this.whole.slice(start, stop);
    let answer;
    try {
      answer = await fetch(this.address, { headers: { Range: `bytes=${start}-${stop - 1}` }, credentials: "omit" });
    } catch {
      throw new Error(`The file ${this.name} cannot be reached; the site must lie on a web server.`);
    }
    if (answer.status === 206) return answer.arrayBuffer();
    if (answer.status === 416) return new ArrayBuffer(0);
    if (!answer.ok) throw new Error(`The file ${this.name} is missing on the server (${answer.status}).`);
    if (Number(answer.headers.get("content-length")) > LARGEST_WHOLE) {
      await answer.body?.cancel();
      throw new Error(`The web server sends ${this.name} only as a whole; use one that answers range requests.`);
    }
    this.whole = await answer.arrayBuffer();
    return this.whole.slice(start, stop);
  }
}

let library = null;

/** geotiff.js, with a Zstandard decoder that needs no WebAssembly, which the page's security policy forbids. */
async function geotiff() {
  library ??= Promise.all([script("geotiff.js"), script("fzstd.js")]).then(() => {
    const { GeoTIFF, fzstd } = globalThis;
    class Decoder extends GeoTIFF.BaseDecoder {
      decodeBlock(buffer) {
        const bytes = fzstd.decompress(new Uint8Array(buffer));
        return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
      }
    }
    GeoTIFF.addDecoder(ZSTD, async () => Decoder);
    return GeoTIFF;
  });
  return library;
}

const ARRAYS = {
  "1-8": Uint8Array,
  "1-16": Uint16Array,
  "1-32": Uint32Array,
  "2-8": Int8Array,
  "2-16": Int16Array,
  "2-32": Int32Array,
  "3-32": Float32Array,
  "3-64": Float64Array,
};

const blocks = new Kept(KEPT_BLOCKS);

/** One raster file: its full resolution and its overviews. */
export class Cog {
  constructor(address) {
    this.address = address;
    this.opened = null;
  }

  /** Levels, the finest first: {image, width, height, tileWidth, tileHeight, planes, samples}. */
  levels() {
    this.opened ??= this.open().catch((error) => {
      this.opened = null;
      throw error;
    });
    return this.opened;
  }

  async open() {
    const { GeoTIFF, getDecoder } = await geotiff();
    const tiff = await GeoTIFF.fromSource(new RangeSource(this.address));
    const levels = [];
    for (let index = 0, count = await tiff.getImageCount(); index < count; index += 1) {
      const image = await tiff.getImage(index);
      const kind = image.fileDirectory.getValue("NewSubfileType") ?? 0;
      if (index > 0 && (kind & 5) !== 1) continue; // masks are no overviews
      const compression = image.fileDirectory.getValue("Compression");
      levels.push({
        image,
        number: index,
        width: image.getWidth(),
        height: image.getHeight(),
        tileWidth: image.getTileWidth(),
        tileHeight: image.getTileHeight(),
        samples: image.getSamplesPerPixel(),
        planes: image.planarConfiguration,
        type: ARRAYS[`${image.getSampleFormat()}-${image.getBitsPerSample()}`],
        decoder: () =>
          getDecoder(compression, {
            tileWidth: image.getTileWidth(),
            tileHeight: image.getTileHeight(),
            planarConfiguration: image.planarConfiguration,
            bitsPerSample: image.fileDirectory.getValue("BitsPerSample"),
            predictor: image.fileDirectory.getValue("Predictor") ?? 1,
          }),
      });
      if (!levels.at(-1).type || !image.littleEndian) throw new Error(`${this.address} holds numbers of a foreign kind.`);
    }
    return levels.sort((a, b) => b.width - a.width);
  }

  /** The coarsest level whose pixels are not larger than `step` pixels of the finest. */
  async levelFor(step) {
    const levels = await this.levels();
    const [finest] = levels;
    return levels.findLast((level) => finest.width / level.width <= step * 1.001) ?? finest;
  }

  /** A decoded block and how to find a band's pixels in it: {data, stride, first}. */
  async block(level, column, row, band) {
    const separate = level.planes === 2;
    const key = `${this.address}#${level.number}/${column}/${row}/${separate ? band : 0}`;
    const data = await blocks.get(key, async () => {
      const found = await level.image.getTileOrStrip(column, row, separate ? band - 1 : 0, await level.decoder());
      return new level.type(found.data);
    });
    return separate ? { data, stride: 1, first: 0 } : { data, stride: level.samples, first: band - 1 };
  }

  /**
   * Values of a band at places.
   * @param places Float64Array of column, row of the finest level, one pair each; NaN has none.
   * @param step Pixels of the finest level between neighbours; chooses the overview.
   * @returns {values: Float64Array, known: Uint8Array}, 0 where there is no pixel.
   */
  async sample(places, band, step) {
    const level = await this.levelFor(step);
    const [finest] = await this.levels();
    const [across, down] = [level.width / finest.width, level.height / finest.height];
    const count = places.length / 2;
    const values = new Float64Array(count);
    const known = new Uint8Array(count);
    const columns = Math.ceil(level.width / level.tileWidth);
    const wanted = new Map();
    for (let i = 0; i < count; i += 1) {
      const column = Math.floor(places[2 * i] * across);
      const row = Math.floor(places[2 * i + 1] * down);
      if (!(column >= 0 && row >= 0 && column < level.width && row < level.height)) continue;
      const block = Math.floor(row / level.tileHeight) * columns + Math.floor(column / level.tileWidth);
      if (!wanted.has(block)) wanted.set(block, []);
      wanted.get(block).push(i, (row % level.tileHeight) * level.tileWidth + (column % level.tileWidth));
    }
    await Promise.all(
      [...wanted].map(async ([block, list]) => {
        const { data, stride, first } = await this.block(level, block % columns, Math.floor(block / columns), band);
        for (let k = 0; k < list.length; k += 2) {
          values[list[k]] = data[list[k + 1] * stride + first];
          known[list[k]] = 1;
        }
      }),
    );
    return { values, known };
  }

  /** Values of all bands at one pixel of the finest level. */
  async pixel(column, row, bands) {
    const place = Float64Array.of(column + 0.5, row + 0.5);
    const found = await Promise.all(Array.from({ length: bands }, (_, band) => this.sample(place, band + 1, 1)));
    return found.map(({ values, known }) => (known[0] ? values[0] : Number.NaN));
  }
}
