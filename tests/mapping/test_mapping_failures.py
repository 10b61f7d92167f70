"""Kills, full disks, unwritable folders, wrong clips: a sentence, nothing half-written, and it goes on."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from mapping_fakes import UTM, make_model, make_stack, raster_bytes
from rio_cogeo.cogeo import cog_validate
from shapely.geometry import Point, box

from ecumene.core.errors import ConfigurationError, ProductError, SceneError
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.pipeline import Pipeline

OPTIONS = MapOptions(window=48, overlap=8, tile=80, batch_size=2, quicklook=False)
HERE = Path(__file__).parent

CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from mapping_fakes import make_model, make_stack
from ecumene.mapping import MapOptions, map_stack
def slowly(done, total, what):
    print(done, total, what, flush=True)
    time.sleep(0.02)
options = MapOptions(window=48, overlap=8, tile=80, batch_size=2, quicklook=False)
map_stack(make_stack(230, 250), make_model(), {out!r}, options=options, progress=slowly)
print("finished", flush=True)
"""


def start_child(out):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD.format(here=str(HERE), out=str(out))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_at_random_moments_the_same_call_ends_with_the_same_bytes(tmp_path):
    reference = raster_bytes(map_stack(make_stack(230, 250), make_model(), tmp_path / "a", options=OPTIONS).folder)
    chance = random.Random(20240601)
    out = tmp_path / "b"
    killed = 0
    for _ in range(5):
        child = start_child(out)
        first = child.stdout.readline()  # it has begun to map
        assert first
        time.sleep(chance.uniform(0.0, 0.35))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        if "finished" in rest:
            break
        killed += 1
        assert not (out / "item.json").exists() or open_product(out, verify=True)
        for path in out.glob("[!.]*.tif"):
            assert cog_validate(path, quiet=True)[0]
    assert killed >= 2
    product = map_stack(make_stack(230, 250), make_model(), out, options=OPTIONS)
    assert raster_bytes(product.folder) == reference
    assert not [path for path in out.rglob("*") if path.name.startswith(".part-")]
    open_product(out, verify=True)


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(tmp_path):
    """A file-size limit fails like a full disk: first in a tile, then in a finished layer."""
    stack, model = make_stack(300, 320), make_model()
    noisy = np.random.default_rng(0).normal(0.5, 0.3, stack.pixels.shape).astype(np.float32)
    stack.pixels[:] = noisy
    options = OPTIONS.model_copy(update={"probability": True, "tile": 120})
    reference = raster_bytes(map_stack(stack, model, tmp_path / "a", options=options).folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "b"
    largest = max(len(content) for content in reference.values())
    assert largest > 150_000
    for limit in (8_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(ProductError, match=r"\.$"):
                map_stack(stack, model, out, options=options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not (out / "item.json").exists()
        assert not [path for path in out.rglob("*") if path.name.startswith(".part-")]
        for path in out.glob("*.tif"):
            assert path.read_bytes() == reference[path.name]
    assert raster_bytes(map_stack(stack, model, out, options=options).folder) == reference


def test_a_failing_writer_is_one_sentence(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ProductError, match="No space left on device"):
            map_stack(make_stack(60, 60), make_model(), tmp_path / "p", options=OPTIONS)


@pytest.mark.parametrize("blocked", ["out", "parent", "work"])
def test_a_folder_that_cannot_be_written_to(tmp_path, blocked):
    out = tmp_path / "x" / "p"
    if blocked == "out":
        out.parent.mkdir()
        out.write_text("a file")
    elif blocked == "parent":
        out.parent.write_text("a file")
    else:
        out.mkdir(parents=True)
        (out / ".work").write_text("a file")
    with pytest.raises(ProductError, match="cannot be written"):
        map_stack(make_stack(40, 40), make_model(), out, options=OPTIONS)


def frame(shapes, crs=UTM):
    return geopandas.GeoDataFrame(geometry=shapes, crs=crs)


def test_clip_keeps_the_inside_and_nothing_else(tmp_path):
    stack, model = make_stack(150, 160), make_model()
    whole = map_stack(stack, model, tmp_path / "whole", options=OPTIONS)
    shape = box(500_200, 4_999_000, 500_900, 4_999_700).difference(Point(500_500, 4_999_400).buffer(120))
    path = tmp_path / "clip.gpkg"
    frame([shape]).to_crs("EPSG:4326").to_file(path)
    part = map_stack(stack, model, tmp_path / "part", options=OPTIONS, clip=path)
    x = 500_000 + 10 * (np.arange(160) + 0.5)
    y = 5_000_000 - 10 * (np.arange(150) + 0.5)
    inside = np.array([[shape.contains(Point(a, b)) for a in x] for b in y])
    for name in whole.layers:
        with rasterio.open(whole.path(name)) as first, rasterio.open(part.path(name)) as second:
            expected = np.where(inside, first.read(1), 0 if name == "valid" else 255)
            np.testing.assert_array_equal(second.read(1), expected, err_msg=name)
    with pytest.raises(ProductError, match="clip_checksum"):
        map_stack(stack, model, tmp_path / "part", options=OPTIONS)


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (frame([box(0, 0, 1, 1)]), "outside of the scene"),
        (frame([Point(500_100, 4_999_900)]), "no polygon"),
        (frame([box(500_000, 4_999_000, 500_500, 5_000_000)], None), "no coordinate system"),
        ("nowhere.gpkg", "cannot be read"),
    ],
)
def test_clips_that_cannot_work(tmp_path, clip, words):
    with pytest.raises(ConfigurationError, match=words):
        map_stack(make_stack(40, 40), make_model(), tmp_path / "p", options=OPTIONS, clip=clip)
    assert not (tmp_path / "p").exists()


def test_a_clip_over_nodata_only(tmp_path):
    stack = make_stack(60, 60)
    stack.pixels[0, :, :30] = np.nan
    clip = frame([box(500_000, 4_999_800, 500_500, 5_000_000)])
    with pytest.raises(SceneError, match="inside of the clip"):
        map_stack(stack, make_model(), tmp_path / "p", options=OPTIONS, clip=clip)


def test_a_pipeline_stops_all_stages_at_the_first_error():
    pipeline = Pipeline()
    channel = pipeline.channel(1)

    def produce():
        for number in range(10**9):
            channel.put(number)

    def consume():
        for number in channel:
            if number == 3:
                raise SceneError("The scene is gone.")

    before = threading.active_count()
    pipeline.start("produce", produce, [channel])
    pipeline.start("consume", consume)
    with pytest.raises(SceneError, match="gone"):
        pipeline.join()
    assert threading.active_count() == before


def test_a_pipeline_hands_everything_to_several_consumers():
    pipeline = Pipeline()
    first, second = pipeline.channel(2), pipeline.channel(2, producers=3)
    seen = []
    pipeline.start("source", lambda: [first.put(k) for k in range(50)], [first])
    for name in "abc":
        pipeline.start(name, lambda: [second.put(k * k) for k in first], [second])
    pipeline.start("sink", lambda: seen.extend(second))
    pipeline.join()
    assert sorted(seen) == [k * k for k in range(50)]


MEMORY = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from mapping_fakes import ArrayStack, grid, make_model
from ecumene.mapping import MapOptions, map_stack
from ecumene.scenes.contract import Block

class Endless(ArrayStack):
    '''Computes its pixels, so that the scene itself takes no memory.'''
    def read(self, window):
        rows = np.arange(window.row, window.row_stop, dtype=np.float32)[:, None]
        cols = np.arange(window.col, window.col_stop, dtype=np.float32)[None]
        image = np.stack([np.sin(rows / 41) * np.cos(cols / 37), np.cos(rows / 29 + cols / 53)])[None]
        return Block(image, np.ones((1, *image.shape[2:]), bool), np.zeros(1, np.int32))

height = int(sys.argv[1])
stack = Endless(np.empty((1, 2, 0, 0), np.float32), grid(height, 1100))
model = make_model(channels=2, stride=16, margin=16)
model.radius = 0
options = MapOptions(window=256, overlap=32, tile=700, batch_size=2, quicklook=False, probability=True)
map_stack(stack, model, sys.argv[2], options=options)
status = open("/proc/self/status").read()  # getrusage would report the parent's peak
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux reports")
def test_peak_memory_does_not_depend_on_the_height(tmp_path):
    # GDAL's cache is pinned, and freed memory goes back at once, so that what is measured is what is held.
    pinned = {"GDAL_CACHEMAX": "8", "MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "1000000", **pinned}

    def peak(height):
        command = [sys.executable, "-c", MEMORY.format(here=str(HERE)), str(height), str(tmp_path / str(height))]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(result.stdout)

    low, high = peak(3072), peak(6144)
    assert low > 50_000
    assert high <= 1.05 * low, (low, high)
