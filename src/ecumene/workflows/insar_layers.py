"""The layers of products of interferometry, and the figures that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.height import HeightMap, relative_height_error
from ecumene.physics.interferometry.network import closure_phases
from ecumene.physics.interferometry.sbas import CLOSURE, LOW_COHERENCE, POOR_FIT, MotionSeries

Layer = tuple[LayerSpec, NDArray[Any]]
_NAN = float("nan")
_MM = 1e3
_OUTLIER = LayerSpec(
    name="outlier",
    dtype="uint8",
    nodata=255,
    categorical=True,
    role="outlier",
    description="1 where the phases contradict each other or the model; the value must not be trusted",
)


def _numbers(
    name: str, unit: str, description: str, values: NDArray[np.float64], role: Any = "extra", bands: Any = ("",)
) -> Layer:
    spec = LayerSpec(
        name=name, dtype="float32", nodata=_NAN, unit=unit, description=description, role=role, band_names=tuple(bands)
    )
    return spec, values if values.ndim == 3 else values[None]


def _flags(outlier: NDArray[np.bool_], valid: NDArray[np.bool_]) -> list[Layer]:
    return [(_OUTLIER, outlier[None].astype(np.uint8)), (VALID, valid[None].astype(np.uint8))]


def motion_layers(series: MotionSeries) -> list[Layer]:
    """Return velocity, its error and everything else of a series; millimetres, positive towards the satellite."""
    rate, rate_error = series.parameter("rate")
    dates = [str(date) for date in series.network.dates]
    layers = [
        _numbers("value", "mm/yr", "velocity towards the satellite", rate * _MM, "value"),
        _numbers("uncertainty", "mm/yr", "one standard deviation of the velocity", rate_error * _MM, "uncertainty"),
        _numbers("displacement", "mm", "towards the satellite since the first date", series.displacement_m * _MM,
                 bands=dates),
        _numbers("displacement_uncertainty", "mm", "one standard deviation of the displacement",
                 series.displacement_deviation_m * _MM, bands=dates),
    ]  # fmt: skip
    for name, unit in zip(series.names, series.units, strict=True):
        if name == "rate":
            continue
        value, error = series.parameter(name)
        factor, shown = (1.0, unit) if name == "dem_error" else (_MM, "m" + unit)
        about = "height of the ground above the DEM" if name == "dem_error" else f"{name} of the motion"
        layers += [
            _numbers(name, shown, about, value * factor),
            _numbers(f"{name}_uncertainty", shown, f"one standard deviation of {name}", error * factor),
        ]
    layers += [
        _numbers("temporal_coherence", "1", "agreement of interferograms and series", series.temporal_coherence),
        _numbers("acquisition_noise", "mm", "noise of single dates about the model: atmosphere, other motion",
                 series.acquisition_deviation_m * _MM),
    ]  # fmt: skip
    return layers + _flags(series.outlier, series.valid)


def height_layers(heights: HeightMap) -> list[Layer]:
    """Return height, its error and flags."""
    return [
        _numbers("value", "m", "height above the removed surface, zero at the reference", heights.height_m, "value"),
        _numbers("uncertainty", "m", "one standard deviation, phase noise only", heights.standard_deviation_m,
                 "uncertainty"),
        *_flags(heights.outlier, heights.valid),
    ]  # fmt: skip


def _median(values: NDArray[np.float64], digits: int = 4) -> float | None:
    finite = values[np.isfinite(values)]
    return round(float(np.median(finite)), digits) if finite.size else None


def motion_results(series: MotionSeries, phase: NDArray[np.float64]) -> dict[str, Any]:
    """Return figures that say how good the inversion was."""
    closures = closure_phases(phase, series.network)
    rate, error = series.parameter("rate")
    known = np.isfinite(closures.phase)
    return {
        "pairs": series.network.pairs,
        "acquisitions": series.network.acquisitions,
        "pixels": int(series.valid.sum()),
        "median_velocity_mm_per_year": _median(rate * _MM),
        "median_velocity_deviation_mm_per_year": _median(error * _MM),
        "median_unit_variance": _median(series.unit_variance),
        "median_acquisition_noise_mm": _median(series.acquisition_deviation_m * _MM),
        "median_temporal_coherence": _median(series.temporal_coherence),
        "loops": len(closures.loops),
        "closures_with_whole_cycles": round(float(np.mean(closures.cycles[known] != 0)), 6) if known.any() else None,
        "flagged": {
            name: round(float(np.mean((series.flags[series.valid] & bit) != 0)), 6) if series.valid.any() else None
            for name, bit in (("closure", CLOSURE), ("poor_fit", POOR_FIT), ("low_coherence", LOW_COHERENCE))
        },
    }


def height_results(heights: HeightMap, geometry: RadarGeometry, baselines_m: NDArray[np.float64]) -> dict[str, Any]:
    """Return figures that say how good the heights are."""
    relative = relative_height_error(heights.standard_deviation_m) if heights.valid.any() else None
    ambiguity = np.array([float(np.mean(geometry.height_of_ambiguity(baseline))) for baseline in baselines_m])
    return {
        "pairs": int(baselines_m.size),
        "pixels": int(heights.valid.sum()),
        "heights_of_ambiguity_m": [round(float(value), 3) for value in ambiguity],
        "relative_height_error_90_m": None if relative is None else round(float(np.asarray(relative)), 4),
    }
