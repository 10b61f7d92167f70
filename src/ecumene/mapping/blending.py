"""Partition of unity over the seams of overlapping windows.

In a seam of n pixels the later window's weight rises along half a cosine period,
w(k) = (1 - cos(pi (k + 1/2) / n)) / 2 for k = 0 .. n-1, and the earlier window's is 1 - w: both are
positive, they sum to one, and each window counts least where it lacks context. Outside of seams exactly
one window counts, so nothing is computed there. Corners are blended along columns first, then along rows,
everywhere alike, so that the result does not depend on where tiles begin.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def ramp(length: int) -> NDArray[np.float32]:
    """Return the later window's weights over a seam.

    Args:
        length: Pixels of the seam.

    Returns:
        float32 `[length]`, rising, all in (0, 1), symmetric: `ramp + ramp[::-1] == 1` within rounding.
    """
    position = (np.arange(length, dtype=np.float64) + 0.5) / max(length, 1)
    weights = (0.5 * (1.0 - np.cos(np.pi * position))).astype(np.float32)
    weights.setflags(write=False)
    return weights


def blend_columns(earlier: NDArray[np.float32], later: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blend two windows over a vertical seam `[channels, rows, overlap]`; equal inputs come back unchanged."""
    return earlier + ramp(earlier.shape[2])[None, None, :] * (later - earlier)


def blend_rows(earlier: NDArray[np.float32], later: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blend two windows over a horizontal seam `[channels, overlap, columns]`."""
    return earlier + ramp(earlier.shape[1])[None, :, None] * (later - earlier)
