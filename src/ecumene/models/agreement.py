"""How well one execution of a model agrees with another one, in units that mean something to a map's reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ecumene.objectives.contract import Objective

MOST_PIXELS = 1 << 18
"""Pixels of a probe that are compared; more are thinned evenly."""

LIMITS: Mapping[str, tuple[float, float, float]] = {
    "fp32": (0.9999, 1e-3, 0.1),
    "bf16": (0.98, 0.02, 0.5),
    "int8": (0.98, 0.02, 0.5),
}
"""For each precision: least agreement, largest mean difference, largest 99.9 % quantile of the differences."""

TOLERATED_DEVIATIONS = 0.1
"""Numbers agree where they differ by no more than this share of their own error bar."""


class Agreement(BaseModel):
    """How two executions of a model compare on the usable pixels of a probe.

    For classes and labels `agreement` is the share of equal values, and differences are those of the averageable
    moments, i.e. of probabilities. For numbers `agreement` is the share of values whose difference is at most
    `TOLERATED_DEVIATIONS` of the reference's standard deviation, and differences are in units of that standard
    deviation; an objective without one is measured by the range of its values between the 1 % and 99 % quantiles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agreement: float = Field(description="Share of values that agree, 0..1.")
    mean_difference: float
    quantile_difference: float = Field(description="99.9 % quantile of the differences.")
    largest_difference: float
    outlier_agreement: float | None = Field(default=None, description="Share of equal outlier flags; None: no detector")
    pixels: int

    def failure(self, precision: str) -> str | None:
        """Return why this is not enough for a precision, or None if it is."""
        least, mean, quantile = LIMITS[precision]
        if not self.agreement >= least:
            return f"agreement {self.agreement:.5f} is below {least}"
        if self.outlier_agreement is not None and not self.outlier_agreement >= min(least, 0.999):
            return f"agreement of outlier flags {self.outlier_agreement:.5f} is below {min(least, 0.999)}"
        if not self.mean_difference <= mean:
            return f"mean difference {self.mean_difference:.2g} is above {mean:g}"
        if not self.quantile_difference <= quantile:
            return f"99.9 % quantile of the differences {self.quantile_difference:.2g} is above {quantile:g}"
        return None


UNUSABLE = 1e9
"""Stated as the differences of results that cannot be compared."""

Results = tuple[NDArray[np.float32], NDArray[np.float32]]


def compare(
    objective: Objective, reference: Results, found: Results, usable: NDArray[np.bool_], threshold: float | None = None
) -> Agreement:
    """Compare two results of `Executor.run` for one batch.

    Args:
        objective: What the outputs mean.
        reference: (output `[B, n, H, W]`, score `[B, H, W]`).
        found: The other one's.
        usable: bool `[B, H, W]`, pixels that count; at least one.
        threshold: Of the outlier detector.

    Returns:
        The agreement; 0 with differences of `UNUSABLE` where shapes differ or numbers are not finite.
    """
    if any(a.shape != b.shape for a, b in zip(reference, found, strict=True)) or not np.isfinite(found[0]).all():
        return Agreement(
            agreement=0.0,
            mean_difference=UNUSABLE,
            quantile_difference=UNUSABLE,
            largest_difference=UNUSABLE,
            pixels=int(usable.sum()),
        )
    chosen = np.flatnonzero(usable.ravel())
    chosen = chosen[:: max(1, -(-chosen.size // MOST_PIXELS))]
    outputs = [np.moveaxis(output, 1, -1).reshape(-1, output.shape[1])[chosen] for output, _ in (reference, found)]
    # One row of pixels [1, n, 1, N], so that objectives see the shape that they expect.
    moments = [np.asarray(objective.moments(output.T[None, :, None, :])) for output in outputs]
    predictions = [objective.from_moments(moment) for moment in moments]
    equal, difference = _differences(objective, moments, predictions)
    flags = None
    if threshold is not None:
        first, second = (score.ravel()[chosen] > threshold for _, score in (reference, found))
        flags = float((first == second).mean())
    return Agreement(
        agreement=float(equal.mean()),
        mean_difference=float(difference.mean()),
        quantile_difference=float(np.quantile(difference, 0.999)),
        largest_difference=float(difference.max()),
        outlier_agreement=flags,
        pixels=int(chosen.size),
    )


def _differences(
    objective: Objective, moments: list[NDArray[Any]], predictions: list[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Return (whether values agree, differences); see `Agreement`."""
    values = [np.asarray(prediction.value) for prediction in predictions]
    kinds = {spec.name: spec for spec in objective.layer_specs()}
    if kinds["value"].categorical or not np.issubdtype(values[0].dtype, np.floating):
        return values[0] == values[1], np.abs(moments[0] - moments[1])
    unit = np.asarray(predictions[0].total, dtype=np.float64)
    if not (np.isfinite(unit).all() and (unit > 0).any()):
        low, high = np.quantile(values[0], (0.01, 0.99))
        unit = np.full(values[0].shape, high - low)
    unit = np.maximum(unit, 1e-6 * max(1e-30, float(np.abs(unit).max())))
    difference = np.abs(values[0].astype(np.float64) - values[1]) / unit
    # The error bar must agree as well as the value.
    bars = [np.asarray(prediction.total, dtype=np.float64) for prediction in predictions]
    difference = np.maximum(difference, np.abs(bars[0] - bars[1]) / unit)
    return difference <= TOLERATED_DEVIATIONS, difference
