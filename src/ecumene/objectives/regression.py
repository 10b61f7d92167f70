"""A number with its error bar for every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import arrays
from ecumene.objectives.diagonal import DiagonalObjective
from ecumene.objectives.numeric import Maps, bounded, unbounded

if TYPE_CHECKING:
    from torch import Tensor

Likelihood = Literal["gaussian", "laplace"]
Variances = Literal["diagonal", "isotropic"]


class PixelRegression(DiagonalObjective):
    """Heteroscedastic Gaussian or Laplace: the network gives mean and log-variance of the standardised target.

    Output `[B, 2D, H, W]`: D means, then D raw log-variances, for D targets; with `covariance="isotropic"` one
    log-variance for all targets, `[B, D + 1, H, W]`. A raw log-variance is limited smoothly to [-10, 10]. A Laplace
    distribution of variance v has the scale b = sqrt(v / 2). Moments are those of
    `DiagonalObjective`.

    The target is float `[B, H, W]` for one target or `[B, D, H, W]`, NaN unlabelled.

    Args:
        targets: Names of the numbers.
        unit: Their unit.
        target_mean: Mean of each target in the training data, in `unit`.
        target_std: Standard deviation of each, positive.
        beta: Of the beta-negative-log-likelihood (Gaussian only), in [0, 1]; 0 is the plain likelihood, 0.5 the
            paper's advice where fits of the mean stall.
        variance_scale: Factor on the predicted variances that held-out blocks ask for
            (`trust.variance_choice`).
        likelihood: `gaussian` or `laplace`.
        covariance: `diagonal`: a variance of its own for each target; `isotropic`: one for all of them.
        variance_maps: See `NumericObjective`.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "pixel-regression"

    def __init__(
        self,
        targets: Sequence[str] = ("value",),
        unit: str = "1",
        target_mean: Sequence[float] | float = 0.0,
        target_std: Sequence[float] | float = 1.0,
        beta: float = 0.0,
        variance_scale: float = 1.0,
        likelihood: Likelihood = "gaussian",
        covariance: Variances = "diagonal",
        variance_maps: Maps | None = None,
    ) -> None:
        super().__init__(targets, unit, target_mean, target_std, variance_scale, variance_maps)
        if likelihood not in ("gaussian", "laplace") or covariance not in ("diagonal", "isotropic"):
            raise ConfigurationError(
                "The likelihood of a regression is 'gaussian' or 'laplace' and its covariance 'diagonal' or "
                f"'isotropic', not {likelihood!r} and {covariance!r}."
            )
        if not 0.0 <= beta <= 1.0 or (beta > 0.0 and likelihood == "laplace"):
            raise ConfigurationError(f"beta must be in [0, 1], and 0 for a Laplace likelihood, but is {beta}.")
        self.beta = float(beta)
        self.likelihood: Likelihood = likelihood
        self.covariance: Variances = covariance

    def _select(self, output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (mean, log-variance, target) in standardised units and the scale, of usable elements, each `[N]`.

        Selecting comes first: a gradient through elements that do not count would be NaN where they are.
        """
        from ecumene.objectives.losses import spatial_valid

        number = len(self.targets)
        truth = self.standardised(target)
        usable = spatial_valid(valid, 3).unsqueeze(1).expand_as(truth) & truth.isfinite()
        mean = output[:, :number][usable].float()
        raw = output[:, number:].expand_as(truth)[usable].float()
        scale = arrays.per_channel(self.target_std, truth).expand_as(truth)[usable]
        return mean, bounded(raw), truth[usable], scale

    def _likelihood(self, mean: Tensor, log_variance: Tensor, truth: Tensor, beta: float) -> Tensor:
        from ecumene.objectives.losses import gaussian_loss, laplace_loss

        if self.likelihood == "laplace":
            return laplace_loss(mean, log_variance, truth)
        return gaussian_loss(mean, log_variance, truth, beta)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the (beta-)negative log-likelihood over valid pixels with a target, without its constant.

        See `losses.gaussian_loss` and `losses.laplace_loss`.
        """
        from ecumene.objectives.losses import nothing

        mean, log_variance, truth, _ = self._select(output, target, valid)
        return self._likelihood(mean, log_variance, truth, self.beta) if truth.numel() else nothing(output)

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the valid pixels with a target of one batch."""
        mean, log_variance, truth, scale = self._select(output, target, valid)
        if truth.numel() == 0:
            return
        # The targets' means cancel in differences.
        metrics["rmse"].update(mean * scale, truth * scale)
        metrics["mae"].update(mean * scale, truth * scale)
        constant = 0.5 * math.log(2.0 * math.pi) if self.likelihood == "gaussian" else math.log(2.0)
        likelihood = self._likelihood(mean, log_variance, truth, beta=0.0)
        metrics["nll"].update(likelihood + constant, weight=float(truth.numel()))

    def moments(self, output: Any) -> Any:
        """Turn raw output into standardised (means, squared means, variances) `[B, 3D, ...]`."""
        values, number = arrays.as_float(output), len(self.targets)
        mean, log_variance = values[:, :number], bounded(values[:, number:])
        variance = arrays.namespace(mean).exp(log_variance)
        return self._moments(mean, variance)

    def collapse(self, moments: Any) -> Any:
        """See `NumericObjective.collapse`."""
        mean, total = self._total(moments)
        return arrays.concatenate((mean, unbounded(arrays.namespace(total).log(total))))

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        own = {"beta": self.beta, "likelihood": self.likelihood, "covariance": self.covariance}
        return super().to_config() | own
