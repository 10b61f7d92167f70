"""Everything that held-out blocks say about a model's honesty, in one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError, ModelError
from ecumene.objectives.arrays import to_numpy
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.trust.block_residuals import BlockResiduals
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.intervals import ConformalIntervals
from ecumene.trust.recalibration import IsotonicVariance
from ecumene.trust.scaling import Scaling, Temperature, scaling_from_config, temperature_of


@dataclass(frozen=True)
class Calibration:
    """Calibration of one model.

    Attributes:
        scaling: How the executed model calibrates its logits; None where the output is not a set of logits.
        sets: Conformal sets of classes, fitted on probabilities after the scaling.
        intervals: Conformal intervals of numbers, fitted on standard deviations after `variance_scale` or `variances`.
        variance_scale: Factor on predicted variances, which `calibrated` puts into the objective.
        variances: Maps of predicted variances instead of a factor, one a target, which `calibrated` puts there too.
        with_set_size: Also write the number of classes in each set.
        residuals: What error bars of class areas rest on.
    """

    scaling: Scaling | None = None
    sets: ConformalSets | None = None
    intervals: ConformalIntervals | None = None
    variance_scale: float = 1.0
    variances: tuple[IsotonicVariance, ...] | None = None
    with_set_size: bool = False
    residuals: BlockResiduals | None = None

    @property
    def temperature(self) -> float | None:
        """The temperature of a scaling that has only that (1 for the identity); None for others and for none."""
        return None if self.scaling is None else temperature_of(self.scaling)

    def calibrated(self, objective: Objective) -> Objective:
        """Return the objective whose predictions carry this calibration's variance scale or maps.

        Applying it again changes nothing: they are set, not multiplied. Other objectives come back as they are,
        because the scaling is applied by the executed model.
        """
        return objective.rescaled(self.variance_scale, self.variances)

    def extra_layer_specs(self, objective: Objective) -> tuple[LayerSpec, ...]:
        """Describe the layers that `extra_layers` gives for predictions of `objective`."""
        specs: list[LayerSpec] = []
        if self.sets is not None:
            names = objective.legend.names if objective.legend is not None else ()
            listed = ", ".join(f"bit {bit}: {name}" for bit, name in enumerate(names))
            promise = _promise(self.sets)
            specs.append(
                LayerSpec(
                    name="prediction_set",
                    dtype="uint32",
                    nodata=0,
                    role="set",
                    description=f"set of classes as a bit mask that {promise} ({listed})",
                    band_names=("classes",),
                    statistics=False,
                )
            )
            if self.with_set_size:
                specs.append(
                    LayerSpec(
                        name="set_size",
                        dtype="uint8",
                        nodata=255,
                        role="set",
                        description="number of classes in prediction_set",
                        band_names=("size",),
                        limits=(1.0, float(self.sets.n_classes)),
                    )
                )
        if self.intervals is not None:
            value = objective.layer_specs()[0]
            specs += [
                LayerSpec(
                    name=name,
                    dtype="float32",
                    nodata=math.nan,
                    unit=value.unit,
                    role="interval",
                    description=f"{name} end of the {100 * self.intervals.coverage:g} % prediction interval",
                    band_names=value.band_names,
                )
                for name in ("lower", "upper")
            ]
        return tuple(specs)

    def extra_layers(self, prediction: Prediction) -> dict[str, NDArray[Any]]:
        """Return the layers `[B, bands, ...]` of `extra_layer_specs`, from a prediction's own layers.

        Args:
            prediction: With the layer `probability` for sets; with `value` and `uncertainty` for intervals.
        """
        layers: dict[str, NDArray[Any]] = {}
        if self.sets is not None:
            decided = prediction.details.get("class_index")
            shown = None if decided is None else to_numpy(decided)
            bits = self.sets.encode(to_numpy(prediction.layers["probability"]), shown)[:, None]
            layers["prediction_set"] = bits
            if self.with_set_size:
                layers["set_size"] = np.bitwise_count(bits).astype(np.uint8)
        if self.intervals is not None:
            layers["lower"], layers["upper"] = self.intervals.interval(
                to_numpy(prediction.layers["value"]), to_numpy(prediction.layers["uncertainty"])
            )
        return layers

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {
            "scaling": None if self.scaling is None else self.scaling.to_config(),
            "sets": None if self.sets is None else self.sets.to_config(),
            "intervals": None if self.intervals is None else self.intervals.to_config(),
            "variance_scale": self.variance_scale,
            **({} if self.variances is None else {"variances": [entry.to_config() for entry in self.variances]}),
            "with_set_size": self.with_set_size,
            "residuals": None if self.residuals is None else self.residuals.to_config(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Calibration:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            scale = float(config.get("variance_scale", 1.0))
        except (TypeError, ValueError) as error:
            raise ModelError("The model's calibration is damaged; get the model again from its source.") from error
        if not 0.0 < scale < math.inf:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        return cls(
            scaling=_read_scaling(config),
            sets=None if config.get("sets") is None else ConformalSets.from_config(config["sets"]),
            intervals=None if config.get("intervals") is None else ConformalIntervals.from_config(config["intervals"]),
            variance_scale=scale,
            variances=_read_variances(config.get("variances"), scale),
            with_set_size=bool(config.get("with_set_size", False)),
            residuals=None if config.get("residuals") is None else BlockResiduals.from_config(config["residuals"]),
        )


def _promise(sets: ConformalSets) -> str:
    """Say what a class set promises, and what it only aims at."""
    if sets.promised is None or sets.promised >= sets.coverage - 1e-9:
        return f"holds the true class with probability {sets.coverage:g} where calibration holds"
    return (
        f"aims to hold the true class with probability {sets.coverage:g}; {sets.n_groups} calibration blocks promise "
        f"{sets.promised:.2g}"
    )


def _read_variances(stated: Any, scale: float) -> tuple[IsotonicVariance, ...] | None:
    """Return the maps of variances of a description."""
    if stated is None:
        return None
    if not isinstance(stated, list | tuple) or not stated or scale != 1.0:
        raise ModelError("The model's variance calibration is damaged; get the model again from its source.")
    return tuple(IsotonicVariance.from_config(entry) for entry in stated)


def _read_scaling(config: Mapping[str, Any]) -> Scaling | None:
    """Return the scaling of a description; models of the first version state a bare temperature."""
    if config.get("scaling") is not None:
        return scaling_from_config(config["scaling"])
    stated = config.get("temperature")
    return None if stated is None else scaling_from_config({"name": Temperature.name, "temperature": stated})


def fit_variance_scale(
    mean: NDArray[np.floating], deviation: NDArray[np.floating], target: NDArray[np.floating]
) -> float:
    """Return the factor on predicted variances with the best Gaussian likelihood on held-out elements.

    It is the mean of (y - mean)^2 / std^2 (Laves et al. 2020, "Well-calibrated regression uncertainty in medical
    imaging with deep learning", eq. 8): one where error bars are honest, larger where they are too short.

    Args:
        mean: Predicted means, any shape.
        deviation: Predicted standard deviations, same shape, positive.
        target: Same shape; NaN does not count.

    Raises:
        LabelError: If no element has a target, or no prediction differs from its target.
    """
    m, s, y = (np.asarray(part, dtype=np.float64).ravel() for part in (mean, deviation, target))
    known = np.isfinite(y) & np.isfinite(m) & (s > 0.0)
    if not known.any():
        raise LabelError("There are no labelled pixels to fit the error bars on; label more places.")
    scale = float(np.mean(((y[known] - m[known]) / s[known]) ** 2))
    if scale <= 0.0:
        raise LabelError("All calibration predictions equal their targets, which leaves no error bar to fit.")
    return scale
