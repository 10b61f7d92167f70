"""Recalibration of predicted numbers: their variance, and the levels of their quantiles, by isotonic regression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.objectives.variance_map import MOST_KNOTS, VarianceMap

BLOCKS_A_KNOT = 8
"""Blocks that a knot of a variance map rests on: with fewer it repeats the luck of a block."""
Floats = NDArray[np.floating]


class IsotonicVariance(VarianceMap):
    """A rising map from predicted to observed variance, fitted by isotonic regression; see `VarianceMap`."""

    @classmethod
    def fit(
        cls,
        mean: Floats,
        deviation: Floats,
        target: Floats,
        groups: NDArray[np.generic] | None = None,
        prior: float = 0.0,
    ) -> IsotonicVariance:
        """Fit the map on held-out elements: isotonic regression of squared errors on predicted variances.

        Where predicted variances sort the errors rightly but have the wrong size, and wrongly so by different factors
        for small and large ones, this mends what one factor (`calibration.fit_variance_scale`) cannot. It needs many
        elements: small sets are fitted too well (`variance_choice.choose_variance` finds out).

        Args:
            mean: `[N]` predicted means.
            deviation: `[N]` predicted standard deviations, positive.
            target: `[N]`; NaN does not count.
            groups: `[N]` spatial block of each element; blocks then count alike, and each knot has those of
                `BLOCKS_A_KNOT` or more.
            prior: Blocks (elements without groups) that are thought to have said beforehand, at every knot, that one
                factor on all variances is right.

        Raises:
            ConfigurationError: If arguments do not fit together.
            LabelError: If fewer than ten elements have a target, or no prediction differs from its target.
        """
        m, s, y, w, block = _known(mean, deviation, target, groups)
        error = (y - m) ** 2
        if not error.any():
            raise LabelError("All calibration predictions equal their targets, which leaves no error bar to fit.")
        # Many elements to a knot: a map that follows every element would follow their noise. Elements of one predicted
        # variance stay together, so that the map does not depend on their order.
        values, position = np.unique(s**2, return_inverse=True)
        share = np.bincount(position, weights=w)
        middle = np.cumsum(share) - 0.5 * share
        knots = min(MOST_KNOTS, max(2, len(s) // 25))
        if groups is not None:
            knots = min(knots, max(2, (int(block.max()) + 1) // BLOCKS_A_KNOT))
        piece = np.minimum((middle * knots).astype(np.int64), knots - 1)
        _, piece = np.unique(piece, return_inverse=True)
        weight = np.bincount(piece, weights=share)
        at = np.bincount(piece, weights=share * values) / weight
        sums = np.bincount(position, weights=w * error)
        raw = np.asarray(np.bincount(piece, weights=sums) / weight, np.float64)
        if prior > 0.0:
            said = _effective_blocks(piece[position], block, w)
            raw = (said * raw + prior * float(w @ (error / s**2)) * at) / (said + prior)
        observed = _isotonic(raw, np.asarray(weight, np.float64))
        floor = 1e-6 * float(observed.max())
        return cls(tuple(at.tolist()), tuple(np.maximum(observed, floor).tolist()))

    def apply(self, deviation: Floats) -> Floats:
        """Return recalibrated standard deviations, like `deviation`."""
        spread = np.asarray(deviation)
        wide = spread.astype(np.float64)
        return np.asarray(wide * np.sqrt(self.ratio(wide**2)), dtype=spread.dtype)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            return super().from_config(config)
        except ConfigurationError as error:
            raise ModelError(
                "The model's variance calibration is damaged; get the model again from its source."
            ) from error


@dataclass(frozen=True)
class QuantileRecalibration:
    """A rising map from the levels of predicted quantiles to how often the truth lies below them.

    Kuleshov, Fenner and Ermon 2018, "Accurate uncertainties for deep learning using calibrated regression",
    algorithm 1, for Gaussian predictions. The calibrated p-quantile is the predicted quantile whose level is mapped
    to p. Levels are kept as standard normal scores, because most of a level's digits are lost near 0 and 1.

    Attributes:
        score: Standard normal scores of the predicted quantiles at the knots, never falling.
        observed: Share of truths below each, between 0 and 1, rising.
    """

    score: tuple[float, ...]
    observed: tuple[float, ...]

    @classmethod
    def fit(
        cls, mean: Floats, deviation: Floats, target: Floats, groups: NDArray[np.generic] | None = None
    ) -> QuantileRecalibration:
        """Fit the map on held-out elements; arguments and refusals as `IsotonicVariance.fit`."""
        from scipy.special import ndtr

        m, s, y, w, _ = _known(mean, deviation, target, groups)
        score = (y - m) / s
        order = np.argsort(score, kind="stable")
        share = np.cumsum(w[order]) - 0.5 * w[order]
        # The empirical distribution function never falls, so that it is its own isotonic regression; the knots lie
        # closer together in the tails, where intervals end.
        observed = ndtr(np.linspace(-2.6, 2.6, MOST_KNOTS - 1))
        return cls(tuple(np.interp(observed, share, score[order]).tolist()), tuple(observed.tolist()))

    def quantile(self, mean: Floats, deviation: Floats, p: float) -> Floats:
        """Return the calibrated p-quantile of Gaussian predictions, like `mean`.

        Levels beyond the outermost knots (0.5 % and 99.5 %) give the outermost quantiles.

        Raises:
            ConfigurationError: If p is not between 0 and 1.
        """
        if not 0.0 < p < 1.0:
            raise ConfigurationError(f"The level of a quantile must lie between 0 and 1, but is {p}.")
        center, spread = np.asarray(mean), np.asarray(deviation)
        return np.asarray(center + float(np.interp(p, self.observed, self.score)) * spread, dtype=center.dtype)

    def interval(self, mean: Floats, deviation: Floats, coverage: float) -> tuple[Floats, Floats]:
        """Return the calibrated central interval (lower, upper) of a coverage."""
        tail = 0.5 * (1.0 - coverage)
        return self.quantile(mean, deviation, tail), self.quantile(mean, deviation, 1.0 - tail)

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {"score": list(self.score), "observed": list(self.observed)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> QuantileRecalibration:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        score, observed = _knots(config, "score", "observed")
        if min(observed) < 0 or max(observed) > 1 or np.diff(observed).min(initial=1.0) <= 0:
            raise ModelError("The model's quantile calibration is damaged; get the model again from its source.")
        return cls(tuple(score), tuple(observed))


def _isotonic(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted least-squares fit that never falls (pool adjacent violators)."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(values, weights=weight).x, dtype=np.float64)


def _effective_blocks(
    piece: NDArray[np.intp], block: NDArray[np.intp], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many equal blocks the weights in each piece are worth (Kish), `[pieces]`."""
    pieces, blocks = int(piece.max()) + 1, int(block.max()) + 1
    if blocks == len(block):  # every element is a block: no table of pieces and blocks is needed
        return np.asarray(np.bincount(piece, weights=weight) ** 2 / np.bincount(piece, weights=weight**2), np.float64)
    table = np.bincount(piece * blocks + block, weights=weight, minlength=pieces * blocks).reshape(pieces, blocks)
    return np.asarray(table.sum(axis=1) ** 2 / (table**2).sum(axis=1), np.float64)


