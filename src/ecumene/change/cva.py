"""Change vector analysis: length and direction of the difference of bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecumene.change.contract import FittedChange, ImagePair
from ecumene.change.linear import LinearScore, stacked_moments
from ecumene.change.scoring import finish
from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class ChangeVectorAnalysis:
    """Change vector analysis (Malila 1980, "Change vector analysis"; polar form: Bovolo and Bruzzone 2007).

    The magnitude is the length of `after - before` in normalised units, the kind its direction: the cosine of the
    angle to each band's axis, so that cosines squared sum to 1.

    Attributes:
        normalise: `zscore`: each band of each date by its own mean and deviation over the valid pixels, which also
            takes out linear differences of illumination; `noise`: by `noise`, means are kept, so a magnitude of m
            says m standard deviations of one band's noise; `none`: physical units.
        noise: Standard deviation of each band's noise at one date, in the unit of the bands (for `noise`).
        threshold: Rule, see `thresholds.RULES`, or `posterior`.
    """

    normalise: Literal["zscore", "noise", "none"] = "zscore"
    noise: Sequence[float] = ()
    threshold: str = "kmeans"

    def fit(self, pair: ImagePair) -> FittedChange:
        """Learn means and deviations in one pass, threshold and mixture in another.

        Args:
            pair: The two dates.

        Raises:
            ConfigurationError: If the noise does not fit the bands, or an option is unknown.
            SceneError: If no pixel is valid at both dates, or a band is constant.
        """
        pair.check()
        count = len(pair.bands)
        names = tuple(f"cosine {band}" for band in pair.bands)
        if self.normalise == "zscore":
            moments = stacked_moments(pair, None)
            scales = 1.0 / moments.deviation.reshape(2, count)
            means = moments.mean.reshape(2, count)
        elif self.normalise == "noise":
            if len(self.noise) != count or min(self.noise, default=0.0) <= 0.0:
                raise ConfigurationError(
                    f"State a positive deviation of noise for each of the {count} bands; there are {len(self.noise)}."
                )
            # The difference of two dates has twice the variance of one.
            scales = np.tile(1.0 / (np.sqrt(2.0) * np.asarray(self.noise, np.float64)), (2, 1))
            means = np.zeros((2, count))
        elif self.normalise == "none":
            scales, means = np.ones((2, count)), np.zeros((2, count))
        else:
            raise ConfigurationError(f"There is no normalisation {self.normalise!r}; choose zscore, noise or none.")
        # The direction is that of after - before: both signs are turned.
        score = LinearScore(-np.diag(scales[0]), -np.diag(scales[1]), means, np.ones(count), names, True)
        return finish(pair, score, self.threshold, {"means": means, "scales": scales})
