"""The least cloudy other date, as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array


@dataclass(frozen=True)
class LeastCloudy:
    """Takes the date with the largest clear share of the scene, and nothing where that one is clouded too.

    The baseline of that name of Ebel et al. 2022 (SEN12MS-CR-TS). There its clouds are taken along; here a pixel
    under them has no value.

    Attributes:
        shares: `[T]`, clear share of each date.
        days: `[T]`.
    """

    shares: Array
    days: Array
    name: ClassVar[str] = "least-cloudy"

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        others = np.where(self.days == target_day, -1.0, self.shares)
        weights = np.zeros(clear.shape)
        best = int(np.argmax(others))
        if others[best] > 0.0:
            weights[:, best] = clear[:, best]
        return weights
