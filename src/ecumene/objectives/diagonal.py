"""Numbers with a mean and a variance each: the moments and error bars that their objectives share."""

from __future__ import annotations

from typing import Any

from ecumene.objectives import arrays
from ecumene.objectives.numeric import NumericObjective
from ecumene.objectives.prediction import Prediction


class DiagonalObjective(NumericObjective):
    """D numbers whose errors are independent, or of one variance where `covariance` is `isotropic`.

    Moments are, for each number in standardised units, the mean, its square and the variance `[B, 3D, ...]`: averaging
    them over overlapping windows or over an ensemble gives, by the law of total variance, aleatoric = mean of variances
    and epistemic = variance of means. Keeping the square of the mean apart from the variance (instead of one second
    moment, their sum) loses no digits where the mean is much larger than the error.
    """

    covariance: Any

    @property
    def n_outputs(self) -> int:
        """Mean of each number, and what stands for the variance of each or of all."""
        return len(self.targets) + (1 if self.covariance == "isotropic" else len(self.targets))

    @property
    def n_moments(self) -> int:
        """Mean, squared mean and variance of each number."""
        return 3 * len(self.targets)

    def _moments(self, mean: Any, variance: Any) -> Any:
        """Return the moments of means `[B, D, ...]` and variances `[B, D, ...]` or `[B, 1, ...]`."""
        if self.covariance == "isotropic":
            variance = arrays.concatenate((variance,) * len(self.targets))
        return arrays.concatenate((mean, mean * mean, variance))

    def _parts(self, moments: Any) -> tuple[Any, Any, Any]:
        """Return (means, variances of the means, means of the variances), standardised, each `[B, D, ...]`."""
        number = len(self.targets)
        mean, square, variance = moments[:, :number], moments[:, number : 2 * number], moments[:, 2 * number :]
        return mean, arrays.clip(square - mean * mean, 0.0, None), variance

    def _total(self, moments: Any) -> tuple[Any, Any]:
        """Return (means, total variances), the latter `[B, 1, ...]` where there is one for all."""
        mean, spread, variance = self._parts(moments)
        total = spread + variance
        if self.covariance == "isotropic":
            total = arrays.total(total, keep=True) / len(self.targets)
        return mean, total

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into value, standard deviations and layers in the targets' unit.

        `total`, `aleatoric` and `epistemic` are standard deviations, total^2 = aleatoric^2 + epistemic^2, after the
        variance scale or map.
        """
        library = arrays.namespace(moments)
        mean, spread, variance = self._parts(moments)
        center = arrays.per_channel(self.target_mean, mean)
        scale = arrays.per_channel(self.target_std, mean)
        value = mean * scale + center
        factor = self.bar_factor(variance + spread)
        deviation = factor * library.sqrt(variance + spread)
        return Prediction(
            value=value,
            total=deviation,
            aleatoric=factor * library.sqrt(variance),
            epistemic=factor * library.sqrt(spread),
            layers={"value": value, "uncertainty": deviation},
        )

    def widen(self, moments: Any, members: int) -> Any:
        """See `NumericObjective.widen`."""
        if members < 2:
            return moments
        mean, spread, variance = self._parts(moments)
        return arrays.concatenate((mean, mean * mean + spread * (members / (members - 1)), variance))
