"""Interpolation in time: a straight line between two dates, or the season's harmonic through all of them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array

DAYS_A_YEAR = 365.2425


class Linear:
    """Interpolates linearly between the nearest clear date before and after; beyond the ends the nearest one counts."""

    name: ClassVar[str] = "linear"

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        weights = np.zeros(clear.shape)
        distance = np.abs(days - target_day)
        before = np.where(clear & (days <= target_day)[None], distance[None], np.inf)
        after = np.where(clear & (days > target_day)[None], distance[None], np.inf)
        row = np.arange(len(clear))
        first, last = np.argmin(before, axis=1), np.argmin(after, axis=1)
        left, right = before[row, first], after[row, last]
        has_left, has_right = np.isfinite(left), np.isfinite(right)
        both = has_left & has_right
        span = np.where(both, np.where(both, left, 0.0) + np.where(both, right, 1.0), 1.0)
        share = np.where(both, np.where(both, right, 0.0) / span, 1.0)
        weights[row[has_left], first[has_left]] = share[has_left]
        weights[row[has_right], last[has_right]] += np.where(both, 1.0 - share, 1.0)[has_right]
        return weights


class Harmonic:
    """Fits mean and first annual harmonic to the clear dates by ridge regression and reads it on the wanted day.

    The mean is not penalised, so that the weights of the dates have sum 1 and few or crowded dates fall back to
    their mean; the ridge stands for amplitudes of about three times the noise. Harmonic series are usual for land
    surfaces (Zhu and Woodcock 2014, RSE 144, 152-171, equation 1, without the trend).
    """

    name: ClassVar[str] = "harmonic"
    ridge: ClassVar[float] = 0.1

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return the weights of patterns; see `weighted_dates.WeightRule`."""
        angle = 2.0 * np.pi * (days - target_day) / DAYS_A_YEAR
        design = np.stack([np.ones_like(angle), np.cos(angle) - 1.0, np.sin(angle)], axis=1)  # 1, 0, 0 on the day
        penalty = np.diag([0.0, self.ridge, self.ridge])
        used = clear.astype(np.float64)
        normal = np.einsum("nt,ti,tj->nij", used, design, design, optimize=True) + penalty
        normal[~clear.any(axis=1)] = np.eye(3)
        solved = np.linalg.solve(normal, np.broadcast_to(np.array([1.0, 0.0, 0.0])[:, None], (len(clear), 3, 1)))
        return np.asarray(np.einsum("ni,ti->nt", solved[..., 0], design) * used)
