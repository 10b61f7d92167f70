"""Radar constants of interferograms, and what a phase means in metres.

Conventions of this room, for an interferogram `first * conj(second)`:

- phase = 2 pi passes / wavelength * (range_second - range_first): growing distance gives growing phase;
- perpendicular baseline `B = b_second - b_first`, positive towards larger look angles, so that

      phase = (2 pi passes / wavelength) * (d - B h / (slant_range sin(incidence)))

  with `d` the motion away from the satellite and `h` the height above the reference surface (Bamler and
  Hartl, "Synthetic aperture radar interferometry", Inverse Problems 14, 1998, section 3; Hanssen, "Radar
  Interferometry", 2001, eq. 2.4.12, with the incidence angle at the ground in place of the look angle at the
  satellite, which is exact on a curved Earth). `sign = -1` turns both terms round for processors that
  deliver the conjugate. Displacements that users meet are positive *towards* the satellite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError

SPEED_OF_LIGHT = 299_792_458.0
"""Metres a second (exact)."""
DAYS_PER_YEAR = 365.25
"""Days of a Julian year, the unit of all rates."""
EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth, metres (IUGG R1 of GRS80)."""


@dataclass(frozen=True)
class RadarGeometry:
    """Wavelength and viewing geometry of a set of interferograms.

    Attributes:
        wavelength_m: Radar wavelength, metres.
        slant_range_m: Distance from sensor to scene, metres; a number or an array of the image's shape.
        incidence_deg: Incidence angle at the ground, degrees, 0 < incidence < 90; a number or an array.
        passes: 2 where every acquisition transmits for itself (repeat pass), 1 with a common transmitter
            (bistatic TanDEM-X).
        sign: +1 for the convention of this module, -1 where a processor delivers the conjugate.
    """

    wavelength_m: float
    slant_range_m: float | NDArray[np.float64]
    incidence_deg: float | NDArray[np.float64]
    passes: int = 2
    sign: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be a radar."""
        if not (np.isfinite(self.wavelength_m) and 0 < self.wavelength_m < 10):
            raise ConfigurationError(
                f"The wavelength must be a positive number of metres below 10, not {self.wavelength_m}; "
                "for Sentinel-1 give 0.05546576."
            )
        distance = np.asarray(self.slant_range_m, np.float64)
        if not (distance > 0).all():
            raise ConfigurationError("The slant range must be a positive number of metres everywhere.")
        angle = np.asarray(self.incidence_deg, np.float64)
        if not ((angle > 0) & (angle < 90)).all():
            raise ConfigurationError("The incidence angle must lie between 0 and 90 degrees everywhere.")
        if self.passes not in (1, 2):
            raise ConfigurationError(f"passes must be 2 (repeat pass) or 1 (bistatic), not {self.passes}.")
        if self.sign not in (-1, 1):
            raise ConfigurationError(f"The phase sign must be 1 or -1, not {self.sign}.")

    @property
    def phase_per_metre(self) -> float:
        """Radians of phase for one metre of motion away from the satellite."""
        return self.sign * 2.0 * np.pi * self.passes / self.wavelength_m

    def height_rate(self, baseline_m: ArrayLike) -> NDArray[np.float64]:
        """Radians of phase for one metre of height.

        Args:
            baseline_m: Perpendicular baselines, metres; broadcast against the geometry.
        """
        baseline = np.asarray(baseline_m, np.float64)
        lever = np.asarray(self.slant_range_m) * np.sin(np.radians(self.incidence_deg))
        return np.asarray(-self.phase_per_metre * baseline / lever)

    def height_of_ambiguity(self, baseline_m: ArrayLike) -> NDArray[np.float64]:
        """Height that turns the phase by one cycle, metres, positive; infinite for a zero baseline."""
        with np.errstate(divide="ignore"):
            return np.asarray(2.0 * np.pi / np.abs(self.height_rate(baseline_m)))

    def displacement(self, phase: ArrayLike) -> NDArray[np.float64]:
        """Motion towards the satellite, metres, from unwrapped phase, radians."""
        return np.asarray(-np.asarray(phase) / self.phase_per_metre)


def wavelength_of(frequency_hz: float) -> float:
    """Return the wavelength, metres, of a carrier frequency, hertz."""
    if not (np.isfinite(frequency_hz) and frequency_hz > 0):
        raise ConfigurationError(f"The radar frequency must be a positive number of hertz, not {frequency_hz}.")
    return SPEED_OF_LIGHT / frequency_hz


def slant_range_of(
    incidence_deg: ArrayLike,
    orbit_height_m: float,
    terrain_height_m: ArrayLike = 0.0,
    earth_radius_m: float = EARTH_RADIUS_M,
) -> NDArray[np.float64]:
    """Return the slant range for an incidence angle on a spherical Earth.

    Law of cosines in the triangle satellite, Earth's centre, ground point:
    `(R + H)^2 = (R + h)^2 + r^2 + 2 (R + h) r cos(incidence)`.

    Args:
        incidence_deg: Incidence angle at the ground, degrees.
        orbit_height_m: Height of the orbit over the sphere, metres (Sentinel-1: 693 km).
        terrain_height_m: Height of the ground, metres.
        earth_radius_m: Radius of the sphere, metres.

    Returns:
        Slant range, metres.

    Raises:
        ConfigurationError: If the orbit is not above the ground or an angle is not between 0 and 90 degrees.
    """
    angle = np.asarray(incidence_deg, np.float64)
    ground = earth_radius_m + np.asarray(terrain_height_m, np.float64)
    orbit = earth_radius_m + orbit_height_m
    if not ((angle > 0) & (angle < 90)).all():
        raise ConfigurationError("The incidence angle must lie between 0 and 90 degrees everywhere.")
    if not (orbit > ground).all():
        raise ConfigurationError(f"An orbit of {orbit_height_m:g} m lies below the ground; give its height in metres.")
    cosine = np.cos(np.radians(angle))
    return np.asarray(-ground * cosine + np.sqrt((ground * cosine) ** 2 + orbit**2 - ground**2))
