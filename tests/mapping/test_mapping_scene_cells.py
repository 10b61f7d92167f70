"""Maps of models of whole images: cells where they belong, patches around them, nothing lost at borders."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, DamagedPixelsError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.scene_cells import CellExecutor, Cells, CellStack, for_cells, lay_cells
from ecumene.objectives import Members, MultiLabel, SceneClassification
from ecumene.scenes.contract import Block, Channel
from ecumene.scenes.damage import read_around_damage

LEGEND = Legend.from_names(["water", "forest", "built"])


class Picture:
    """A stack in memory."""

    times = (None,)
    sources = ()
    channels = (Channel("s", "L", "b", "1"),)

    def __init__(self, image, affine=None, broken=()):
        self.image, self.broken = image.astype(np.float32), broken
        self.geobox = GeoBox(image.shape, affine or Affine(10, 0, 600_000, 0, -10, 5_000_000), "EPSG:32633")

    def select(self, channels):
        return self

    def read_intact(self, window):
        return read_around_damage(self, window)

    def read(self, window):
        if any(window.intersect(part) for part in self.broken):
            raise DamagedPixelsError("cut")
        padded = np.full((window.height, window.width), np.nan, np.float32)
        inside = window.intersect(Window(0, 0, *self.image.shape))
        if inside is not None:
            padded[inside.shift(-window.row, -window.col).slices] = self.image[inside.slices]
        return Block(padded[None, None], np.isfinite(padded)[None], np.zeros(1, np.int32))


class Mean:
    """Answers with a patch's mean and its centre pixel."""

    backend, precision = "torch", "fp32"

    def run(self, image, dates=None):
        side = image.shape[-1]
        output = np.stack([image.mean(axis=(1, 2, 3)), image[:, 0, side // 2, side // 2]], axis=1)
        return output[:, :, None, None], image.max(axis=(1, 2, 3))[:, None, None]


def answers(picture, patch, step, window=None):
    cells, grid = lay_cells(picture.geobox, patch, step)
    stack = CellStack(picture, cells, grid)
    block = stack.read(window or Window(0, 0, *(int(size) for size in grid.shape)))
    return CellExecutor(Mean(), cells).run(block.image[0][None]), block, grid, cells


def test_cells_of_a_patch_each_are_the_blocks_of_the_scene():
    image = np.arange(48 * 64).reshape(48, 64)
    (output, score), block, grid, _ = answers(Picture(image, Affine(10, 0, 0, 0, -10, 480)), 16, 16)
    assert grid.shape == (3, 4)
    assert output.shape == (1, 2, 3, 4)
    np.testing.assert_allclose(output[0, 0], image.reshape(3, 16, 4, 16).mean(axis=(1, 3)))
    np.testing.assert_allclose(score[0], image.reshape(3, 16, 4, 16).max(axis=(1, 3)))
    assert block.valid.all()


def test_cells_lie_on_whole_multiples_of_their_size():
    grid = lay_cells(GeoBox((50, 50), Affine(10, 0, 600_030, 0, -10, 4_999_980), "EPSG:32633"), 32, 10)[1]
    assert (grid.affine.c, grid.affine.f, grid.affine.a) == (600_000, 5_000_000, 100)
    assert grid.shape == (6, 6)  # the last cell begins inside of the scene
    unaligned = lay_cells(GeoBox((50, 50), Affine(10, 0, 600_033, 0, -10, 4_999_980), "EPSG:32633"), 32, 10)[1]
    assert unaligned.affine.c == 600_033


@pytest.mark.parametrize(("patch", "step"), [(32, 10), (9, 3), (8, 8), (5, 8), (32, 1)])
def test_a_patch_has_the_centre_of_its_cell(patch, step):
    rows, cols = np.indices((70, 70))
    picture = Picture(rows * 1000 + cols, Affine(10, 0, 0, 0, -10, 0))
    cells = answers(picture, patch, step)[3]
    pixels = cells.pixels(Window(3, 2, 1, 1))
    centre = pixels.row + pixels.height / 2, pixels.col + pixels.width / 2
    cell_centre = 3.5 * step, 2.5 * step
    assert abs(centre[0] - cell_centre[0]) <= 0.5
    assert abs(centre[1] - cell_centre[1]) <= 0.5
    assert cells.touched(Window(3 * step, 2 * step, 1, 1)) == Window(3, 2, 1, 1)


@pytest.mark.parametrize("window", [Window(0, 0, 2, 3), Window(4, 5, 2, 2), Window(2, 2, 1, 5)])
def test_answers_do_not_depend_on_the_window(window):
    picture = Picture(np.random.default_rng(0).random((61, 73)))
    (whole, _), block, _, _ = answers(picture, 16, 10)
    (part, _), cut, _, _ = answers(picture, 16, 10, window)
    np.testing.assert_allclose(part[0], whole[0][:, *window.slices], rtol=1e-6)
    np.testing.assert_array_equal(cut.valid[0], block.valid[0][window.slices])


def test_beyond_the_border_the_scene_is_reflected():
    image = np.random.default_rng(1).random((40, 40))
    (output, _), block, _, cells = answers(Picture(image, Affine(10, 0, 0, 0, -10, 400)), 16, 8)
    padded = np.pad(image, cells.before, mode="reflect")
    assert block.valid.all()
    np.testing.assert_allclose(output[0, 0, 0, 0], padded[:16, :16].mean(), rtol=1e-5)
    np.testing.assert_allclose(output[0, 0, -1, -1], padded[-16:, -16:].mean(), rtol=1e-5)


def test_a_scene_smaller_than_a_patch_is_one_cell():
    (output, _), block, grid, _ = answers(Picture(np.full((5, 1), 3.0), Affine(10, 0, 0, 0, -10, 0)), 16, 16)
    assert grid.shape == (1, 1)
    assert output[0, 0, 0, 0] == 3.0
    assert block.valid.all()


def test_cells_without_enough_data_are_not_valid():
    image = np.ones((32, 32))
    image[:16, 16:] = np.nan
    image[16:24, :16] = np.nan  # half of a patch
    image[16, 16] = np.nan
    _, block, _, _ = answers(Picture(image, Affine(10, 0, 0, 0, -10, 320)), 16, 16)
    np.testing.assert_array_equal(block.valid[0], [[True, False], [True, True]])
    assert np.isnan(block.image).any()


def test_cells_of_damaged_pixels_are_reported_and_not_valid():
    picture = Picture(np.ones((256, 256)), Affine(10, 0, 0, 0, -10, 2560), broken=(Window(130, 5, 1, 1),))
    cells, grid = lay_cells(picture.geobox, 32, 32)
    block, broken = CellStack(picture, cells, grid).read_intact(Window(0, 0, 8, 8))
    assert broken == (Window(4, 0, 4, 4),)
    assert block.valid[0][:4].all()
    assert not block.valid[0][4:, :4].any()


def test_a_step_must_be_positive():
    with pytest.raises(ConfigurationError, match="at least 1"):
        lay_cells(Picture(np.ones((9, 9))).geobox, 4, 0)


@pytest.mark.parametrize(
    "objective", [SceneClassification(LEGEND), Members(SceneClassification(LEGEND), 2), MultiLabel(LEGEND)]
)
def test_objectives_answer_for_cells_as_for_images(objective):
    output = np.random.default_rng(0).normal(size=(4, objective.n_outputs)).astype(np.float32)
    as_cells = for_cells(objective)
    assert as_cells.unit_of_work == "pixel"
    assert objective.unit_of_work == "scene"
    found = as_cells.predict(np.moveaxis(output.reshape(1, 2, 2, -1), -1, 1))
    wanted = objective.predict(output)
    classes = len(LEGEND) if isinstance(objective, MultiLabel) else 1
    values = np.asarray(found.layers["value"]).reshape(classes, 4).T
    np.testing.assert_array_equal(values.squeeze(), np.asarray(wanted.value).reshape(4, classes).squeeze())


def test_before_is_half_of_the_difference():
    assert Cells(32, 10).before == 11
    assert Cells(32, 32).before == 0