def _known(
    mean: Floats, deviation: Floats, target: Floats, groups: NDArray[np.generic] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return (means, deviations, targets, weights with sum 1, blocks from 0) of the elements with a target."""
    m, s, y = (np.asarray(part, dtype=np.float64) for part in (mean, deviation, target))
    if m.ndim != 1 or m.shape != s.shape or m.shape != y.shape or (groups is not None and np.shape(groups) != m.shape):
        raise ConfigurationError("Recalibration needs means, deviations, targets and groups of one shape [N].")
    known = np.isfinite(y)
    if known.sum() < 10:
        raise LabelError(f"Recalibration needs at least 10 labelled pixels, but there are {int(known.sum())}.")
    m, s, y = m[known], s[known], y[known]
    if not np.isfinite(m).all() or not np.isfinite(s).all() or s.min() <= 0.0:
        raise ConfigurationError("Recalibration needs finite means and positive standard deviations.")
    if groups is None:
        return m, s, y, np.full(len(m), 1.0 / len(m)), np.arange(len(m))
    _, block, counts = np.unique(np.asarray(groups)[known], return_inverse=True, return_counts=True)
    return m, s, y, 1.0 / (len(counts) * counts[block]), block


def _knots(config: Mapping[str, Any], first: str, second: str) -> tuple[list[float], list[float]]:
    try:
        x, y = [float(v) for v in config[first]], [float(v) for v in config[second]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("The model's recalibration is damaged; get the model again from its source.") from error
    if len(x) != len(y) or not 1 <= len(x) <= MOST_KNOTS or not all(map(math.isfinite, x + y)):
        raise ModelError("The model's recalibration is damaged; get the model again from its source.")
    if any(b < a for a, b in pairwise(x)):
        raise ModelError("The model's recalibration is damaged; get the model again from its source.")
    return x, y
