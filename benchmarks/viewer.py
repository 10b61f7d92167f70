"""Tiles of the web map: how long one takes alone and under 50 clients, and whether the server's memory stays flat.

A product of one class layer and its uncertainty, 10980 x 10980 pixels, is made and shown by `ecumene view` in a process
of its own. Three things are timed on the same tiles, none of which was asked for before:

- rio-tiler's bare read: open the file, read the tile, no colours, no picture, no server;
- rio-tiler's picture: the same, coloured by a table and packed as PNG, no server;
- the server's answer to one client after the other, and to many at a time.

    python benchmarks/viewer.py                     # the whole measurement, about three minutes
    python benchmarks/viewer.py --minutes 10        # memory under ten minutes of load
    python benchmarks/viewer.py --size 2000 --tiles 60 --minutes 0.1   # to try it out
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import rasterio
from affine import Affine

from common import machine, store
from ecumene.legends import Legend
from ecumene.mapping.item import band_objects, footprint_of, layer_asset
from ecumene.mapping.layers import VALID
from ecumene.mapping.stac_models import EXTENSIONS
from ecumene.mapping.statistics import band_statistics
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.places import TILE_METRES, lonlat_to_mercator

LEGEND = Legend.from_names(["water", "forest", "grassland", "cropland", "built-up", "bare soil", "road", "wetland"])
VALUE = LayerSpec("value", "uint8", 255, role="value", categorical=True, band_names=("class",))
COLOURS = {entry.value: (*bytes.fromhex(entry.colour[1:]), 255) for entry in LEGEND.classes}
BAR = LayerSpec("uncertainty", "uint8", 255, scale=0.004, role="uncertainty", band_names=("entropy",))
TRANSFORM = Affine(10, 0, 600_000, 0, -10, 4_700_040)
CRS = "EPSG:32633"
LOAD_STEP_S = 0.25
EDGE = 0.04


def surface(size: int, seed: int, rows: slice) -> np.ndarray:
    """Return some rows of a smooth surface with a little noise, about uniform in [0, 1)."""
    generator = np.random.default_rng(seed)
    along = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] / 10980
    across = np.arange(size, dtype=np.float32)[None] / 10980
    total = np.zeros((rows.stop - rows.start, size), np.float32)
    for _ in range(6):
        a, b = generator.uniform(-220, 220, 2)
        total += np.sin(np.float32(a) * along + np.float32(generator.uniform(0, 6.28)) + np.float32(b) * across)
    noise = np.random.default_rng((seed, rows.start)).random(total.shape, np.float32)
    return np.clip(0.5 + total / 8 + 0.06 * (noise - 0.5), 0, 0.9999)


def make_product(folder: Path, size: int) -> Path:
    """Write the product: classes with noise as real maps have, entropy, valid."""
    folder.mkdir(parents=True)
    assets = {}
    valid = np.ones((size, size), bool)
    for spec, seed in ((VALUE, 1), (BAR, 2), (VALID, 3)):
        stored = np.ones((size, size), np.uint8)
        for row in range(0, size if spec is not VALID else 0, 512):
            rows = slice(row, min(size, row + 512))
            shares = surface(size, seed, rows)
            stored[rows] = 1 + np.floor(shares * 8) if spec is VALUE else np.round(shares * 250)
        path = folder / f"{spec.name}.tif"
        profile = {"driver": "COG", "count": 1, "height": size, "width": size, "dtype": "uint8", "crs": CRS}
        profile |= {"transform": TRANSFORM, "compress": "zstd", "blocksize": 512}
        if spec is not VALID:
            profile["nodata"] = 255
        with rasterio.open(path, "w", **profile) as target:
            target.write(stored, 1)
        numbers = (band_statistics(stored[: min(size, 512)], valid[: min(size, 512)], spec),)
        assets[spec.name] = layer_asset(path, spec, LEGEND, band_objects(spec, LEGEND, numbers, size * size))
    geometry, box = footprint_of(CRS, tuple(TRANSFORM)[:6], (size, size))
    item = {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": list(EXTENSIONS), "id": "tiles",
        "geometry": geometry, "bbox": box, "links": [], "assets": assets,
        "properties": {
            "datetime": "2024-06-01T10:00:00Z", "title": "tiles", "created": "2024-06-01T10:00:00Z",
            "proj:code": CRS, "proj:shape": [size, size], "proj:transform": list(TRANSFORM)[:6],
            "processing:lineage": "made for a measurement", "processing:software": {"ecumene": "0"},
            "processing:datetime": "2024-06-01T10:00:00Z", "ecumene:product_version": 1,
        },
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(item))
    return folder


def tiles_of(box: list[float], number: int, seed: int, deepest: int) -> list[tuple[int, int, int]]:
    """Return random tiles inside a box, most of them at the deepest levels, as one looks at maps; none twice."""
    left, bottom = lonlat_to_mercator(box[0], box[1])
    right, top = lonlat_to_mercator(box[2], box[3])
    generator, found, tried = random.Random(seed), {}, 0
    while len(found) < number:
        tried += 1  # a small map has few tiles at a level, so that others must be taken
        z = deepest + tried // (4 * number) - min(int(generator.expovariate(0.9)), 5)
        side = TILE_METRES * 256 / 2**z
        x, y = generator.uniform(left, right), generator.uniform(bottom, top)
        half = TILE_METRES * 128
        found[(z, int((x + half) // side), int((half - y) // side))] = None
    return list(found)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return median, 90 % and 99 % quantile and mean in milliseconds."""
    values = np.array(seconds) * 1e3
    named = {"median_ms": 50, "p90_ms": 90, "p99_ms": 99}
    return {key: round(float(np.percentile(values, q)), 2) for key, q in named.items()} | {
        "mean_ms": round(float(values.mean()), 2),
        "tiles": len(values),
    }


