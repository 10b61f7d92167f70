"""What sharpening gives: the fine image with error bars and flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INVALID = 1
"""No data in the coarse or the fine image."""
INCONSISTENT = 2
"""Seen coarsely, the result differs from the coarse image far more than elsewhere: the guide shows something else."""
NEAR_GAP = 4
"""A gap is within reach of the sensor's blur; values were made with filled pixels."""


@dataclass(frozen=True)
class Sharpened:
    """A sharpened image.

    Attributes:
        value: `[B, H, W]`, unit of the coarse image, NaN where invalid.
        standard_deviation: `[B, H, W]`, same unit; see `sharpen.sharpen`.
        inconsistency: `[h, w]`: largest over the bands of |degraded result - coarse image| in robust
            standard deviations.
        flags: Bits of this module, `[H, W]`.
        method: Its name.
    """

    value: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    inconsistency: NDArray[np.float64]
    flags: NDArray[np.uint8]
    method: str

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with data, `[H, W]`."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Pixels whose fine structure must not be trusted, `[H, W]`."""
        return np.asarray((self.flags & (INCONSISTENT | NEAR_GAP)) != 0)
