"""`clear --method spatial`: a date filled from its own clear surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.spatial import MARGIN, SpatialFill
from ecumene.workflows.clear_fill import Estimate, Filler
from ecumene.workflows.clear_scenes import ClearInput

_LEARNT = 1024  # edge of the part of the scene that the error is learnt from


@dataclass(frozen=True)
class SpatialFiller(Filler):
    """Fills by interpolation over the date's clear pixels, up to `MARGIN` pixels around a tile.

    Attributes:
        fill: With its error over the distance from clear sky.
    """

    fill: SpatialFill

    @property
    def method(self) -> str:
        """What fills."""
        return self.fill.name

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`; a tile without a clear pixel within reach stays unknown."""
        wide = window.pad(MARGIN)
        image, clear = _date(self.source, wide, self.target)
        mean, deviation = self.fill.fill(image, clear)
        inner = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
        value, spread = (part[inner].reshape(len(part), -1)[:, wanted] for part in (mean, deviation))
        return value, spread, np.zeros(len(wanted), bool)

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        lineage = (
            "Clouds and shadows filled by interpolation from the clear surroundings of the same date; error bars by "
            "the distance from clear sky, from clear pixels hidden under simulated clouds."
        )
        return lineage, {"error_over_pixels": self.fill.error.to_dict()}


def spatial_filler(
    source: ClearInput,
    target: Target,
    keep_observed: bool,
    noise: NDArray[np.float64],
    spread: NDArray[np.float64],
    seed: int,
) -> SpatialFiller:
    """Learn how errors grow with the distance on the middle of the scene.

    Raises:
        ConfigurationError: If the day was not measured, or every pixel is to be estimated.
        LabelError: If too little of it is clear.
    """
    if target.index is None or not keep_observed:
        raise ConfigurationError(
            "The method spatial fills gaps of a measured date from its clear pixels; give such a --date and keep the "
            "observed ones."
        )
    height, width = source.shape
    rows, cols = min(height, _LEARNT), min(width, _LEARNT)
    image, clear = _date(source, Window((height - rows) // 2, (width - cols) // 2, rows, cols), target)
    return SpatialFiller(source, target, keep_observed, noise, spread, SpatialFill.fit(image, clear, seed=seed))


def _date(source: ClearInput, window: Window, target: Target) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return reflectance `[K, h, w]` and clear pixels `[h, w]` of the date in a window."""
    assert target.index is not None
    pixels = source.read(window)
    shape = (window.height, window.width)
    return pixels.image[target.index].reshape(-1, *shape), pixels.clear[target.index].reshape(shape)
