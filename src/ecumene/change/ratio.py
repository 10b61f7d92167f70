"""Ratios of SAR intensity between two dates: log-ratio and mean-ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.change.contract import FittedChange, ImagePair, PairBlock
from ecumene.change.scoring import finish
from ecumene.core.errors import ConfigurationError, SceneError

Image = NDArray[np.float64]
DECIBEL = 10.0 / np.log(10.0)


def check_intensity(pair: ImagePair, floor: float) -> None:
    """Check that a pair holds linear intensities whose logarithm exists.

    Args:
        pair: The two dates.
        floor: Added to every intensity.

    Raises:
        ConfigurationError: If the floor is negative or not finite.
        SceneError: If values are negative, or 0 without a floor.
    """
    if not (np.isfinite(floor) and floor >= 0.0):
        raise ConfigurationError(f"The noise floor must be a number of at least 0, but is {floor}.")
    for block in pair.blocks():
        for image in block.vectors():
            least = float(image.min(initial=np.inf))
            if least < 0.0:
                raise SceneError(
                    f"There are negative values ({least:g}); ratios need linear intensities, so convert decibels first."
                )
            if least + floor <= 0.0:
                raise SceneError(
                    "There are intensities of 0, which have no ratio; mask them as nodata, or state a noise floor."
                )


def checked_names(pair: ImagePair, floor: float) -> tuple[str, ...]:
    """Check a pair of intensities and return the names of its bands' ratios.

    Args:
        pair: The two dates.
        floor: Added to every intensity.

    Raises:
        ConfigurationError: If the floor is out of range.
        SceneError: If no pixel is valid at both dates, a band is constant, or values are no intensities.
    """
    pair.check()
    check_intensity(pair, floor)
    return tuple(f"ratio {band} (dB)" for band in pair.bands)


def local_mean(image: Image, valid: NDArray[np.bool_], window: int) -> Image:
    """Return the mean over the valid pixels of a square window; 0 where there are none.

    Args:
        image: `[bands, rows, cols]`, 0 where not valid.
        valid: `[rows, cols]`.
        window: Edge in pixels, odd.
    """
    size = (window, window)
    count = ndimage.uniform_filter(valid.astype(np.float64), size, mode="constant")
    sums = np.stack([ndimage.uniform_filter(band, size, mode="constant") for band in image])
    return np.asarray(np.where(count > 0.5 / window**2, sums / np.maximum(count, 0.5 / window**2), 0.0))


@dataclass(frozen=True)
class _RatioScore:
    form: Literal["log", "mean"]
    window: int
    floor: float
    kind_names: tuple[str, ...]

    @property
    def margin(self) -> int:
        return self.window // 2

    def __call__(self, block: PairBlock) -> tuple[Image, Image]:
        one, two = (
            (local_mean(image, block.valid, self.window) + self.floor)[:, *block.core]
            for image in (block.before, block.after)
        )
        good = block.core_valid
        logs = np.log(np.where(good, two, 1.0)) - np.log(np.where(good, one, 1.0))
        parts = np.abs(logs) if self.form == "log" else -np.expm1(-np.abs(logs))
        return np.sqrt((parts**2).mean(axis=0)), logs * DECIBEL


@dataclass(frozen=True)
class RatioMethod:
    """Log-ratio and mean-ratio of local means.

    Log-ratio: `|ln(m2 / m1)|` (Dekker 1998); mean-ratio: `1 - min(m1 / m2, m2 / m1)` (Inglada and Mercier 2007, doi
    10.1109/TGRS.2007.893568), m the mean intensity of a window. Several polarisations: root mean square of theirs.
    Kind: signed ratio of each band in decibels, positive where the second date is brighter.

    Attributes:
        form: `log` or `mean`.
        window: Edge of the window in pixels, odd; 1 takes single pixels.
        floor: Noise floor added to the means, in the unit of the intensity; keeps ratios of nothing to nothing quiet.
        threshold: Rule, see `thresholds.RULES`, or `posterior`.
    """

    form: Literal["log", "mean"] = "log"
    window: int = 3
    floor: float = 0.0
    threshold: str = "kmeans"

    def fit(self, pair: ImagePair) -> FittedChange:
        """Find threshold and mixture in one pass (after one that checks the values).

        Args:
            pair: Linear intensities.

        Raises:
            ConfigurationError: If an option is out of range.
            SceneError: If no pixel is valid at both dates, a band is constant, or values are no intensities.
        """
        if self.window < 1 or self.window % 2 == 0 or self.form not in ("log", "mean"):
            raise ConfigurationError("A ratio needs an odd window of at least 1 pixel, and the form log or mean.")
        names = checked_names(pair, self.floor)
        return finish(pair, _RatioScore(self.form, self.window, self.floor, names), self.threshold)
