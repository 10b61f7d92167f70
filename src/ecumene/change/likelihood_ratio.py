"""Generalised likelihood ratio test of two SAR intensities, with a stated false alarm rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ecumene.change.contract import FittedChange, ImagePair, PairBlock, Threshold
from ecumene.change.omnibus import omnibus, tail_of
from ecumene.change.ratio import DECIBEL, check_intensity, local_mean
from ecumene.change.scoring import finish
from ecumene.core.errors import ConfigurationError
from ecumene.physics.speckle.looks import scene_looks

Image = NDArray[np.float64]

_SAMPLE_EDGE = 1024


@dataclass(frozen=True)
class _RatioTest:
    window: int
    floor: float
    looks: float
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
        statistic = omnibus(flat, self.looks)[0].reshape(means.shape[2:])
        return np.sqrt(np.maximum(statistic, 0.0)), np.log(means[1] / means[0]) * DECIBEL


@dataclass(frozen=True)
class LikelihoodRatio:
    """Test of equal reflectivity at two dates (`omnibus.omnibus` with two dates; Conradsen et al. 2003, 2016).

    Pixels are averaged over a window first. Magnitude: `sqrt(-2 ln Q)`, about the number of standard deviations
    of one band's log-ratio. The threshold is the magnitude that unchanged pixels exceed at the rate `level`, so it
    promises a false alarm rate where the speckle model holds. Kind: ratio of each band in decibels.

    Attributes:
        looks: Equivalent number of looks of the averaged images; None estimates it from the middle of the scene, the
            lower of both dates and all bands (`scene_looks`).
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
        pair.check()
        check_intensity(pair, self.floor)
        names = tuple(f"ratio {band} (dB)" for band in pair.bands)
        score = _RatioTest(self.window, self.floor, self.looks or 1.0, names)
        if self.looks is None:
            score = replace(score, looks=self._looks(pair, score))
        loadings = {"looks": np.array([score.looks])}
        if self.threshold != "false-alarm":
            return finish(pair, score, self.threshold, loadings)
        fitted = finish(pair, score, "kmeans", loadings)
        limit = significant(score.looks, len(pair.bands), self.level)
        details = {"level": self.level, "looks": score.looks}
        return replace(fitted, threshold=Threshold(float(np.sqrt(limit)), "false-alarm", details))

    def _looks(self, pair: ImagePair, score: _RatioTest) -> float:
        found: list[float] = []
        for block in pair.sample(_SAMPLE_EDGE, 1, score.margin):
            means = score.means(block)
            found.extend(scene_looks(np.where(block.core_valid, band, np.nan)).value for date in means for band in date)
        return max(min(found), 0.51)


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
