"""Landscape metrics against grids worked out by hand, and their independence of strips."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.landscape import Landscape
from ecumene.indicators.landscape_patches import PatchSums


def metrics(codes, known=None, rows=None, pixel=(10.0, 10.0), neighbours=8):
    """Metrics of a grid, given in strips of some rows."""
    codes = np.asarray(codes)
    known = np.ones(codes.shape, bool) if known is None else known
    wide, mask = np.pad(codes, 1), np.pad(known, 1)
    landscape = Landscape(pixel, neighbours)
    step = rows or codes.shape[0]
    for start in range(0, codes.shape[0], step):
        stop = min(start + step, codes.shape[0])
        area = np.full((stop - start, codes.shape[1]), pixel[0] * pixel[1])
        landscape.add(wide[start : stop + 2], mask[start : stop + 2], area)
    return landscape.metrics()


def test_a_grid_by_hand():
    """Two classes: a 2 x 2 block and a single pixel at its corner of class 1 in a 4 x 4 grid of class 2."""
    grid = np.full((4, 4), 2)
    grid[0:2, 0:2] = 1
    grid[2, 2] = 1  # touches the block by a corner
    found = metrics(grid)
    one, two = found.classes[1], found.classes[2]
    total_m2 = 16 * 100
    assert (one.patches, two.patches) == (1, 1)
    assert one.share == pytest.approx(5 / 16)
    assert one.patch_density == pytest.approx(1 / total_m2 * 1e6)
    assert found.patch_density == pytest.approx(2 / total_m2 * 1e6)
    assert one.largest_patch_index == pytest.approx(100 * 5 / 16)
    assert found.largest_patch_index == pytest.approx(100 * 11 / 16)
    # Sides between the classes: four along the block, four around the pixel.
    assert found.edge_density == pytest.approx(8 * 10 / total_m2 * 1e4)
    assert one.edge_density == pytest.approx(found.edge_density)
    # Like adjacencies of class 1: 4 of at most 5 (5 pixels); of class 2: 24 - 4 - 8 = 12 of at most 15 (11 pixels).
    assert one.aggregation_index == pytest.approx(100 * 4 / 5)
    assert two.aggregation_index == pytest.approx(100 * 12 / 15)
    assert found.effective_mesh_ha == pytest.approx((500**2 + 1100**2) / total_m2 / 1e4)
    p = np.array([5 / 16, 11 / 16])
    assert found.shannon_diversity == pytest.approx(-(p * np.log(p)).sum())
    assert found.mean_patch_ha == pytest.approx(total_m2 / 2 / 1e4)
    # Contagion, like adjacencies counted twice: rows (8, 8) and (8, 24).
    q = np.array([p[0] * 8 / 16, p[0] * 8 / 16, p[1] * 8 / 32, p[1] * 24 / 32])
    assert found.contagion == pytest.approx(100 * (1 + (q * np.log(q)).sum() / (2 * math.log(2))))
    # Cohesion of class 1: one patch of five pixels with a perimeter of 8 + 4 sides.
    assert one.cohesion == pytest.approx(100 * (1 - 12 / (12 * math.sqrt(5))) / (1 - 1 / 4))


def test_four_neighbours_part_what_touches_by_a_corner():
    grid = np.full((4, 4), 2)
    grid[0:2, 0:2] = 1
    grid[2, 2] = 1
    assert metrics(grid, neighbours=4).classes[1].patches == 2


def test_the_most_extreme_landscapes():
    whole = metrics(np.ones((5, 5), int))
    assert whole.patches == 1
    assert whole.edge_density == 0
    assert whole.shannon_diversity == 0
    assert whole.contagion is None
    assert whole.classes[1].aggregation_index == pytest.approx(100)
    assert whole.effective_mesh_ha == pytest.approx(0.25)
    board = np.indices((6, 6)).sum(axis=0) % 2
    chess = metrics(board, neighbours=4)
    assert chess.classes[0].aggregation_index == 0
    assert chess.patches == 36
    assert chess.classes[0].cohesion == pytest.approx(0)
    assert chess.shannon_diversity == pytest.approx(math.log(2))
    assert metrics(board).patches == 2  # over eight neighbours each colour is one
    assert metrics(np.ones((2, 2), int), known=np.zeros((2, 2), bool)) is None
    assert metrics(np.ones((1, 1), int)).classes[1].aggregation_index is None


def test_sides_of_pixels_that_are_not_square():
    grid = np.array([[1, 2], [1, 2]])
    assert metrics(grid, pixel=(20.0, 5.0)).edge_density == pytest.approx(2 * 20 / 400 * 1e4)
    assert metrics(grid.T, pixel=(20.0, 5.0)).edge_density == pytest.approx(2 * 5 / 400 * 1e4)


def test_what_is_unknown_is_no_edge():
    grid = np.array([[1, 9, 2]])
    found = metrics(grid, known=np.array([[True, False, True]]))
    assert found.edge_density == 0
    assert set(found.classes) == {1, 2}


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 9)), elements=st.integers(0, 2)),
    st.integers(1, 5),
    st.sampled_from([4, 8]),
    st.randoms(use_true_random=False),
)
def test_strips_do_not_matter(codes, rows, neighbours, random):
    known = np.array([random.random() < 0.85 for _ in range(codes.size)]).reshape(codes.shape)
    one, two = metrics(codes, known, None, neighbours=neighbours), metrics(codes, known, rows, neighbours=neighbours)
    if one is None:
        assert two is None
        return
    first, second = one.to_dict(), two.to_dict()
    assert first.pop("classes").keys() == second.pop("classes").keys()
    assert second == pytest.approx(first)
    for code in one.classes:
        assert vars(two.classes[code]) == pytest.approx(vars(one.classes[code]))
    assert sum(entry.share for entry in one.classes.values()) == pytest.approx(1)
    assert one.edge_density >= 0
    assert one.contagion is None or -1e-9 <= one.contagion <= 100 + 1e-9
    assert one.effective_mesh_ha <= one.area_ha + 1e-12


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 10), st.integers(1, 10)), elements=st.integers(0, 2)))
def test_patches_are_those_of_the_whole_map(codes):
    from scipy.ndimage import label

    known = np.ones(codes.shape, bool)
    sums = PatchSums(("cells",))
    for row in range(len(codes)):
        sums.add(codes[row : row + 1], known[:1], {"cells": np.ones((1, codes.shape[1]))})
    table = sums.finish()
    for code in range(3):
        regions, number = label(codes == code, structure=np.ones((3, 3)))
        sizes = sorted(np.bincount(regions.ravel())[1:].tolist())
        assert sorted(table.sums["cells"][table.code == code].tolist()) == sizes
        assert (table.code == code).sum() == number


def test_bad_input():
    with pytest.raises(ConfigurationError, match="4 or 8"):
        PatchSums((), neighbours=6)
    with pytest.raises(ConfigurationError, match="do not fit"):
        Landscape((10.0, 10.0)).add(np.ones((4, 4), int), np.ones((3, 4), bool), np.ones((2, 2)))
