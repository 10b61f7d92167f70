"""The clear date that is nearest in time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array


class Closest:
    """Takes each pixel from the nearest date on which it is clear; of two equally near the earlier."""

    name: ClassVar[str] = "closest"

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        distance = np.where(clear, np.abs(days - target_day)[None], np.inf)
        weights = np.zeros(clear.shape)
        usable = np.flatnonzero(clear.any(axis=1))
        weights[usable, np.argmin(distance[usable], axis=1)] = 1.0
        return weights
