"""The server's memory has a ceiling: its stores have limits, and load does not raise it beyond them."""

import ctypes
import gc
import http.client
import os
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
from viewer_products import LEGEND, class_layers, write_product

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("psutil", reason="needs psutil")

import psutil
from rasterio.env import get_gdal_config

from ecumene.mapping.product import open_product
from ecumene.viewer.layers import describe_product
from ecumene.viewer.places import lonlat_to_mercator
from ecumene.viewer.rasters import open_raster, safe_environment
from ecumene.viewer.server import memory
from ecumene.viewer.server.tiles import Source, TileCache, TileLook, TileMaker

SIDE = 1536
KEPT = 1 << 17

# Stores so small that a short load fills them many times over.
SERVER = """
import sys
from ecumene.viewer.server import app, memory, running, tiles
from ecumene.viewer.server.library import open_library
tiles.TileMaker.__init__.__defaults__ = ({kept},)
listening = running.free_socket("127.0.0.1", 0)
served = app.create_app(open_library([sys.argv[1]]))
running.serve(served, listening, lambda: print(listening.getsockname()[1], flush=True))
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """Noise, so that tiles are large and differ."""
    layers, _ = class_layers((SIDE, SIDE))
    generator = np.random.default_rng(1)
    layers = [layers[0], layers[1], layers[3]]
    layers[0] = (layers[0][0], generator.choice(LEGEND.values, (1, SIDE, SIDE)))
    layers[1] = (layers[1][0], generator.random((1, SIDE, SIDE)))
    return write_product(tmp_path_factory.mktemp("memory") / "noise", layers, legend=LEGEND)


def places_of(folder, zoom=15):
    """Tiles of a product at a zoom level."""
    west, south, east, north = describe_product(open_product(folder))["bounds"]
    left, bottom = lonlat_to_mercator(west, south)
    right, top = lonlat_to_mercator(east, north)
    half, count = 20037508.342789244, 2**zoom
    columns = range(int((left + half) / 2 / half * count), int((right + half) / 2 / half * count) + 1)
    rows = range(int((half - top) / 2 / half * count), int((half - bottom) / 2 / half * count) + 1)
    return [(zoom, x, y) for x in columns for y in rows]


def test_blocks_have_one_limit_for_all_threads(product, monkeypatch):
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    memory.limit_block_cache()
    seen, start, end = [], threading.Barrier(2), threading.Barrier(2)

    def look(last):
        for _ in range(20):
            start.wait()
            with safe_environment():
                seen.append(get_gdal_config("GDAL_CACHEMAX"))
                if last:
                    end.wait()
            if not last:
                end.wait()  # one thread leaves its environment while the other is in its own

    threads = [threading.Thread(target=look, args=(last,)) for last in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*seen, get_gdal_config("GDAL_CACHEMAX")} == {memory.BLOCK_CACHE_BYTES}


def test_the_environment_decides_about_blocks(monkeypatch):
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    memory.limit_block_cache()
    monkeypatch.setattr(memory, "BLOCK_CACHE_BYTES", 1 << 20)
    monkeypatch.setenv("GDAL_CACHEMAX", "200")
    memory.limit_block_cache()
    assert get_gdal_config("GDAL_CACHEMAX") != 1 << 20


def test_small_tiles_count_with_what_it_costs_to_find_them():
    cache = TileCache(100 * memory.TILE_ENTRY_BYTES)
    for number in range(1000):
        cache.put(number.to_bytes(16, "big"), b"x" * 10)
    kept = [number for number in range(1000) if cache.get(number.to_bytes(16, "big")) is not None]
    assert kept == list(range(1000 - len(kept), 1000))
    assert 90 < len(kept) < 100
    for _ in range(200):  # replaced, not counted twice: nothing has to go
        cache.put((999).to_bytes(16, "big"), b"x" * 10)
    assert all(cache.get(number.to_bytes(16, "big")) is not None for number in kept)


def test_how_fine_a_file_is_is_asked_for_once(product, monkeypatch):
    """rasterio's function keeps memory at every call."""
    import rasterio.warp

    calls, real = [], rasterio.warp.calculate_default_transform
    monkeypatch.setattr("rasterio.warp.calculate_default_transform", lambda *a, **k: calls.append(a) or real(*a, **k))
    monkeypatch.setattr("rio_tiler.utils.calculate_default_transform", lambda *a, **k: calls.append(a) or real(*a, **k))
    opened = open_product(product)
    layers = {layer["name"]: layer for layer in describe_product(opened)["layers"]}
    maker = TileMaker()
    for place in places_of(product)[:12]:
        maker.tile([Source(opened, layers)], "value", *place, TileLook(fade=0.5))
    assert len(calls) == 2  # value and its error bar


