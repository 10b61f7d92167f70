"""What objectives for numbers share: the variance scale, and what a mixture of their predictions needs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import arrays
from ecumene.objectives.contract import Direction, Objective, UnitOfWork
from ecumene.objectives.prediction import LayerSpec
from ecumene.objectives.variance_map import VarianceMap

if TYPE_CHECKING:
    from torch import Tensor

LOG_VARIANCE_LIMITS = (-10.0, 10.0)
"""Of the standardised target: standard deviations of 0.7 % to 148 times the training data's."""


Maps = Sequence[VarianceMap | Mapping[str, Any]]


class NumericObjective(Objective):
    """Numbers with error bars; the network works on standardised targets.

    Args:
        targets: Names of the numbers.
        unit: Their unit.
        target_mean: Mean of each target in the training data, in `unit`.
        target_std: Standard deviation of each, positive.
        variance_scale: Factor on the predicted variances that held-out blocks ask for
            (`trust.variance_choice`).
        variance_maps: A map from predicted to observed variance for each target (`VarianceMap` or its configuration),
            instead of a factor; None: no such map.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    unit_of_work: UnitOfWork = "pixel"

    def __init__(
        self,
        targets: Sequence[str] = ("value",),
        unit: str = "1",
        target_mean: Sequence[float] | float = 0.0,
        target_std: Sequence[float] | float = 1.0,
        variance_scale: float = 1.0,
        variance_maps: Maps | None = None,
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
        if not 0.0 < variance_scale < math.inf:
            raise ConfigurationError(f"variance_scale must be positive, but is {variance_scale}.")
        self.targets, self.unit = names, unit
        self.target_mean, self.target_std = means, stds
        self.variance_scale = float(variance_scale)
        self.variance_maps = _read_maps(variance_maps, len(names), self.variance_scale)

    @abstractmethod
    def widen(self, moments: Any, members: int) -> Any:
        """Return mean moments of `members` members with the spread of their means made unbiased, M / (M - 1)."""

    @abstractmethod
    def collapse(self, moments: Any) -> Any:
        """Return raw output of one network with the mean and total variance of these mean moments."""

    @property
    def monitor(self) -> tuple[str, Direction]:
        """Negative log-likelihood: it judges mean and error bar together."""
        return "nll", "min"

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

    def standardised(self, target: Tensor) -> Tensor:
        """Return a target `[B, H, W]` (one) or `[B, D, H, W]` as `[B, D, H, W]` in standardised units."""
        spread = (target.unsqueeze(1) if target.ndim == 3 else target).float()
        center, scale = (arrays.per_channel(values, spread) for values in (self.target_mean, self.target_std))
        standard: Tensor = (spread - center) / scale
        return standard

    def bar_factor(self, variance: Any) -> Any:
        """Return what turns standardised deviations into recalibrated ones in the targets' unit, `[B, D, ...]`.

        Every part of an error bar takes the factor of the whole, so that total^2 = aleatoric^2 + epistemic^2 stays.

        Args:
            variance: Total predicted variances of the standardised targets, `[B, D, ...]`.
        """
        factor = arrays.per_channel(self.target_std, variance) * math.sqrt(self.variance_scale)
        if self.variance_maps is None:
            return factor
        library = arrays.namespace(variance)
        ratios = [
            library.sqrt(chosen.ratio(variance[:, number] * std**2))[:, None]
            for number, (chosen, std) in enumerate(zip(self.variance_maps, self.target_std, strict=True))
        ]
        return factor * arrays.concatenate(ratios)

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe `value` and `uncertainty` (one standard deviation), float32 with NaN for nodata."""
        shared: dict[str, Any] = {"dtype": "float32", "nodata": math.nan, "unit": self.unit, "band_names": self.targets}
        return (
            LayerSpec(name="value", role="value", description="predicted mean", **shared),
            LayerSpec(name="uncertainty", role="uncertainty", description="one standard deviation", **shared),
        )

    def rescaled(self, variance_scale: float, variance_maps: Sequence[VarianceMap] | None = None) -> Self:
        """Return the objective with this variance scale and these maps."""
        return self.from_config({**self.to_config(), "variance_scale": variance_scale, "variance_maps": variance_maps})

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`; `variance_maps` only where there are some."""
        maps = self.variance_maps
        return {
            "name": self.name,
            "targets": list(self.targets),
            "unit": self.unit,
            "target_mean": list(self.target_mean),
            "target_std": list(self.target_std),
            "variance_scale": self.variance_scale,
            **({} if maps is None else {"variance_maps": [entry.to_config() for entry in maps]}),
        }


def _read_maps(maps: Maps | None, targets: int, scale: float) -> tuple[VarianceMap, ...] | None:
    """Return the maps of variances, one a target."""
    if maps is None:
        return None
    if isinstance(maps, str | Mapping) or not isinstance(maps, Sequence) or len(maps) != targets:
        raise ConfigurationError(f"variance_maps must be a list of {targets} maps, one a target.")
    if scale != 1.0:
        raise ConfigurationError("Error bars take a variance_scale or variance_maps, but not both.")
    return tuple(entry if isinstance(entry, VarianceMap) else VarianceMap.from_config(entry) for entry in maps)


def bounded(raw: Any) -> Any:
    """Limit raw log-variances smoothly to `LOG_VARIANCE_LIMITS`: gradients never die and exp never overflows."""
    low, high = LOG_VARIANCE_LIMITS
    upper = high - arrays.softplus(high - raw)
    return low + arrays.softplus(upper - low)


def unbounded(log_variance: Any) -> Any:
    """Return the raw value that `bounded` turns into this log-variance (the nearest one inside of its limits)."""
    low, high = LOG_VARIANCE_LIMITS
    upper = low + _softplus_inverse(arrays.clip(log_variance - low, 1e-3, None))
    return high - _softplus_inverse(arrays.clip(high - upper, 1e-3, None))


def _softplus_inverse(x: Any) -> Any:
    library = arrays.namespace(x)
    return x + library.log(-library.expm1(-x))
