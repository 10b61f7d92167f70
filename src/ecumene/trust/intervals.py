"""Conformal prediction intervals: numbers that hold the truth with a stated probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust.quantile import Aim, Threshold, check_coverage, fit_threshold, too_few

IntervalMethod = Literal["normalised", "cqr"]


@dataclass(frozen=True)
class ConformalIntervals:
    """Split-conformal intervals around a predicted mean with its standard deviation.

    `normalised` (Lei et al. 2018, section 5.2): the score is |y - mean| / std and the interval mean +- q std.
    `cqr` (conformalised quantile regression; Romano, Patterson, Candes 2019): for given lower and upper quantiles the
    score is max(lower - y, y - upper), and the interval [lower - q, upper + q]; the quantiles are those of the
    Gaussian with the predicted mean and standard deviation.

    Attributes:
        method: `normalised` or `cqr`.
        coverage: What was asked for.
        quantiles: q, one a target, in standard deviations (`normalised`) or in the target's unit (`cqr`).
        n_samples: Calibration elements of the target that has fewest.
        n_groups: Calibration blocks, None if elements counted one by one.
        promised: Coverage that holds whatever the distribution is; None where nobody recorded it.
    """

    method: IntervalMethod
    coverage: float
    quantiles: tuple[float, ...]
    n_samples: int = 0
    n_groups: int | None = None
    promised: float | None = None

    @classmethod
    def fit(
        cls,
        mean: NDArray[np.floating],
        deviation: NDArray[np.floating],
        target: NDArray[np.floating],
        coverage: float = 0.9,
        method: IntervalMethod = "normalised",
        groups: NDArray[np.generic] | None = None,
        aim: Aim = "promise",
    ) -> ConformalIntervals:
        """Fit q on held-out elements.

        Args:
            mean: `[N]` or `[N, D]` predicted means.
            deviation: Same shape, predicted standard deviations, positive.
            target: Same shape; elements with NaN do not count.
            coverage: Wanted share of intervals that hold the truth, for each target by itself.
            method: `normalised` or `cqr`.
            groups: `[N]` spatial block of each element; see `conformal_quantile`.
            aim: `promise` keeps the coverage for whatever distribution and refuses too few units; `average` hits it on
                average over blocks like those of the calibration, but promises less (`promised`).

        Returns:
            The fitted intervals.

        Raises:
            ConfigurationError: If arguments do not fit together or there are too few elements for the coverage.
            LabelError: If there is no element with a target.
        """
        check_coverage(coverage)
        arrays = [np.asarray(part, dtype=np.float64) for part in (mean, deviation, target)]
        if (
            arrays[0].ndim not in (1, 2)
            or len({part.shape for part in arrays}) != 1
            or method not in ("normalised", "cqr")
        ):
            raise ConfigurationError(
                "Conformal intervals need means, deviations and targets of one shape [N] or [N, D], and the method "
                f"normalised or cqr; got {[part.shape for part in arrays]} and {method!r}."
            )
        center, spread, truth = (part.reshape(len(part), -1) for part in arrays)
        blocks = None if groups is None else np.asarray(groups)
        if blocks is not None and blocks.shape != (len(center),):
            raise ConfigurationError(f"There are {len(center)} targets, but {blocks.size} group labels.")
        limits, counts = [], []
        for column in range(center.shape[1]):
            known = np.isfinite(truth[:, column])
            m, s, y = center[known, column], spread[known, column], truth[known, column]
            own = None if blocks is None else blocks[known]
            limits.append(_threshold(m, s, y, coverage, method, own, aim))
            counts.append(int(known.sum()))
        number = None if blocks is None else len(np.unique(blocks))
        quantiles = tuple(limit.value for limit in limits)
        promised = min(limit.promised for limit in limits)
        return cls(method, float(coverage), quantiles, min(counts), number, promised)

    def interval(
        self, mean: NDArray[np.floating], deviation: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return (lower, upper), each like `mean` `[N, D, ...]` (or `[N]` for one target).

        Raises:
            ConfigurationError: If axis 1 does not have one entry a target.
        """
        center, spread = np.asarray(mean), np.asarray(deviation)
        if center.ndim == 1 and len(self.quantiles) == 1:
            q = np.asarray(self.quantiles[0])
        elif center.ndim >= 2 and center.shape[1] == len(self.quantiles):
            q = np.asarray(self.quantiles).reshape((1, -1) + (1,) * (center.ndim - 2))
        else:
            raise ConfigurationError(
                f"These conformal intervals are for {len(self.quantiles)} targets on axis 1, but got {center.shape}."
            )
        half = q * spread if self.method == "normalised" else _normal_quantile(self.coverage) * spread + q
        # A negative half width (cqr on an over-cautious model) must not turn the interval inside out.
        half = np.maximum(half, 0.0).astype(center.dtype)
        return center - half, center + half

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {
            "method": self.method,
            "coverage": self.coverage,
            "quantiles": list(self.quantiles),
            "n_samples": self.n_samples,
            "n_groups": self.n_groups,
            "promised": self.promised,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ConformalIntervals:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            rebuilt = cls(
                method=config["method"],
                coverage=check_coverage(float(config["coverage"])),
                quantiles=tuple(float(q) for q in config["quantiles"]),
                n_samples=int(config.get("n_samples", 0)),
                n_groups=None if config.get("n_groups") is None else int(config["n_groups"]),
                promised=None if config.get("promised") is None else float(config["promised"]),
            )
        except (KeyError, TypeError, ValueError, ConfigurationError) as error:
            raise ModelError("The model's conformal intervals are damaged; get the model again.") from error
        if rebuilt.method not in ("normalised", "cqr") or not all(map(math.isfinite, rebuilt.quantiles)):
            raise ModelError("The model's conformal intervals are damaged; get the model again.")
        return rebuilt


def _normal_quantile(coverage: float) -> float:
    """Return z with P(|Z| <= z) = coverage for a standard normal Z."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + 0.5 * coverage)


def _threshold(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    target: NDArray[np.float64],
    coverage: float,
    method: IntervalMethod,
    groups: NDArray[np.generic] | None,
    aim: Aim,
) -> Threshold:
    """Return q of one target, and what it promises."""
    if target.size == 0:
        raise LabelError("There are no labelled pixels for conformal intervals; label more places.")
    if not np.isfinite(mean).all() or not np.isfinite(deviation).all() or deviation.min() <= 0.0:
        raise ConfigurationError("Conformal intervals need finite means and positive standard deviations.")
    residual = np.abs(target - mean)
    scores = residual / deviation if method == "normalised" else residual - _normal_quantile(coverage) * deviation
    limit = fit_threshold(scores, coverage, groups, aim)
    if math.isinf(limit.value):
        raise ConfigurationError(too_few(limit.n_units, "pixels" if groups is None else "blocks", coverage))
    return limit
