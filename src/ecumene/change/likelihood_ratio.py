"""Generalised likelihood ratio test of two SAR intensities, with a stated false alarm rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ecumene.change.contract import FittedChange, ImagePair, PairBlock, Threshold
from ecumene.change.histogram import MagnitudeHistogram
from ecumene.change.omnibus import omnibus, tail_of
from ecumene.change.ratio import DECIBEL, checked_names, local_mean
from ecumene.change.scoring import finish
from ecumene.change.temporal_looks import looks_of_spread
from ecumene.core.errors import ConfigurationError, SceneError

Image = NDArray[np.float64]

_LARGEST = 40.0  # |ln ratio| beyond any instrument's range


@dataclass(frozen=True)
class _RatioTest:
    window: int
    floor: float
    looks: float
    centre: Image
    kind_names: tuple[str, ...]

    @property
    def margin(self) -> int:
        return self.window // 2

    def means(self, block: PairBlock) -> Image:
        """Return local means `[2, bands, rows, cols]` of the core; 1 where not valid."""
        images = [local_mean(image, block.valid, self.window) + self.floor for image in (block.before, block.after)]
        return np.where(block.core_valid, np.stack(images)[:, :, *block.core], 1.0)

    def __call__(self, block: PairBlock) -> tuple[Image, Image]:
        means = self.means(block)
        flat = means.reshape(2, means.shape[1], -1)
        flat = np.stack([flat[0] * np.exp(self.centre)[:, None], flat[1]])
        statistic = omnibus(flat, self.looks)[0].reshape(means.shape[2:])
        return np.sqrt(np.maximum(statistic, 0.0)), np.log(means[1] / means[0]) * DECIBEL


@dataclass(frozen=True)
class LikelihoodRatio:
    """Test of equal reflectivity at two dates (`omnibus.omnibus` with two dates; Conradsen et al. 2003, 2016).

    Pixels are averaged over a window first. Magnitude: `sqrt(-2 ln Q)`, about the number of standard deviations
    of one band's log-ratio. The threshold is the magnitude that unchanged pixels exceed at the rate `level`, so it
    promises a false alarm rate where the speckle model holds (images that were stretched to 8 bits, or whose speckle is
    not gamma distributed, have more). Kind: ratio of each band in decibels.

    Attributes:
        centred: Whether the median log-ratio of each band is taken off first: a difference of calibration between the
            dates is no change. False where most of the scene may have changed.
        looks: Equivalent number of looks of the averaged images; None estimates it from how much the ratio of both
            dates scatters (`temporal_looks.looks_of_spread`), the band of most scatter.
        window: Edge of the window in pixels, odd.
        floor: Noise floor added to the means, in the unit of the intensity.
        level: False alarm rate.
        threshold: `false-alarm`, or another rule of `thresholds.RULES`, or `posterior`.
    """

    looks: float | None = None
    window: int = 3
    floor: float = 0.0
    level: float = 0.01
    threshold: str = "false-alarm"
    centred: bool = True

    def fit(self, pair: ImagePair) -> FittedChange:
        """Estimate the looks where not given, then the mixture in one pass.

        Args:
            pair: Linear intensities.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, values are no intensities, or the
                looks cannot be estimated.
        """
        if self.window < 1 or self.window % 2 == 0 or not 0.0 < self.level < 1.0:
            raise ConfigurationError("The test needs an odd window of at least 1 pixel, and a level between 0 and 1.")
        if self.looks is not None and not self.looks > 0.5:
            raise ConfigurationError(f"The number of looks must be larger than 0.5, but is {self.looks}.")
        names = checked_names(pair, self.floor)
        score = _RatioTest(self.window, self.floor, self.looks or 1.0, np.zeros(len(pair.bands)), names)
        if self.centred or self.looks is None:
            signed = self._spread(pair, score, None)
            middle = np.array([histogram.quantile(0.5) for histogram in signed]) - _LARGEST
            if self.looks is None:
                score = replace(score, looks=self._looks(pair, score, signed, middle))
            score = replace(score, centre=middle if self.centred else score.centre)
        loadings = {"looks": np.array([score.looks]), "centre": score.centre}
        if self.threshold != "false-alarm":
            return finish(pair, score, self.threshold, loadings)
        fitted = finish(pair, score, "kmeans", loadings)
        limit = significant(score.looks, len(pair.bands), self.level)
        details = {"level": self.level, "looks": score.looks}
        return replace(fitted, threshold=Threshold(float(np.sqrt(limit)), "false-alarm", details))

    def _looks(self, pair: ImagePair, score: _RatioTest, signed: list[MagnitudeHistogram], centres: Image) -> float:
        """Return the looks at which the ratio scatters as much as observed about its median.

        Without change the ratio of two gamma intensities is F distributed whatever the reflectivity of a pixel is:
        unlike one date's scatter it holds in a scene full of edges and textures, as cities and shores are. Up to
        almost half of the pixels may have changed; they raise the scatter and make the test cautious.
        """
        away = self._spread(pair, score, centres)
        if all(2 * int(histogram.counts.max()) > histogram.total for histogram in signed):
            raise SceneError(
                "The number of looks cannot be estimated, since more than half of the pixels have one ratio between "
                "the dates; state the looks."
            )
        return max(looks_of_spread(2.0 * max(histogram.quantile(0.5) for histogram in away)), 0.51)

    def _spread(self, pair: ImagePair, score: _RatioTest, centres: Image | None) -> list[MagnitudeHistogram]:
        """Return histograms of each band's log-ratio, shifted to be positive, or of its distance from a centre."""
        histograms = [MagnitudeHistogram() for _ in pair.bands]
        for block in pair.blocks(score.margin):
            one, two = np.log(score.means(block))[:, :, block.core_valid]
            logs = np.clip(two - one, -_LARGEST, _LARGEST)
            values = logs + _LARGEST if centres is None else np.abs(logs - centres[:, None])
            for histogram, band in zip(histograms, values, strict=True):
                histogram.add(band)
        return histograms


def significant(looks: float, channels: int, level: float) -> float:
    """Return the `-2 ln Q` of two dates that is exceeded at the rate `level` without change.

    Args:
        looks: Equivalent number of looks.
        channels: Number of independent channels.
        level: Rate, 0..1.
    """

    def excess(statistic: float) -> float:
        return float(tail_of(np.array([statistic]), 2, channels, looks)[0]) - level

    return float(optimize.brentq(excess, 0.0, 1e4))