class _Heap(ctypes.Structure):
    """glibc's `mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]  # fmt: skip


def in_use():
    """Bytes that the C library has handed out, to everything in the process."""
    library = ctypes.CDLL("libc.so.6") if sys.platform.startswith("linux") else None
    if not hasattr(library, "mallinfo2"):
        pytest.skip("needs glibc 2.33")
    library.mallinfo2.restype = _Heap
    gc.collect()
    found = library.mallinfo2()
    return found.uordblks + found.hblkhd


def test_a_tile_leaves_nothing_behind(product):
    opened = open_product(product)
    sources = [Source(opened, {layer["name"]: layer for layer in describe_product(opened)["layers"]})]
    maker, places = TileMaker(10 * memory.TILE_ENTRY_BYTES), places_of(product, 16)[:40]

    def draw(tiles):
        for number in range(tiles):
            maker.tile(sources, "value", *places[number % len(places)], TileLook(fade=0.3, size=64))

    memory.limit_block_cache()
    draw(120)
    before = in_use()
    draw(200)
    assert in_use() - before < 200 * 300  # bytes; nothing but noise


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("size", [256, 512])
def test_a_tile_is_what_rio_tiler_reads(tmp_path, crs, size):
    from affine import Affine
    from rio_tiler.errors import TileOutsideBounds
    from rio_tiler.io import Reader

    from ecumene.viewer.server.sources import OpenRaster

    layers, _ = class_layers((700, 900))
    grid = {
        "EPSG:32633": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "EPSG:4326": Affine(1e-4, 0, 15.0, 0, -1e-4, 45.0),
        "EPSG:3857": Affine(10, 0, 1_669_000, 0, -10, 5_621_000),
    }[crs]
    folder = write_product(tmp_path / "map", layers[:2], legend=LEGEND, crs=crs, transform=grid)
    opened = open_product(folder)
    with safe_environment(), open_raster(folder, opened.path("uncertainty")) as dataset:
        file = OpenRaster(dataset, True)
        outside = 0
        for zoom in (9, 12, 13, 15):
            z, x, y = places_of(folder, zoom)[0]
            for column in (x - 1, x, x + 1):
                found = file.tile(1, (z, column, y), size)
                try:
                    with Reader(None, dataset=dataset) as reader:
                        want = reader.tile(column, y, z, indexes=1, tilesize=size)
                except TileOutsideBounds:
                    assert found is None
                    outside += 1
                    continue
                np.testing.assert_array_equal(found[1], want.mask == 0)
                assert np.mean(found[0][~found[1]] == want.array.data[0][~found[1]]) > 0.98
        assert outside > 0


def test_load_beyond_what_the_stores_hold_does_not_raise_memory(product, tmp_path):
    code = tmp_path / "server.py"
    code.write_text(SERVER.format(kept=KEPT))
    environment = {"GDAL_CACHEMAX": "2", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(code), str(product)],
        stdout=subprocess.PIPE,
        text=True,
        env={**_environment(), **environment},
    ) as process:
        try:
            port = int(process.stdout.readline())
            rss, sent = _load(port, psutil.Process(process.pid), places_of(product, 16))
        finally:
            process.terminate()
    assert sent > 20 * KEPT  # the stores were filled many times over
    third = len(rss) // 3
    second, last = np.median(rss[third : 2 * third]), np.median(rss[2 * third :])
    assert last < 1.02 * second, (second / 2**20, last / 2**20)


def _environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(("GDAL_", "MALLOC_"))}


def _load(port, process, places, tiles=600):
    """Ask for tiles that differ; return (resident bytes after each, bytes of all answers)."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    generator, rss, sent = random.Random(3), [], 0
    for number in range(tiles):
        z, x, y = generator.choice(places)
        query = f"fade={number % 7 / 10:.1f}&hide={number % 3}&size={generator.choice([200, 256, 300])}"
        line.request("GET", f"/api/products/noise/tiles/value/{z}/{x}/{y}.png?{query}")
        answer = line.getresponse()
        sent += len(answer.read())
        assert answer.status == 200
        rss.append(process.memory_info().rss)
    line.close()
    return rss, sent
