"""Surface reflectance of older Landsat sensors brought to that of OLI, so that decades make one series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class BandLine:
    """OLI = slope x + intercept.

    Attributes:
        slope: Factor.
        intercept: Reflectance, 0..1.
    """

    slope: float
    intercept: float


ETM_TO_OLI: Mapping[str, BandLine] = {
    "blue": BandLine(0.8474, 0.0003),
    "green": BandLine(0.8483, 0.0088),
    "red": BandLine(0.9047, 0.0061),
    "nir": BandLine(0.8462, 0.0412),
    "swir16": BandLine(0.8937, 0.0254),
    "swir22": BandLine(0.9071, 0.0172),
}
"""Ordinary least squares of surface reflectance, by STAC's common names (Roy et al. 2016, doi
10.1016/j.rse.2015.12.024, from 59 million pairs of observations one day apart over the United States)."""

SENSORS: Mapping[str, Mapping[str, BandLine] | None] = {
    "landsat-5": ETM_TO_OLI,
    "landsat-7": ETM_TO_OLI,
    "landsat-8": None,
}
"""Lines by sensor. TM of Landsat 5 takes those of ETM+, whose bands are nearly the same; the paper has none of its own
for it."""


def harmonise_reflectance(reflectance: Any, bands: Sequence[str], sensor: str) -> NDArray[np.float32]:
    """Return surface reflectance as OLI would have measured it.

    Args:
        reflectance: `[B, *space]` surface reflectance, 0..1 (not scaled numbers); NaN: missing.
        bands: Common name of each band: blue, green, red, nir, swir16, swir22.
        sensor: `landsat-5`, `landsat-7` or `landsat-8` (which stays as it is).

    Returns:
        float32, same shape.

    Raises:
        ConfigurationError: If sensor or band have no line, or values are no reflectance.
    """
    if sensor not in SENSORS:
        raise ConfigurationError(
            f"There is no line from {sensor!r} to Landsat 8; harmonise one of {', '.join(sorted(SENSORS))}."
        )
    given = np.asarray(reflectance, np.float32)
    if given.ndim < 1 or len(given) != len(bands):
        raise ConfigurationError(
            f"There are {len(bands)} names for {len(given) if given.ndim else 0} bands; name each."
        )
    if unknown := sorted(set(bands) - set(ETM_TO_OLI)):
        raise ConfigurationError(f"The band {unknown[0]!r} cannot be harmonised; use {', '.join(ETM_TO_OLI)}.")
    if np.isfinite(given).any() and float(np.nanmax(np.abs(given))) > 10.0:
        raise ConfigurationError("Values above 10 are no reflectance; apply the product's scale and offset first.")
    lines = SENSORS[sensor]
    if lines is None:
        return given.copy()
    tail = (1,) * (given.ndim - 1)
    slope, intercept = (
        np.array([getattr(lines[band], key) for band in bands], np.float32).reshape(-1, *tail)
        for key in ("slope", "intercept")
    )
    return np.asarray(slope * given + intercept, np.float32)
