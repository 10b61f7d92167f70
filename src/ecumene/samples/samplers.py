"""Where to cut windows: regular grids, random places, and places that balance the classes.

All windows lie inside the scene unless the scene itself is smaller than a window; then there is one
window at its origin that reaches over the border. Regions of any shape (thin, small) keep all of
their pixels reachable: windows may reach beyond the region, never the region beyond the windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window


def grid_windows(region: Window, scene: Window, size: int, stride: int | None = None) -> list[Window]:
    """Return windows that cover all of `region`, row by row.

    Args:
        region: What must be covered; its part outside of the scene is ignored.
        scene: The whole grid.
        size: Side of a window in pixels.
        stride: Step between windows, at most `size` (default: `size`). The last row and column are
            moved back into the scene, so that they may overlap more.

    Raises:
        ConfigurationError: If size or stride is out of range.
    """
    stride = size if stride is None else stride
    if size < 1 or not 1 <= stride <= size:
        raise ConfigurationError("Windows need a size of at least 1 pixel and a stride between 1 and the size.")
    inside = region.intersect(scene)
    if inside is None:
        return []
    rows = _starts(inside.row, inside.row_stop, scene.row, scene.row_stop, size, stride)
    cols = _starts(inside.col, inside.col_stop, scene.col, scene.col_stop, size, stride)
    return [Window(row, col, size, size) for row in rows for col in cols]


def _starts(start: int, stop: int, low: int, high: int, size: int, stride: int) -> list[int]:
    last = max(low, high - size)
    starts = [min(start, last)]
    while starts[-1] + size < stop:
        starts.append(min(starts[-1] + stride, last))
    return starts


def random_windows(region: Window, scene: Window, size: int, count: int, rng: np.random.Generator) -> list[Window]:
    """Return windows whose reference pixel is uniform in `region`, at a uniform place of the window.

    Args:
        region: Where the reference pixels lie.
        scene: The whole grid.
        size: Side of a window in pixels.
        count: How many.
        rng: Randomness.
    """
    inside = region.intersect(scene)
    if inside is None or count <= 0:
        return []
    rows = rng.integers(inside.row, inside.row_stop, count)
    cols = rng.integers(inside.col, inside.col_stop, count)
    return _around(rows, cols, scene, size, rng)


def class_balanced_windows(
    classes: NDArray[np.integer],
    held: Window,
    scene: Window,
    size: int,
    count: int,
    rng: np.random.Generator,
) -> list[Window]:
    """Return windows that each contain a labelled pixel; all classes are equally likely.

    Args:
        classes: `[h, w]` class indices of `held`, negative where unlabelled.
        held: The window that `classes` covers.
        scene: The whole grid.
        size: Side of a window in pixels.
        count: How many.
        rng: Randomness.
    """
    flat = np.flatnonzero(classes >= 0)
    if flat.size == 0 or count <= 0:
        return []
    values = classes.reshape(-1)[flat]
    ordered = flat[np.argsort(values, kind="stable")]
    present, amounts = np.unique(values, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(amounts)[:-1]])
    drawn = rng.integers(0, len(present), count)
    pixels = ordered[starts[drawn] + rng.integers(0, amounts[drawn])]
    rows, cols = np.divmod(pixels, held.width)
    return _around(rows + held.row, cols + held.col, scene, size, rng)


def _around(
    rows: NDArray[np.integer], cols: NDArray[np.integer], scene: Window, size: int, rng: np.random.Generator
) -> list[Window]:
    """Place windows so that they contain the pixels, moved into the scene."""
    if size < 1:
        raise ConfigurationError("Windows need a size of at least 1 pixel.")
    top = np.clip(rows - rng.integers(0, size, len(rows)), scene.row, max(scene.row, scene.row_stop - size))
    left = np.clip(cols - rng.integers(0, size, len(cols)), scene.col, max(scene.col, scene.col_stop - size))
    return [Window(int(row), int(col), size, size) for row, col in zip(top, left, strict=True)]
