"""A raster of population brought to a map's grid so that no person is lost or made."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.indicators.maps import open_layer
from ecumene.indicators.population_contract import PopulationUnit, Weights, check_unit
from ecumene.samples.grids import crs_of, grid_window, pixel_size_m
from ecumene.samples.raster_labels import tiles

_TILE = 1024
_NODE_SPACING_M = 5000.0
_LARGEST_REACH = 2048
_MOST_POINTS = 64
_DENSITY_WORDS = ("km", "/ha", "ha-1", "m-2", "m^-2", "/m")


class PopulationRaster:
    """Persons of a raster's cells on the grid of a map.

    Every map pixel is represented by points, one at its centre where the map is finer than the cells, more where it
    is not, such that each cell holds several. A cell's persons are shared equally among the points in it: those whose
    pixel lies outside of the map take their share with them. So the persons of every cell that lies inside of the map
    are all in the map, whatever the coordinate systems; within a cell, pixels get equal numbers (their true areas
    differ by less than 1e-4). With weights, the share of a cell that lies in the map is distributed over its points
    there in proportion to the weights of their pixels; a cell whose weights are all 0 keeps its equal numbers.

    Args:
        dataset: Open raster; its first band holds persons.
        cells: Grid of the raster.
        geobox: Grid of the map.
        unit: What a cell's number means.
        name: For messages.
        weights: Relative number of persons of the map's pixels, or None.

    Raises:
        ConfigurationError: If the unit is unknown, contradicts the file's, or the grids differ too much in scale.
    """

    def __init__(
        self,
        dataset: Any,
        cells: GeoBox,
        geobox: GeoBox,
        *,
        unit: str = "persons-per-pixel",
        name: str = "population",
        weights: Weights | None = None,
    ) -> None:
        self._dataset, self._cells, self.geobox, self._weights, self._name = dataset, cells, geobox, weights, name
        self._unit: PopulationUnit = check_unit(unit)
        stated = str((dataset.units or ("",))[0] or "")
        dense = any(word in stated.lower() for word in _DENSITY_WORDS)
        if dense and self._unit == "persons-per-pixel":
            raise ConfigurationError(
                f"The population raster {name} states the unit {stated!r}, a density; give its unit as persons-per-km2 "
                "(after conversion, if it is another density)."
            )
        height, width = pixel_size_m(geobox)
        self._step = int(np.clip(_NODE_SPACING_M // max(height, width), 1, 64))
        self._to_cells = Transformer.from_crs(crs_of(geobox), crs_of(cells), always_xy=True)
        self._points, self._reach = self._scales()

    def _scales(self) -> tuple[int, int]:
        """Return (points along a side of a pixel, map pixels that a cell reaches over)."""
        row, col = self.geobox.height / 2, self.geobox.width / 2
        rows, cols = self._place(np.array([row, row + 1, row]), np.array([col, col, col + 1]))
        spans = np.abs([rows[1] - rows[0], cols[1] - cols[0], rows[2] - rows[0], cols[2] - cols[0]])
        largest = float(spans.max())
        down, across = math.hypot(spans[0], spans[1]), math.hypot(spans[2], spans[3])
        if not (math.isfinite(largest) and min(down, across) > 0):
            raise ConfigurationError(f"The coordinate systems of {self._name} and the map cannot be joined.")
        points = max(1, math.ceil(2 * largest))
        # Twice: the size of a cell in map pixels varies over the map and with direction.
        reach = math.ceil(2 / min(down, across)) + 2
        if points > _MOST_POINTS or reach > _LARGEST_REACH:
            raise ConfigurationError(
                f"The pixels of the map and of {self._name} differ too much in size; resample one of them first."
            )
        return points, reach

    def _place(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rows and columns of the raster at rows and columns of the map, exactly."""
        affine = self.geobox.affine
        x, y = self._to_cells.transform(
            affine.a * cols + affine.b * rows + affine.c, affine.d * cols + affine.e * rows + affine.f
        )
        inverse = ~self._cells.affine
        return (
            inverse.d * np.asarray(x) + inverse.e * np.asarray(y) + inverse.f,
            inverse.a * np.asarray(x) + inverse.b * np.asarray(y) + inverse.c,
        )

    def _cell_places(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return row and column of the cell under each point of a window, `[h * p, w * p]`.

        Between nodes on a fixed lattice of at most 5 km, positions are interpolated: transformations are smooth, and
        the lattice makes the result independent of the window.
        """
        points = self._points
        rows = window.row + (np.arange(window.height * points) + 0.5) / points
        cols = window.col + (np.arange(window.width * points) + 0.5) / points
        node_rows, node_cols = (_nodes(values, self._step) for values in (rows, cols))
        found = self._place(*np.meshgrid(node_rows, node_cols, indexing="ij"))
        down, across = _hats(rows, node_rows), _hats(cols, node_cols)
        row, col = (np.floor(down @ np.where(np.isfinite(part), part, -1e9) @ across.T) for part in found)
        limit = 2.0**40
        return np.clip(row, -limit, limit).astype(np.int64), np.clip(col, -limit, limit).astype(np.int64)

    @cached_property
    def _extent(self) -> Window:
        return grid_window(self._cells)

    def persons(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return persons in each pixel of a window inside the map, and where the raster has data.

        Raises:
            LabelError: If the raster holds a negative number, or cannot be read.
        """
        persons, known = np.zeros((window.height, window.width)), np.zeros((window.height, window.width), bool)
        for tile in tiles(Window(0, 0, window.height, window.width), _TILE):
            persons[tile.slices], known[tile.slices] = self._tile(tile.shift(window.row, window.col))
        return persons, known

    def _tile(self, tile: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        padded = tile.pad(self._reach)
        rows, cols = self._cell_places(padded)
        inside = (rows >= 0) & (rows < self._extent.height) & (cols >= 0) & (cols < self._extent.width)
        points = self._points
        core = (slice(self._reach * points, (self._reach + tile.height) * points),
                slice(self._reach * points, (self._reach + tile.width) * points))  # fmt: skip
        if not inside[core].any():
            return np.zeros((tile.height, tile.width)), np.zeros((tile.height, tile.width), bool)
        box = Window(
            int(rows[core][inside[core]].min()),
            int(cols[core][inside[core]].min()),
            int(np.ptp(rows[core][inside[core]])) + 1,
            int(np.ptp(cols[core][inside[core]])) + 1,
        )
        counts, has = self._read(box)
        wanted = inside & (rows >= box.row) & (rows < box.row_stop) & (cols >= box.col) & (cols < box.col_stop)
        cell = np.where(wanted, (rows - box.row) * box.width + cols - box.col, 0)
        shares = self._shares(padded, cell, wanted, box.height * box.width, core)
        here = cell[core]
        value = np.where(wanted[core], counts.ravel()[here] * shares, 0.0)
        blocks = (tile.height, points, tile.width, points)
        usable: NDArray[np.bool_] = np.asarray((wanted[core] & has.ravel()[here]).reshape(blocks).any(axis=(1, 3)))
        persons: NDArray[np.float64] = value.reshape(blocks).sum(axis=(1, 3))
        return persons, usable

    def _shares(
        self, padded: Window, cell: NDArray[np.int64], wanted: NDArray[np.bool_], cells: int, core: tuple[slice, slice]
    ) -> NDArray[np.float64]:
        """Return the share of its cell that each point of the core gets."""
        number = np.bincount(cell[wanted], minlength=cells).astype(np.float64)
        here = cell[core]
        equal = 1.0 / np.maximum(number, 1.0)[here]
        if self._weights is None:
            return equal
        weights, mapped = self._point_weights(padded)
        mapped &= wanted
        total = np.bincount(cell[mapped], weights=weights[mapped], minlength=cells)
        in_map = np.bincount(cell[mapped], minlength=cells) / np.maximum(number, 1.0)
        target = (total > 0)[here]
        weighted = in_map[here] * weights[core] / np.where(target, total[here], 1.0)
        return np.where(target, weighted, equal)

    def _point_weights(self, padded: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return weights of the points of a window that may reach over the map, and which lie in the map."""
        assert self._weights is not None
        shape = (padded.height, padded.width)
        values, mapped = np.zeros(shape), np.zeros(shape, bool)
        part = padded.intersect(grid_window(self.geobox))
        if part is not None:
            place = part.shift(-padded.row, -padded.col).slices
            values[place] = self._weights(part)
            mapped[place] = True
        if values.size and float(values.min()) < 0:
            raise ConfigurationError("Weights of population must be at least 0.")
        return _repeat(values, self._points), _repeat(mapped, self._points)

    def _read(self, box: Window) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return persons of cells (0 without data), and where there are data."""
        from rasterio.errors import RasterioIOError
        from rasterio.windows import Window as RasterWindow

        try:
            stored = self._dataset.read(1, window=RasterWindow(box.col, box.row, box.width, box.height), masked=True)
        except RasterioIOError as error:
            raise LabelError(f"The population {self._name} cannot be read; the file may be damaged.") from error
        values = stored.filled(0).astype(np.float64)
        known = ~np.ma.getmaskarray(stored) & np.isfinite(values)
        if (values[known] < 0).any():
            row, col = np.argwhere(known & (values < 0))[0].tolist()
            raise LabelError(
                f"The population {self._name} holds {values[row, col]:g} persons in row {box.row + row}, column "
                f"{box.col + col}; negative numbers are no population, so declare them as nodata or correct them."
            )
        values = np.where(known, values, 0.0)
        if self._unit == "persons-per-km2":
            values *= pixel_areas(self._cells, box) / 1e6
        return values, known


def _repeat(values: NDArray[Any], times: int) -> NDArray[Any]:
    result: NDArray[Any] = values.repeat(times, axis=0).repeat(times, axis=1)
    return result


def _nodes(values: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Return the nodes of the lattice around sorted positions."""
    first = math.floor(values[0] / step) * step
    last = math.ceil(values[-1] / step) * step
    return np.arange(first, max(last, first + step) + 1, step, dtype=np.float64)


def _hats(values: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix of linear interpolation from nodes to positions."""
    right = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    share = (values - nodes[right]) / (nodes[right + 1] - nodes[right])
    matrix = np.zeros((len(values), len(nodes)))
    matrix[np.arange(len(values)), right] = 1 - share
    matrix[np.arange(len(values)), right + 1] = share
    return matrix


@contextlib.contextmanager
def open_population(
    path: Path | str, geobox: GeoBox, *, unit: str = "persons-per-pixel", weights: Weights | None = None
) -> Iterator[PopulationRaster]:
    """Open a GeoTIFF of population for the grid of a map.

    Args:
        path: The raster.
        geobox: Grid of the map.
        unit: What its numbers mean.
        weights: See `PopulationRaster`.

    Yields:
        The population.

    Raises:
        ProductError: If the file cannot be opened or has no coordinate system.
        ConfigurationError: If unit or grids do not fit.
    """
    with open_layer(path) as (dataset, cells):
        yield PopulationRaster(dataset, cells, geobox, unit=unit, name=Path(path).name, weights=weights)
