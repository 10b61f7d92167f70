"""Polygon rings: area, orientation and whether they can carry a wall."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ContractError


def clean_ring(ring: ArrayLike, precision: float) -> NDArray[np.float64]:
    """Return a ring without its closing and repeated points, `[n, 2]`, rounded to `precision` metres.

    Raises:
        ContractError: If it is not a list of finite points, or fewer than three differ.
    """
    points = np.asarray(ring, np.float64)
    if points.ndim != 2 or points.shape[1] < 2 or not np.isfinite(points[:, :2]).all():
        raise ContractError("A footprint's ring must be a list of finite points (x, y).")
    points = np.round(points[:, :2] / precision) * precision
    kept = [points[0]]
    for point in points[1:]:
        if np.abs(point - kept[-1]).max() > 0.5 * precision:
            kept.append(point)
    if len(kept) > 1 and np.abs(kept[0] - kept[-1]).max() <= 0.5 * precision:
        kept.pop()
    result = np.array(kept)
    if len(result) < 3 or abs(signed_area(result)) <= precision**2:
        raise ContractError("A footprint's ring has no area; leave the building out or repair its geometry.")
    return result


def signed_area(ring: NDArray[np.float64]) -> float:
    """Return the area of an open ring, positive counter-clockwise (shoelace), square metres."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def oriented(ring: NDArray[np.float64], counter_clockwise: bool) -> NDArray[np.float64]:
    """Return the ring in the direction asked for."""
    return ring if (signed_area(ring) > 0) == counter_clockwise else ring[::-1]
