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


def read_around_damage(stack: Stack, window: Window) -> tuple[Block, tuple[Window, ...]]:
    """Read a window; pixels that cannot be decoded are NaN.

    Args:
        stack: A stack whose `read` gives the pixels of its own grid.
        window: Rows and columns of its grid.

    Returns:
        (pixels, cells of the lattice that could not be read: empty for an intact stack).

    Raises:
        SceneError: If a file is gone or cannot be opened.
    """
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
