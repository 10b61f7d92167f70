"""Outlier scores of whole windows outside of the graph, where a kernel of our own is faster than the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.contract import InputBand
from ecumene.trust.feature_choice import BANDS, FEATURES
from ecumene.trust.gaussian import MahalanobisDetector

Part = tuple[NDArray[Any], int]
"""Features `[B, c, H / factor, W / factor]`, float32 or the bits of bfloat16 as uint16; and their factor."""

PART_NAME = "features_x"
"""What the exported graph calls a part of the features, followed by its factor."""


class DistanceScores:
    """Scores of a detector that is one squared distance of averaged bands and network features.

    The numbers are those of the detector's own `score_map` up to rounding.
    """

    def __init__(
        self, inputs: Sequence[InputBand], radius: int, centre: NDArray[np.float32], upper: NDArray[np.float32]
    ) -> None:
        """Keep the arrays; see `of`."""
        self._mean = np.array([band.mean for band in inputs], np.float32)
        self._std = np.array([band.std for band in inputs], np.float32)
        self._radius, self._centre, self._upper = radius, centre, upper

    @classmethod
    def of(cls, inputs: Sequence[InputBand], detector: Any, radius: int) -> Self | None:
        """Return the scores of a detector, or None where it is no single distance of bands and features.

        Args:
            inputs: Of the model, for their statistics.
            detector: Of the model, or None.
            radius: Pixels on each side that bands are averaged over.
        """
        if not isinstance(detector, MahalanobisDetector) or detector.choice.parts != (BANDS, FEATURES):
            return None
        triangle = detector.triangle()
        return None if triangle is None else cls(inputs, radius, *triangle)

    def fits(self, parts: Sequence[tuple[int, int]]) -> bool:
        """Whether (channels, factor) of the network's features are those that the kernel reads, finest first."""
        channels = len(self._mean) + sum(number for number, _ in parts)
        factors = [factor for _, factor in parts]
        plain = len(factors) in (1, 2) and factors[0] == 1 and all(factor >= 1 for factor in factors)
        return plain and channels == len(self._centre)

    def __call__(self, image: NDArray[np.float32], parts: Sequence[Part]) -> NDArray[np.float32]:
        """Return scores `[B, H, W]`.

        Args:
            image: float32 `[B, C, H, W]`, physical units, NaN for nodata.
            parts: The network's features, finest first.

        Raises:
            ModelError: If the features are not on the image's grid.
        """
        from ecumene.models.distance_kernel import squared_distances

        kernel: Any = squared_distances  # numba's own types know only fixed argument lists
        batch, channels, height, width = image.shape
        grids = [(batch, height // factor, width // factor) for _, factor in parts]
        whole = all(height % factor == width % factor == 0 for _, factor in parts)
        found = [(array.shape[0], *array.shape[2:]) for array, _ in parts]
        numbers = [(array.shape[1], factor) for array, factor in parts]
        # The kernel itself looks at no border.
        if not whole or found != grids or channels != len(self._mean) or not self.fits(numbers):
            raise ModelError("The network's features do not lie on the grid of its image; get the model again.")
        score = np.empty((batch, height, width), np.float32)
        for item in range(len(image)):
            (fine, _), (coarse, factor) = parts[0], parts[1] if len(parts) > 1 else (parts[0][0][:, :0], 1)
            kernel(
                image[item],
                self._mean,
                self._std,
                self._radius,
                *_either(fine[item]),
                *_either(coarse[item]),
                factor,
                self._centre,
                self._upper,
                score[item],
            )
        return score


def _either(values: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return features as (float32, empty) or as (empty, bits of bfloat16)."""
    if values.dtype == np.uint16:
        return np.empty((0, 0, 0), np.float32), values
    return values, np.empty((0, 0, 0), np.uint16)
