"""Where a date has pixels to fill, so that a model is executed there alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.window import Window
from ecumene.workflows.clear_scenes import ClearInput

if TYPE_CHECKING:
    import geopandas

CELL = 128
"""Edge of the squares, pixels: a quarter of the usual window of a network."""
_TILE = 8 * CELL


def clouded_cells(date: ClearInput, cell: int = CELL) -> NDArray[np.bool_]:
    """Return which squares of one date have a pixel that is not clear, bool `[rows, cols]` of squares.

    Args:
        date: One date alone, see `ClearInput.at`; it is read once, tile by tile.
        cell: Edge of a square, pixels; those at the right and lower border may be cut off.
    """
    height, width = date.shape
    found = np.zeros((-(-height // cell), -(-width // cell)), bool)
    tile = max(1, _TILE // cell) * cell
    for row in range(0, height, tile):
        for col in range(0, width, tile):
            window = Window(row, col, min(tile, height - row), min(tile, width - col))
            open_ = ~date.read(window).clear.reshape(window.height, window.width)
            rows, cols = np.nonzero(open_)
            found[(row + rows) // cell, (col + cols) // cell] = True
    return found


def outlines(cells: NDArray[np.bool_], date: ClearInput, cell: int = CELL) -> geopandas.GeoDataFrame:
    """Return squares as polygons on the ground; neighbours along a row are one polygon.

    Args:
        cells: At least one of them is True.
        date: Whose grid it is.
        cell: Edge of a square, pixels.
    """
    import geopandas
    from shapely import polygons

    height, width = date.shape
    affine = date.stack.geobox.affine
    padded = np.pad(cells, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    (rows, first), (_, last) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    left, right = first * cell, np.minimum(last * cell, width)
    top, bottom = rows * cell, np.minimum((rows + 1) * cell, height)
    col = np.stack([left, right, right, left, left], axis=1).astype(np.float64)
    row = np.stack([top, top, bottom, bottom, top], axis=1).astype(np.float64)
    ground: NDArray[Any] = np.stack(
        [affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f], axis=-1
    )
    crs = date.stack.geobox.crs
    return geopandas.GeoDataFrame(geometry=polygons(ground), crs=None if crs is None else crs.to_wkt())
