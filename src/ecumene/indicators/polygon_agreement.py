"""Does a polygon's class agree with a map: evidence of its pixels, with errors of the map that go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecumene.core.errors import ConfigurationError

_LEAST = 1e-4  # no map is more certain than this: one pixel must not settle a polygon
_MEDIAN_CHI_SQUARE = 0.454936
"""Median of a chi-square variable with one degree of freedom."""

Numbers = NDArray[np.float64]


@dataclass
class PixelEvidence:
    """Sums over a polygon's pixels.

    Attributes:
        classes: K, number of the map's classes.
        pixels: Pixels with a class.
        agree: Of them, those whose class is one of the expected ones.
        chance: Sum of the probabilities of the expected classes.
        confidence: Sum of the probabilities of the mapped class: pixels that are right, if the map means what it says.
        variance: Sum of confidence times its complement.
        likelihood: Sum of the logarithms of the class probabilities, `[K]`.
        counts: Pixels of each mapped class, `[K]`.
        outliers: Pixels that the map flags.
    """

    classes: int
    pixels: int = 0
    agree: int = 0
    chance: float = 0.0
    confidence: float = 0.0
    variance: float = 0.0
    likelihood: Numbers | None = None
    counts: NDArray[np.int64] | None = None
    outliers: int = 0

    def __post_init__(self) -> None:
        self.likelihood = np.zeros(self.classes)
        self.counts = np.zeros(self.classes, np.int64)

    def add(
        self, index: NDArray[np.int64], chances: Numbers, expected: tuple[int, ...], flags: NDArray[np.bool_]
    ) -> None:
        """Add pixels.

        Args:
            index: Mapped classes `[n]`.
            chances: Probabilities `[K, n]`, columns summing to 1.
            expected: Classes that the polygon may have.
            flags: Outliers `[n]`.
        """
        assert self.likelihood is not None
        assert self.counts is not None
        sure = np.clip(np.take_along_axis(chances, index[None], 0)[0], _LEAST, 1.0 - _LEAST)
        self.pixels += int(index.size)
        self.agree += int(np.isin(index, expected).sum())
        self.chance += float(chances[list(expected)].sum())
        self.confidence += float(sure.sum())
        self.variance += float((sure * (1.0 - sure)).sum())
        self.likelihood += np.log(np.maximum(chances, _LEAST)).sum(axis=1)
        self.counts += np.bincount(index, minlength=self.classes)
        self.outliers += int(flags.sum())


@dataclass(frozen=True)
class Agreement:
    """What the map says of polygons, `[n]` each; NaN where a polygon has no pixel.

    Attributes:
        share: Share of pixels whose mapped class is an expected one.
        expected_disagreement: Mean probability that a pixel is none of the expected classes.
        p_value: Probability of as few agreeing pixels or fewer if the polygon had its class throughout.
        wrong: Posterior probability that the polygon's class is wrong.
        likeliest: Index of the class that explains the pixels best; -1 without pixels.
        correlation: Correlation of the map's errors within a polygon, of all polygons together.
        effective_pixels: Independent pixels that each polygon is worth.
    """

    share: Numbers
    expected_disagreement: Numbers
    p_value: Numbers
    wrong: Numbers
    likeliest: NDArray[np.int64]
    correlation: float
    effective_pixels: Numbers


def error_correlation(deviation: Numbers, variance: Numbers, pixels: NDArray[np.int64]) -> float:
    """Estimate how far errors of a map go together within a polygon.

    With correlation r the variance of the number of right pixels is (1 + (n - 1) r) times that of independent ones
    (the design effect of cluster samples). r is taken where the median of the squared deviations over this variance is
    that of a chi-square variable: the median, because some polygons are wrong and deviate for that reason.

    Args:
        deviation: Agreeing minus expected right pixels of each polygon.
        variance: Of independent pixels.
        pixels: Of each polygon.

    Returns:
        r in [0, 1]; a map that is less accurate than it says makes it larger, and the evidence weaker.
    """
    usable = (pixels > 1) & (variance > 0)
    if not usable.any():
        return 0.0
    squares, number = deviation[usable] ** 2 / variance[usable], pixels[usable].astype(np.float64)

    def excess(correlation: float) -> float:
        return float(np.median(squares / (1.0 + (number - 1.0) * correlation))) - _MEDIAN_CHI_SQUARE

    if excess(0.0) <= 0.0:
        return 0.0
    if excess(1.0) >= 0.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def judge_polygons(
    evidence: list[PixelEvidence],
    expected: list[tuple[int, ...]],
    *,
    prior: float = 0.05,
    correlation: float | None = None,
) -> Agreement:
    """Judge polygons by the map.

    p value: if the class holds throughout, a pixel agrees where the map is right, with the probability that the map
    gives to its own class; the number of agreeing pixels is taken as normal with the variance of `error_correlation`.

    Posterior: the probabilities of a pixel are the likelihood of its class (a uniform prior of classes), those of a
    polygon's pixels are multiplied, each to the power of effective over all pixels; a polygon's class is wrong with
    probability `prior` beforehand, and then any other class alike.

    Args:
        evidence: Of each polygon.
        expected: Indices of the classes that it may have.
        prior: Share of polygons that are wrong, before the map is seen.
        correlation: Of the errors within a polygon; None: estimated.

    Raises:
        ConfigurationError: If prior or correlation are out of range, or nothing is to be judged.
    """
    if not 0.0 < prior < 1.0 or (correlation is not None and not 0.0 <= correlation <= 1.0):
        raise ConfigurationError("The prior must lie between 0 and 1, and the correlation from 0 to 1.")
    if not evidence:
        raise ConfigurationError("There is no polygon to judge.")
    pixels = np.array([item.pixels for item in evidence])
    agree, confidence, variance, chance = (
        np.array([getattr(item, name) for item in evidence], np.float64)
        for name in ("agree", "confidence", "variance", "chance")
    )
    rho = error_correlation(agree - confidence, variance, pixels) if correlation is None else correlation
    some = pixels > 0
    inflation = 1.0 + np.maximum(pixels - 1, 0) * rho
    with np.errstate(divide="ignore", invalid="ignore"):
        share, disagreement = agree / pixels, 1.0 - chance / pixels
        score = (agree + 0.5 - confidence) / np.sqrt(variance * inflation)
    wrong, likeliest = np.full(len(evidence), np.nan), np.full(len(evidence), -1, np.int64)
    for place, (item, wanted) in enumerate(zip(evidence, expected, strict=True)):
        if item.pixels and item.likelihood is not None:
            wrong[place] = _posterior(item.likelihood / inflation[place], wanted, prior)
            likeliest[place] = int(item.likelihood.argmax())
    return Agreement(
        np.where(some, share, np.nan),
        np.where(some, disagreement, np.nan),
        np.where(some, special.ndtr(np.where(some, score, 0.0)), np.nan),
        wrong,
        likeliest,
        float(rho),
        np.where(some, pixels / inflation, 0.0),
    )


def _posterior(likelihood: Numbers, expected: tuple[int, ...], prior: float) -> float:
    """Return the probability that none of the expected classes is the polygon's."""
    others = [k for k in range(likelihood.size) if k not in expected]
    if not others:
        return 0.0
    right = special.logsumexp(likelihood[list(expected)]) - np.log(len(expected)) + np.log1p(-prior)
    wrong = special.logsumexp(likelihood[others]) - np.log(len(others)) + np.log(prior)
    return float(special.expit(wrong - right))
