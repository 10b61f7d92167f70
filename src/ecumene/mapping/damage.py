"""Reading on where a block of a scene cannot be decoded.

What is missing must not depend on the window that meets it, or two windows would disagree in their seam.
Damage is therefore narrowed down by cells of a fixed lattice over the grid, which are read whole: a cell
that cannot be read has no data in any window. The lattice divides the blocks that rasters are stored in,
where grid and raster share their origin; elsewhere up to a cell around a damaged block is lost.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import DamagedPixelsError
from ecumene.core.window import Window
from ecumene.scenes.contract import Block, Stack

CELL = 128
_COARSE = 512


def _cells(window: Window, size: int) -> Iterable[Window]:
    """Yield the whole lattice cells of a size that a window touches."""
    for row in range(window.row // size * size, window.row_stop, size):
        for col in range(window.col // size * size, window.col_stop, size):
            yield Window(row, col, size, size)


def read_intact(stack: Stack, window: Window) -> tuple[Block, tuple[Window, ...]]:
    """Read a window; pixels that cannot be decoded are NaN.

    Args:
        stack: The stack.
        window: Rows and columns of its grid.

    Returns:
        (pixels, cells of the lattice that could not be read: empty for an intact stack).

    Raises:
        SceneError: If a file is gone or cannot be opened.
    """
    own = getattr(stack, "read_intact", None)
    if own is not None:  # a stack whose pixels are not those of its grid
        result: tuple[Block, tuple[Window, ...]] = own(window)
        return result
    try:
        return stack.read(window), ()
    except DamagedPixelsError:
        pass
    frames, channels = len(stack.times), len(stack.channels)
    image = np.full((frames, channels, window.height, window.width), np.nan, np.float32)
    damaged: list[Window] = []
    dates: NDArray[np.int32] = np.zeros(frames, np.int32)
    pending = list(_cells(window, _COARSE))
    while pending:
        cell = pending.pop()
        common = cell.intersect(window)
        if common is None:
            continue
        try:
            block = stack.read(cell)
        except DamagedPixelsError:
            if cell.height == CELL:
                damaged.append(cell)
            else:
                pending += _cells(cell, CELL)
            continue
        dates = block.dates
        rows, cols = common.shift(-window.row, -window.col).slices
        part = common.shift(-cell.row, -cell.col).slices
        image[:, :, rows, cols] = block.image[:, :, part[0], part[1]]
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(image), axis=1)
    return Block(image=image, valid=valid, dates=dates), tuple(sorted(damaged, key=lambda cell: (cell.row, cell.col)))


def merged(cells: Iterable[Window], shape: tuple[int, int]) -> tuple[Window, ...]:
    """Join cells to few rectangles: first along rows, then equal runs below each other; cut at the grid's border.

    Args:
        cells: Cells of the lattice, in any order, repetitions allowed.
        shape: Rows and columns of the grid.
    """
    runs: list[Window] = []
    for cell in sorted(set(cells), key=lambda cell: (cell.row, cell.col)):
        last = runs[-1] if runs else None
        if last is not None and (last.row, last.height, last.col_stop) == (cell.row, cell.height, cell.col):
            runs[-1] = Window(last.row, last.col, last.height, last.width + cell.width)
        else:
            runs.append(cell)
    joined: dict[tuple[int, int, int], Window] = {}
    for run in runs:
        above = joined.pop((run.row, run.col, run.width), None)
        top, height = (run.row, run.height) if above is None else (above.row, above.height + run.height)
        joined[run.row_stop, run.col, run.width] = Window(top, run.col, height, run.width)
    grid = Window(0, 0, *shape)
    cut = [common for window in joined.values() if (common := window.intersect(grid)) is not None]
    return tuple(sorted(cut, key=lambda window: (window.row, window.col)))
