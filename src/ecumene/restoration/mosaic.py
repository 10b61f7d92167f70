"""The mean of all clear dates."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array


class Mosaic:
    """Averages the clear observations of a pixel over time: the baseline "mosaicing" of Ebel et al. 2022.

    There a pixel that is never clear gets 0.5; here it has no value.
    """

    name: ClassVar[str] = "mosaic"

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        return np.asarray(clear / np.maximum(clear.sum(axis=1, keepdims=True), 1), np.float64)
