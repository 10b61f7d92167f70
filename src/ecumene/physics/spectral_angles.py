"""Angles between spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def spectral_angles_deg(first: Any, second: Any) -> NDArray[np.float64]:
    """Return the angle between spectra, degrees from 0 to 180; 0 where one is zero.

    By Kahan's 2 atan2(|u |v| - v |u||, |u |v| + v |u||), which keeps the digits of small angles that the arc cosine of
    the spectra's product loses.

    Args:
        first: `[B, ...]`.
        second: `[B, ...]`, of a shape that broadcasts with it.

    Returns:
        `[...]`.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    size_a, size_b = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    apart = np.linalg.norm(a * size_b - b * size_a, axis=0)
    together = np.linalg.norm(a * size_b + b * size_a, axis=0)
    return np.asarray(np.degrees(2.0 * np.arctan2(apart, together)))
