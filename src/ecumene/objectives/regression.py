"""A number with its error bar for every pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import arrays
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec, Prediction

if TYPE_CHECKING:
    from torch import Tensor

LOG_VARIANCE_LIMITS = (-10.0, 10.0)
"""Of the standardised target: standard deviations of 0.7 % to 148 times the training data's."""


class PixelRegression(Objective):
    """Heteroscedastic Gaussian: the network gives mean and log-variance of the standardised target.

    Output `[B, 2D, H, W]`: D means, then D raw log-variances, for D targets. A raw log-variance is limited smoothly
    to [-10, 10] by two softplus functions, so that its gradient never dies and exp never overflows. Moments are,
    for each target in standardised units, the mean, its square and the variance: averaging them over overlapping
    windows or over an ensemble gives, by the law of total variance, aleatoric = mean of variances and
    epistemic = variance of means. Keeping the square of the mean apart from the variance (instead of one second
    moment, their sum) loses no digits where the mean is much larger than the error.

    The target is float `[B, H, W]` for one target or `[B, D, H, W]`, NaN unlabelled.

    Args:
        targets: Names of the numbers.
        unit: Their unit.
        target_mean: Mean of each target in the training data, in `unit`.
        target_std: Standard deviation of each, positive.
        beta: Of the beta-negative-log-likelihood, in [0, 1]; 0 is the plain likelihood, 0.5 the paper's advice
            where fits of the mean stall.
        variance_scale: Factor on the predicted variances that held-out blocks ask for
            (`trust.calibration.fit_variance_scale`).

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "pixel-regression"
    unit_of_work: ClassVar[Literal["pixel", "scene"]] = "pixel"

    def __init__(
        self,
        targets: Sequence[str] = ("value",),
        unit: str = "1",
        target_mean: Sequence[float] | float = 0.0,
        target_std: Sequence[float] | float = 1.0,
        beta: float = 0.0,
        variance_scale: float = 1.0,
    ) -> None:
        names = tuple(targets)
        if not names or isinstance(targets, str) or len(set(names)) != len(names):
            raise ConfigurationError(f"A regression needs a list of different target names, but got {targets!r}.")
        means = (float(target_mean),) * len(names) if isinstance(target_mean, int | float) else tuple(target_mean)
        stds = (float(target_std),) * len(names) if isinstance(target_std, int | float) else tuple(target_std)
        if len(means) != len(names) or len(stds) != len(names):
            raise ConfigurationError(f"target_mean and target_std must have {len(names)} numbers, one a target.")
        if not all(math.isfinite(m) for m in means) or not all(0.0 < s < math.inf for s in stds):
            raise ConfigurationError("target_mean must be finite and target_std positive; is the target constant?")
        if not 0.0 <= beta <= 1.0 or not 0.0 < variance_scale < math.inf:
            raise ConfigurationError(
                f"beta must be in [0, 1] and variance_scale positive, but are {beta} and {variance_scale}."
            )
        self.targets, self.unit = names, unit
        self.target_mean, self.target_std = means, stds
        self.beta, self.variance_scale = float(beta), float(variance_scale)

    @property
    def n_outputs(self) -> int:
        """Mean and log-variance of each target."""
        return 2 * len(self.targets)

    @property
    def n_moments(self) -> int:
        """Mean, squared mean and variance of each target."""
        return 3 * len(self.targets)

    def _select(self, output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (mean, log-variance, target) in standardised units and the scale, of usable elements, each `[N]`.

        Selecting comes first: a gradient through elements that do not count would be NaN where they are.
        """
        from ecumene.objectives.losses import spatial_valid

        number = len(self.targets)
        spread = target.unsqueeze(1) if target.ndim == 3 else target
        usable = spatial_valid(valid, 3).unsqueeze(1).expand_as(spread) & spread.isfinite()
        mean, raw = output[:, :number][usable].float(), output[:, number:][usable].float()
        shape = spread.float()
        center = arrays.per_channel(self.target_mean, shape).expand_as(spread)[usable]
        scale = arrays.per_channel(self.target_std, shape).expand_as(spread)[usable]
        return mean, _bounded(raw), (shape[usable] - center) / scale, scale

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the (beta-)negative log-likelihood over valid pixels with a target; see `losses.gaussian_loss`."""
        from ecumene.objectives.losses import gaussian_loss, nothing

        mean, log_variance, truth, _ = self._select(output, target, valid)
        return gaussian_loss(mean, log_variance, truth, self.beta) if truth.numel() else nothing(output)

    def metrics(self) -> Any:
        """Return `rmse` and `mae` (in the targets' unit) and `nll` (of the standardised target, in nat)."""
        from ecumene.core.optional import require

        library = require("torchmetrics")
        return library.MetricCollection(
            {
                "rmse": library.MeanSquaredError(squared=False),
                "mae": library.MeanAbsoluteError(),
                "nll": library.MeanMetric(),
            },
            compute_groups=False,
        )

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the valid pixels with a target of one batch."""
        from ecumene.objectives.losses import gaussian_loss

        mean, log_variance, truth, scale = self._select(output, target, valid)
        if truth.numel() == 0:
            return
        # The targets' means cancel in differences.
        metrics["rmse"].update(mean * scale, truth * scale)
        metrics["mae"].update(mean * scale, truth * scale)
        likelihood = gaussian_loss(mean, log_variance, truth, beta=0.0)
        metrics["nll"].update(likelihood + 0.5 * math.log(2.0 * math.pi), weight=float(truth.numel()))

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """Negative log-likelihood: it judges mean and error bar together."""
        return "nll", "min"

    def moments(self, output: Any) -> Any:
        """Turn raw output `[B, 2D, ...]` into standardised (means, squared means, variances) `[B, 3D, ...]`."""
        values, number = arrays.as_float(output), len(self.targets)
        mean, log_variance = values[:, :number], _bounded(values[:, number:])
        return arrays.concatenate((mean, mean * mean, arrays.namespace(mean).exp(log_variance)))

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into value, standard deviations and layers in the targets' unit.

        `total`, `aleatoric` and `epistemic` are standard deviations, total^2 = aleatoric^2 + epistemic^2, after the
        variance scale.
        """
        number, library = len(self.targets), arrays.namespace(moments)
        mean, square, variance = moments[:, :number], moments[:, number : 2 * number], moments[:, 2 * number :]
        center = arrays.per_channel(self.target_mean, mean)
        scale = arrays.per_channel(self.target_std, mean)
        spread = arrays.clip(square - mean * mean, 0.0, None)
        value = mean * scale + center
        factor = scale * math.sqrt(self.variance_scale)
        deviation = factor * library.sqrt(variance + spread)
        return Prediction(
            value=value,
            total=deviation,
            aleatoric=factor * library.sqrt(variance),
            epistemic=factor * library.sqrt(spread),
            layers={"value": value, "uncertainty": deviation},
        )

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe `value` and `uncertainty` (one standard deviation), float32 with NaN for nodata."""
        shared: dict[str, Any] = {"dtype": "float32", "nodata": math.nan, "unit": self.unit, "band_names": self.targets}
        return (
            LayerSpec(name="value", role="value", description="predicted mean", **shared),
            LayerSpec(name="uncertainty", role="uncertainty", description="one standard deviation", **shared),
        )

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {
            "name": self.name,
            "targets": list(self.targets),
            "unit": self.unit,
            "target_mean": list(self.target_mean),
            "target_std": list(self.target_std),
            "beta": self.beta,
            "variance_scale": self.variance_scale,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`."""
        return cls(**{key: value for key, value in config.items() if key != "name"})


def _bounded(raw: Any) -> Any:
    """Limit raw log-variances smoothly to `LOG_VARIANCE_LIMITS`."""
    low, high = LOG_VARIANCE_LIMITS
    upper = high - arrays.softplus(high - raw)
    return low + arrays.softplus(upper - low)
