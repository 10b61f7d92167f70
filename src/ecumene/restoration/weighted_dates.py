"""Estimates that are weighted means of other dates: one way to apply them, and one error bar for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.contract import Array, Filled, SeriesPixels, Target
from ecumene.restoration.variogram import Variogram


class WeightRule(Protocol):
    """How a method weighs the dates that are clear."""

    @property
    def name(self) -> str:
        """As the user types it."""

    def weights(self, clear: NDArray[np.bool_], days: Array, target_day: float) -> Array:
        """Return weights `[N, T]` for patterns of clear dates `[N, T]`: rows with sum 1, or 0 where none is usable."""


@dataclass(frozen=True)
class WeightedDates:
    """A weight rule with the error bar that the series' own variogram gives it.

    Pixels with the same clear dates have the same weights and the same error bar in a band, so that both are computed
    once for every pattern of clear dates that occurs.

    Attributes:
        rule: How dates are weighed.
        variogram: Of the series.
    """

    rule: WeightRule
    variogram: Variogram

    @property
    def name(self) -> str:
        """As the user types it."""
        return self.rule.name

    def fill(self, series: SeriesPixels, target: Target) -> Filled:
        """Estimate every pixel of a day from the other dates; see `contract.FillMethod`."""
        clear = series.clear if target.index is None else series.hide(target.index).clear
        patterns, position = clear_patterns(clear)
        weights = self.rule.weights(patterns, series.days, target.day)
        known = np.asarray(weights.any(axis=1), np.bool_)
        variance = self.variogram.error_variance(weights, series.days, target.day)
        deviation = np.where(known[:, None], np.sqrt(variance), np.nan).astype(np.float32)
        mean = np.zeros(series.image.shape[1:], np.float32)
        for date in np.flatnonzero(weights.any(axis=0)):
            share = weights[position, date].astype(np.float32)
            used = np.flatnonzero(share)
            mean[:, used] += share[used] * series.image[date][:, used]
        mean[:, ~known[position]] = np.nan
        return Filled(
            mean, np.ascontiguousarray(deviation[position].T), self._surprise(series, patterns, position, weights)
        )

    def _surprise(
        self, series: SeriesPixels, patterns: NDArray[np.bool_], position: NDArray[np.intp], weights: Array
    ) -> NDArray[np.float32]:
        """Return how much the two weightiest clear dates differ, relative to what is usual over their days."""
        result = np.full(series.pixels, np.nan, np.float32)
        if patterns.shape[1] < 2:
            return result
        rank = np.where(patterns, np.abs(weights) + 1e-9, 0.0)
        first, second = np.argsort(-rank, axis=1, kind="stable")[:, :2].T
        usable = np.asarray(patterns.sum(axis=1) >= 2, np.bool_)
        expected = 2.0 * self.variogram(series.days[:, None] - series.days[None, :])
        for i, j in sorted({(int(a), int(b)) for a, b in zip(first[usable], second[usable], strict=True)}):
            chosen = usable & (first == i) & (second == j)
            pixels = np.flatnonzero(chosen[position])
            scale = np.maximum(expected[:, i, j], 1e-12)[:, None]
            difference = series.image[i][:, pixels] - series.image[j][:, pixels]
            result[pixels] = np.mean(difference**2 / scale, axis=0)
        return result


def clear_patterns(clear: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return (patterns of clear dates that occur `[N, T]`, pattern of each pixel `[P]`) of clear dates `[T, P]`."""
    packed = np.ascontiguousarray(np.packbits(clear, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, position = np.unique(keys, return_index=True, return_inverse=True)
    return np.ascontiguousarray(clear[:, first].T), np.asarray(position, np.intp).ravel()
