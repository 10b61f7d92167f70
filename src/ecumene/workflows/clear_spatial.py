"""`clear --method spatial`: a date filled from its own clear surroundings, whatever tiles it is computed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.spatial import CELL, REACH, SpatialFill, cells_of, fill_cells
from ecumene.workflows.clear_fill import Estimate, Filler
from ecumene.workflows.clear_scenes import ClearInput

_LEARNT = 32  # cells along the edge of the part of the scene that the error is learnt from
_PART = 32 * CELL  # edge of what is read at once for the cells


@dataclass(frozen=True)
class SpatialFiller(Filler):
    """Fills by interpolation over the date's clear pixels; its series is that date alone.

    Attributes:
        fill: With its error over the distance from clear sky; None: too little is clear to learn it from.
        coarse: The whole scene by interpolated cells `[K, h, w]`; None where `fill` is.
        reason: Why nothing is filled; empty otherwise.
    """

    fill: SpatialFill | None
    coarse: NDArray[np.float32] | None
    reason: str = ""

    @property
    def method(self) -> str:
        """What fills."""
        return "nothing" if self.fill is None else self.fill.name

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`; a pixel without clear sky within `REACH` stays unknown."""
        if self.fill is None or self.coarse is None:
            nothing = np.full((series.bands, len(wanted)), np.nan, np.float32)
            return nothing, nothing, np.zeros(len(wanted), bool)
        wide = _in_cells(window, self.source.shape)
        image, clear = _pixels(self.source, wide)
        cells = self.coarse[
            :, wide.row // CELL : -(-wide.row_stop // CELL), wide.col // CELL : -(-wide.col_stop // CELL)
        ]
        rows, cols = window.shift(-wide.row, -wide.col).slices
        mean, deviation = (
            part[:, rows, cols].reshape(len(part), -1)[:, wanted] for part in self.fill.fill(image, clear, cells)
        )
        return mean, deviation, np.zeros(len(wanted), bool)

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        if self.fill is None:
            return f"No pixel could be filled. {self.reason}", {"reason": self.reason}
        lineage = (
            "Clouds and shadows filled by interpolation from the clear surroundings of the same date, up to "
            f"{REACH} pixels away; error bars by the distance from clear sky, from clear pixels hidden under simulated "
            "clouds."
        )
        return lineage, {"error_over_pixels": self.fill.error.to_dict(), "reach_pixels": REACH}


def spatial_filler(
    source: ClearInput,
    target: Target,
    keep_observed: bool,
    noise: NDArray[np.float64],
    spread: NDArray[np.float64],
    seed: int,
) -> SpatialFiller:
    """Gather the cells of a date, and learn how errors grow with the distance where most of it is clear.

    Raises:
        ConfigurationError: If the day was not measured, or every pixel is to be estimated.
    """
    if target.index is None or not keep_observed:
        raise ConfigurationError(
            "The method spatial fills gaps of a measured date from its clear pixels; give such a --date and keep the "
            "observed ones."
        )
    alone, day = source.at(target.index), Target(target.day, 0)
    values, weight, share = _cells(alone)
    try:
        fill = SpatialFill.fit(*_pixels(alone, _clearest(share, alone.shape)), seed=seed)
    except LabelError as error:
        return SpatialFiller(alone, day, keep_observed, noise, spread, None, None, str(error))
    return SpatialFiller(alone, day, keep_observed, noise, spread, fill, fill_cells(values, weight))


def _cells(source: ClearInput) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return means `[K, h, w]`, weights `[h, w]` and clear shares `[h, w]` of all cells of the date."""
    height, width = source.shape
    shape = (-(-height // CELL), -(-width // CELL))
    values, weight = np.zeros((len(source.bands), *shape), np.float32), np.zeros(shape, np.float32)
    share = np.zeros(shape)
    for window in _parts(height, width):
        image, clear = _pixels(source, window)
        found = cells_of(image, clear)
        row, col = window.row // CELL, window.col // CELL
        here = (slice(row, row + found[1].shape[0]), slice(col, col + found[1].shape[1]))
        values[(slice(None), *here)], weight[here] = found
        padded = np.pad(clear, ((0, -window.height % CELL), (0, -window.width % CELL)))
        share[here] = padded.reshape(found[1].shape[0], CELL, found[1].shape[1], CELL).mean(axis=(1, 3))
    return values, weight, share


def _parts(height: int, width: int) -> Iterator[Window]:
    for row in range(0, height, _PART):
        for col in range(0, width, _PART):
            yield Window(row, col, min(_PART, height - row), min(_PART, width - col))


def _clearest(share: NDArray[np.float64], shape: tuple[int, int]) -> Window:
    """Return the square of `_LEARNT` cells with the most clear pixels, the most central of equal ones."""
    sums = np.zeros((share.shape[0] + 1, share.shape[1] + 1))
    sums[1:, 1:] = share.cumsum(axis=0).cumsum(axis=1)
    rows, cols = min(_LEARNT, share.shape[0]), min(_LEARNT, share.shape[1])
    inside = sums[rows:, cols:] - sums[:-rows, cols:] - sums[rows:, :-cols] + sums[:-rows, :-cols]
    row, col = np.indices(inside.shape)
    apart = np.hypot(row - (inside.shape[0] - 1) / 2.0, col - (inside.shape[1] - 1) / 2.0)
    best = int(np.lexsort((apart.ravel(), -inside.ravel().round(6)))[0])
    top, left = (int(place) * CELL for place in np.unravel_index(best, inside.shape))
    return Window(top, left, min(rows * CELL, shape[0] - top), min(cols * CELL, shape[1] - left))


def _in_cells(window: Window, shape: tuple[int, int]) -> Window:
    """Return a window with `REACH` around it, from whole cells to whole cells or the scene's border."""
    top, left = (max(0, begin - REACH) // CELL * CELL for begin in (window.row, window.col))
    bottom, right = (
        min(length, -(-(stop + REACH) // CELL) * CELL)
        for stop, length in ((window.row_stop, shape[0]), (window.col_stop, shape[1]))
    )
    return Window(top, left, bottom - top, right - left)


def _pixels(source: ClearInput, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return reflectance `[K, h, w]` and clear pixels `[h, w]` of the date in a window."""
    pixels = source.read(window)
    shape = (window.height, window.width)
    return pixels.image[0].reshape(-1, *shape), pixels.clear[0].reshape(shape)