def bare(path: Path, tile: tuple[int, int, int], picture: bool) -> float:
    """Return the seconds that rio-tiler alone takes."""
    from rio_tiler.io import Reader

    start = time.perf_counter()
    with Reader(str(path)) as reader:
        z, x, y = tile
        image = reader.tile(x, y, z, indexes=1, tilesize=256)
        if picture:
            image.render(img_format="PNG", colormap=COLOURS)
    return time.perf_counter() - start


class Client:
    """One browser's connection."""

    def __init__(self, address: str, product: str) -> None:
        self._line = http.client.HTTPConnection(address, timeout=120)
        self._base = f"/api/products/{product}/tiles/value"

    def get(self, tile: tuple[int, int, int], query: str = "") -> float:
        """Return the seconds that a tile takes; it must be a picture."""
        z, x, y = tile
        start = time.perf_counter()
        self._line.request("GET", f"{self._base}/{z}/{x}/{y}.png{query}")
        answer = self._line.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - start
        if answer.status != 200 or body[:4] != b"\x89PNG":
            raise SystemExit(f"The server answered {answer.status}: {body[:200]!r}")
        return seconds


def start_server(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `ecumene view` and return (process, host:port)."""
    command = [sys.executable, "-m", "ecumene", "view", str(folder), "--no-browser", "--port", "8900"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://([^/]+)/", line)
    if found is None:
        raise SystemExit(f"The server did not start: {line}")
    return process, found.group(1)


def together(address: str, product: str, tiles: list[tuple[int, int, int]], clients: int) -> tuple[list[float], float]:
    """Return (seconds of each tile, seconds of all) when many clients share the tiles."""
    left, lock, seconds = list(tiles), threading.Lock(), []

    def look() -> None:
        client = Client(address, product)
        while True:
            with lock:
                if not left:
                    return
                tile = left.pop()
            taken = client.get(tile)
            with lock:
                seconds.append(taken)

    threads = [threading.Thread(target=look) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, time.perf_counter() - start


def load(address: str, product: str, pid: int, box: list[float], deepest: int, minutes: float, clients: int) -> dict:
    """Keep many clients busy for some minutes with all kinds of tiles; return the server's memory over time."""
    process, end = psutil.Process(pid), time.monotonic() + 60 * minutes
    served, failed = [0] * clients, []

    def look(number: int) -> None:
        client = Client(address, product)
        generator = random.Random(number)
        pool = tiles_of(box, 400, 1000 + number, deepest)
        while time.monotonic() < end:
            query = generator.choice(["", "?fade=0.7", "?hide=1,2", f"?fade={generator.random():.3f}"])
            try:
                client.get(generator.choice(pool), query)
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                return
            served[number] += 1

    threads = [threading.Thread(target=look, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < end:
        memory.append(process.memory_info().rss / 2**20)
        time.sleep(LOAD_STEP_S)
    for thread in threads:
        thread.join()
    third = max(1, len(memory) // 3)
    return {
        "minutes": minutes, "clients": clients, "tiles": sum(served), "failed": failed,
        "rss_mib_start": round(memory[0], 1), "rss_mib_largest": round(max(memory), 1),
        "rss_mib_median_of_second_third": round(float(np.median(memory[third : 2 * third])), 1),
        "rss_mib_median_of_last_third": round(float(np.median(memory[2 * third :])), 1),
    }  # fmt: skip


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--tiles", type=int, default=400, help="tiles of each measurement")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=1.0, help="of load, for the memory")
    parser.add_argument("--json", type=Path, help="write here instead of benchmarks/results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = make_product(Path(place) / "tiles", given.size)
        west, south, east, north = json.loads((folder / "item.json").read_text())["bbox"]
        # The map is turned a little against its box, whose corners it does not reach.
        across, along = EDGE * (east - west), EDGE * (north - south)
        box = [west + across, south + along, east - across, north - along]
        deepest = 14
        lots = [tiles_of(box, given.tiles, seed, deepest) for seed in (1, 2)]
        path = folder / "value.tif"
        process, address = start_server(folder)
        try:
            client = Client(address, "tiles")
            for tile in tiles_of(box, 8, 9, deepest):
                client.get(tile)
                bare(path, tile, True)
            rest = psutil.Process(process.pid).memory_info().rss / 2**20
            # One tile after the other in all three ways, so that what else the machine does troubles all alike.
            timed = [(bare(path, tile, False), bare(path, tile, True), client.get(tile)) for tile in lots[0]]
            reads, pictures, alone = (list(column) for column in zip(*timed, strict=True))
            again = [client.get(tile) for tile in lots[0]]
            faded = [client.get(tile, "?fade=0.6") for tile in lots[1][: given.tiles // 2]]
            fresh = lots[1][given.tiles // 2 :] + tiles_of(box, given.tiles, 3, deepest)
            crowd, wall = together(address, "tiles", fresh, given.clients)
            under_load = load(address, "tiles", process.pid, box, deepest, given.minutes, given.clients)
        finally:
            process.terminate()
            process.wait(timeout=20)
    result = {
        "size": given.size,
        "bare_read": quantiles(reads),
        "rio_tiler_picture": quantiles(pictures),
        "alone": quantiles(alone),
        "alone_asked_again": quantiles(again),
        "alone_with_fade": quantiles(faded),
        "many_clients": quantiles(crowd) | {"clients": given.clients, "tiles_per_second": round(len(crowd) / wall, 1)},
        "ratio_to_bare_read": round(float(np.median(np.array(alone) / reads)), 3),
        "ratio_to_rio_tiler_picture": round(float(np.median(np.array(alone) / pictures)), 3),
        "rss_mib_at_rest": round(rest, 1),
        "under_load": under_load,
    }
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result | {"machine": machine()}, indent=2) + "\n")
    else:
        store("viewer", result)


if __name__ == "__main__":
    main()
