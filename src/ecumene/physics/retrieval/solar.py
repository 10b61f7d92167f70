"""Sunlight at the top of the atmosphere, and radiances as reflectances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError

_EFFECTIVE_TEMPERATURE_K = 5772.0  # IAU 2015 resolution B3
_SOLID_ANGLE_SR = 6.7942e-5  # of the Sun at 1 au, pi (695,700 km / 149,597,871 km)^2
_PLANCK_1 = 1.191042972e8  # 2 h c^2, W um^4 m^-2 sr^-1
_PLANCK_2 = 1.438776877e4  # h c / k, um K

RADIANCE_FACTOR = {
    "W m-2 sr-1 um-1": 1.0,
    "W m-2 sr-1 nm-1": 1e3,
    "W m-2 um-1 sr-1": 1.0,
    "W m-2 nm-1 sr-1": 1e3,
    "mW m-2 sr-1 nm-1": 1.0,
    "uW cm-2 nm-1 sr-1": 10.0,
    "uW cm-2 sr-1 nm-1": 10.0,
}
"""Factors to W m-2 sr-1 um-1 of the units in which radiances come."""


def solar_irradiance(wavelength_um: ArrayLike) -> NDArray[np.float64]:
    """Return the Sun's spectral irradiance at 1 au, W m-2 um-1, as that of a black body of 5772 K.

    Its integral is the solar constant, 1361 W m-2; the shape follows measured spectra within about 5 % from 0.5 to 2.5
    micrometres at 10 nm resolution, smooth but for Fraunhofer lines of 1 to 2 %. In retrievals that fit the
    surface by a polynomial the smooth part ends in the surface and the lines are noise.
    """
    wave = np.asarray(wavelength_um, np.float64)
    radiance = _PLANCK_1 / (wave**5 * np.expm1(_PLANCK_2 / (wave * _EFFECTIVE_TEMPERATURE_K)))
    return np.asarray(radiance * _SOLID_ANGLE_SR)


def radiance_to_reflectance(
    radiance: NDArray[Any], wavelength_um: ArrayLike, sun_zenith_deg: float, *, distance_au: float = 1.0
) -> NDArray[np.float64]:
    """Return reflectance at the top of the atmosphere, `pi L d^2 / (E0 cos(sun zenith))`.

    Args:
        radiance: `[..., M]`, W m-2 sr-1 um-1.
        wavelength_um: Centre wavelengths `[M]`.
        sun_zenith_deg: Below 90.
        distance_au: Of Earth and Sun.

    Raises:
        ConfigurationError: If the Sun is not above the horizon, or the distance not positive.
    """
    if not 0.0 <= sun_zenith_deg < 90.0 or not distance_au > 0.0:
        raise ConfigurationError("Reflectance needs a sun zenith angle in [0, 90) degrees and a positive distance.")
    level = solar_irradiance(wavelength_um) * math.cos(math.radians(sun_zenith_deg))
    return np.asarray(math.pi * distance_au**2 * np.asarray(radiance, np.float64) / level)
