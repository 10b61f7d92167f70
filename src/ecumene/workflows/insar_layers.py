"""The layers of products of interferometry, and the figures that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.height import HeightMap, relative_height_error
from ecumene.physics.interferometry.network import closure_phases
from ecumene.physics.interferometry.sbas import CLOSURE, LOW_COHERENCE, POOR_FIT, MotionSeries
from ecumene.workflows.number_layers import Layer, flag_layers, number_layer

_MM = 1e3
_OUTLIER = "1 where the phases contradict each other or the model; the value must not be trusted"


def motion_layers(series: MotionSeries) -> list[Layer]:
    """Return velocity, its error and everything else of a series; millimetres, positive towards the satellite."""
    rate, rate_error = series.parameter("rate")
    dates = [str(date) for date in series.network.dates]
    layers = [
        number_layer("value", "mm/yr", "velocity towards the satellite", rate * _MM, "value"),
        number_layer("uncertainty", "mm/yr", "one standard deviation of the velocity", rate_error * _MM, "uncertainty"),
        number_layer(
            "displacement", "mm", "towards the satellite since the first date", series.displacement_m * _MM, bands=dates
        ),
        number_layer(
            "displacement_uncertainty",
            "mm",
            "one standard deviation of the displacement",
            series.displacement_deviation_m * _MM,
            bands=dates,
        ),
    ]
    for name, unit in zip(series.names, series.units, strict=True):
        if name == "rate":
            continue
        value, error = series.parameter(name)
        factor, shown = (1.0, unit) if name == "dem_error" else (_MM, "m" + unit)
        about = "height of the ground above the DEM" if name == "dem_error" else f"{name} of the motion"
        layers += [
            number_layer(name, shown, about, value * factor),
            number_layer(f"{name}_uncertainty", shown, f"one standard deviation of {name}", error * factor),
        ]
    layers += [
        number_layer("temporal_coherence", "1", "agreement of interferograms and series", series.temporal_coherence),
        number_layer(
            "acquisition_noise",
            "mm",
            "noise of single dates about the model: atmosphere, other motion",
            series.acquisition_deviation_m * _MM,
        ),
    ]
    return layers + flag_layers(series.outlier, series.valid, _OUTLIER)


def height_layers(heights: HeightMap) -> list[Layer]:
    """Return height, its error and flags."""
    height, error = heights.height_m, heights.standard_deviation_m
    return [
        number_layer("value", "m", "height above the removed surface, zero at the reference", height, "value"),
        number_layer("uncertainty", "m", "one standard deviation, phase noise only", error, "uncertainty"),
        *flag_layers(heights.outlier, heights.valid, _OUTLIER),
    ]


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
