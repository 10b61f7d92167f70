"""Damaged, vanishing and missing input, full disks: the rest is mapped, or one sentence and the run goes on."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_fakes import ArrayStack, make_model, make_stack, raster_bytes
from rasterio.io import MemoryFile
from support import damage_block

from ecumene.core.errors import DamagedPixelsError, NothingToMapError, PartialResultError, ProductError, SceneError
from ecumene.core.window import Window
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.damage import merged
from ecumene.scenes.damage import CELL
from ecumene.scenes.handles import close_handles
from ecumene.scenes.opening import describe_scene
from ecumene.scenes.stack import align_scenes

OPTIONS = MapOptions(window=48, overlap=8, tile=120, batch_size=2, quicklook=False)
BLOCK = 128


def write_scene(path, pixels):
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "nodata": 0,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels)
            target.descriptions = ("B02", "B03", "B04")
        options = {"COMPRESS": "DEFLATE", "BLOCKSIZE": BLOCK, "OVERVIEWS": "NONE"}
        rasterio.shutil.copy(memory.name, str(path), driver="COG", **options)


def open_stack(path):
    source = describe_scene(path, sensor="sentinel-2", level="L2A", scale=1e-4, offset=0.0, time="2024-06-01")
    return align_scenes([source], mask_clouds=False)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(1000, 9000, (3, 300, 290)).astype(np.uint16)


def test_a_corrupt_block_is_nodata_listed_and_the_rest_is_mapped(tmp_path, pixels):
    """The rasters are those of a scene that has no data in that block."""
    model = make_model()
    path = tmp_path / "scene.tif"
    write_scene(path, pixels)
    damage_block(path, 1, 0)
    product = map_stack(open_stack(path), model, tmp_path / "damaged", options=OPTIONS)
    holed = pixels.copy()
    holed[:, BLOCK : 2 * BLOCK, :BLOCK] = 0
    write_scene(tmp_path / "holed.tif", holed)
    reference = map_stack(open_stack(tmp_path / "holed.tif"), model, tmp_path / "holed", options=OPTIONS)
    assert raster_bytes(product.folder) == raster_bytes(reference.folder)
    with rasterio.open(product.path("valid")) as source:
        valid = source.read(1)
    expected = np.ones((300, 290), np.uint8)
    expected[BLOCK : 2 * BLOCK, :BLOCK] = 0
    np.testing.assert_array_equal(valid, expected)
    assert product.damaged == (Window(BLOCK, 0, BLOCK, BLOCK),)
    assert open_product(product.folder).damaged == product.damaged
    assert reference.damaged == ()
    reference.require_undamaged()
    with pytest.raises(PartialResultError, match=r"128 x 128 pixels from row 128, column 0.*--overwrite\.$") as caught:
        product.require_undamaged()
    assert caught.value.exit_code == 9


def test_damage_is_remembered_over_a_restart(tmp_path, pixels):
    model, path = make_model(), tmp_path / "scene.tif"
    write_scene(path, pixels)
    damage_block(path, 0, 1)
    whole = map_stack(open_stack(path), model, tmp_path / "a", options=OPTIONS)

    def stop(done, total, what):
        if what == "tiles" and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_stack(open_stack(path), model, tmp_path / "b", options=OPTIONS, progress=stop)
    again = map_stack(open_stack(path), model, tmp_path / "b", options=OPTIONS)
    assert raster_bytes(again.folder) == raster_bytes(whole.folder)
    assert again.damaged == whole.damaged == (Window(0, BLOCK, BLOCK, BLOCK),)


def test_a_truncated_scene_is_mapped_as_far_as_it_goes(tmp_path, pixels):
    path = tmp_path / "scene.tif"
    write_scene(path, pixels)
    stack = open_stack(path)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size * 2 // 3)
    close_handles()
    product = map_stack(stack, make_model(), tmp_path / "p", options=OPTIONS)
    with rasterio.open(product.path("valid")) as source:
        valid = source.read(1)
    lost = np.zeros_like(valid)
    for part in product.damaged:
        lost[part.slices] = 1
    np.testing.assert_array_equal(valid, 1 - lost)
    assert 0.2 < lost.mean() < 0.6


def test_a_scene_without_a_readable_block_is_refused(tmp_path, pixels):
    path = tmp_path / "scene.tif"
    write_scene(path, pixels[:, :100, :100])
    stack = open_stack(path)
    damage_block(path, 0, 0)
    with pytest.raises(SceneError, match=r"Hardly any pixel .* fetch their files again\.$"):
        map_stack(stack, make_model(), tmp_path / "p", options=OPTIONS)
    assert not (tmp_path / "p").exists()


def test_a_scene_that_vanishes_is_one_sentence_and_the_run_goes_on(tmp_path, pixels):
    model, path = make_model(), tmp_path / "scene.tif"
    write_scene(path, pixels)
    reference = map_stack(open_stack(path), model, tmp_path / "a", options=OPTIONS)
    away = tmp_path / "away.tif"

    def take_away(done, total, what):
        if what == "tiles" and done == 2 and path.exists():
            path.rename(away)

    stack = open_stack(path)
    with pytest.raises(SceneError, match=r"scene\.tif cannot be read .*restore the file"):
        map_stack(stack, model, tmp_path / "b", options=OPTIONS, progress=take_away)
    assert not (tmp_path / "b" / "item.json").exists()
    assert list((tmp_path / "b" / ".work" / "tiles").glob("*.json"))
    away.rename(path)
    product = map_stack(open_stack(path), model, tmp_path / "b", options=OPTIONS)
    assert raster_bytes(product.folder) == raster_bytes(reference.folder)


@dataclass(frozen=True)
class HoledStack(ArrayStack):
    """Raises for every window that touches a hole, as a decoder does."""

    hole: Window | None = None

    def read(self, window):
        if window.intersect(self.hole) is not None:
            raise DamagedPixelsError("scene.tif cannot be read: it is damaged.")
        return super().read(window)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 200), st.integers(1, 200), st.data())
def test_damage_depends_on_the_place_alone(row, col, height, width, data):
    """Whatever the window, a damaged cell has no data, and everything else is as it was."""
    plain = make_stack(700, 650, channels=2)
    hole = Window(row, col, height, width)
    stack = HoledStack(plain.pixels, plain.geobox, plain.times, hole=hole)
    top, left = data.draw(st.integers(0, 600)), data.draw(st.integers(0, 550))
    window = Window(top, left, data.draw(st.integers(1, 700 - top)), data.draw(st.integers(1, 650 - left)))
    block, cells = stack.read_intact(window)
    expected = plain.read(window).image.copy()
    if window.intersect(hole) is not None:
        lost = {(r // CELL, c // CELL) for r in (row, row + height - 1) for c in (col, col + width - 1)}
        rows, cols = ({place[k] for place in lost} for k in (0, 1))
        cell = Window(min(rows) * CELL, min(cols) * CELL, *(CELL * (max(a) - min(a) + 1) for a in (rows, cols)))
        common = cell.intersect(window)
        inside = common.shift(-top, -left).slices
        expected[..., inside[0], inside[1]] = np.nan
        assert merged(cells, (700, 650))
    else:
        assert cells == ()
    np.testing.assert_array_equal(block.image, expected)
    np.testing.assert_array_equal(block.valid, np.isfinite(expected).all(axis=1))


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_merged_cells_cover_what_they_covered_and_do_not_overlap(places):
    cells = [Window(CELL * r, CELL * c, CELL, CELL) for r, c in places]
    shape = (1200, 1100)
    painted, expected = np.zeros(shape, int), np.zeros(shape, int)
    for cell in cells:
        expected[cell.slices] = 1
    for window in merged([*cells, *cells], shape):
        painted[window.slices] += 1
    np.testing.assert_array_equal(painted, expected)


def test_nothing_to_map_leaves_no_trace_in_a_fresh_folder(tmp_path):
    stack = make_stack(60, 60)
    stack.pixels[:] = np.nan
    with pytest.raises(NothingToMapError):
        map_stack(stack, make_model(), tmp_path / "fresh", options=OPTIONS)
    assert not (tmp_path / "fresh").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(NothingToMapError):
        map_stack(stack, make_model(), tmp_path / "mine", options=OPTIONS)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_full_file_system_is_one_sentence_and_the_run_goes_on(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        stack, model = make_stack(400, 420), make_model()
        stack.pixels[:] = np.random.default_rng(0).normal(0.5, 0.3, stack.pixels.shape)
        options = OPTIONS.model_copy(update={"probability": True})
        reference = raster_bytes(map_stack(stack, model, tmp_path / "a", options=options).folder)
        with pytest.raises(ProductError, match="No space left on device"):
            map_stack(stack, model, small / "p", options=options)
        assert not (small / "p" / "item.json").exists()
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        kept = len(list((small / "p" / ".work" / "tiles").glob("*.json")))
        calls = []
        product = map_stack(stack, model, small / "p", options=options, progress=lambda *call: calls.append(call))
        assert calls[0][0] == kept > 0
        assert raster_bytes(product.folder) == reference
    finally:
        os.sync()
        subprocess.run(["umount", str(small)], check=True)
