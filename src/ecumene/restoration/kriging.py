"""The weights of the dates that give the smallest error under the series' own variogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array
from ecumene.restoration.variogram import Variogram

_AT_ONCE = 4096  # patterns


@dataclass(frozen=True)
class Kriging:
    """Ordinary kriging in time (Cressie 1993, chapter 3.2), with one set of weights for all bands.

    Attributes:
        variogram: Of the series; its mean over bands decides the weights.
    """

    variogram: Variogram
    name: ClassVar[str] = "kriging"

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        between = self.variogram.shape(days[:, None] - days[None, :])
        to_target = self.variogram.shape(np.maximum(np.abs(days - target_day), 1e-6))
        weights = np.zeros(clear.shape)
        usable = np.flatnonzero(clear.any(axis=1))
        for begin in range(0, len(usable), _AT_ONCE):
            rows = usable[begin : begin + _AT_ONCE]
            weights[rows] = _solve(clear[rows], between, to_target)
        return weights


def _solve(clear: NDArray[np.bool_], between: Array, to_target: Array) -> Array:
    """Return the weights of patterns that have a clear date; a date that is not clear gets an equation of its own."""
    number, dates = clear.shape
    system = np.zeros((number, dates + 1, dates + 1))
    pair = clear[:, :, None] & clear[:, None, :]
    system[:, :dates, :dates] = np.where(pair, between, 0.0)
    index = np.arange(dates)
    # Two acquisitions of one day would make the system singular; a thousandth of the nugget's scale parts them.
    system[:, index, index] = np.where(clear, -1e-6, 1.0)
    system[:, :dates, dates] = system[:, dates, :dates] = clear
    right = np.concatenate([np.where(clear, to_target, 0.0), np.ones((number, 1))], axis=1)
    solved = np.linalg.solve(system, right[..., None])[..., :dates, 0]
    kept = np.where(clear, solved, 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True), np.float64)
