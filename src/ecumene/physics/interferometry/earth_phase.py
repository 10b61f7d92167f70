"""Phase of the curved Earth and of its topography, from the positions of two satellites.

All in the zero-Doppler plane over a spherical Earth: the first sensor is at radius `orbit_radius_m`, the
second is displaced by `(horizontal, vertical)` metres, horizontal towards the side that the radar looks to.
The difference of the two ranges is computed without subtracting large numbers, so that it holds to
micrometres at a range of a million metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.interferometry.geometry import EARTH_RADIUS_M, RadarGeometry


@dataclass(frozen=True)
class OrbitPair:
    """Two sensor positions in the plane across the track.

    Attributes:
        orbit_radius_m: Distance of the first sensor from the Earth's centre, metres.
        horizontal_m: Position of the second sensor, towards the look side, metres; a number or one a row.
        vertical_m: Position of the second sensor, upwards, metres; a number or one a row.
        earth_radius_m: Radius of the sphere that heights count from, metres.
    """

    orbit_radius_m: float
    horizontal_m: float | NDArray[np.float64]
    vertical_m: float | NDArray[np.float64]
    earth_radius_m: float = EARTH_RADIUS_M

    def look_angle(self, slant_range_m: ArrayLike, height_m: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Angle at the sensor between nadir and the line of sight, radians.

        Raises:
            ConfigurationError: If the sphere of some height cannot be met at that range.
        """
        distance = np.asarray(slant_range_m, np.float64)
        ground = self.earth_radius_m + np.asarray(height_m, np.float64)
        cosine = (self.orbit_radius_m**2 + distance**2 - ground**2) / (2.0 * self.orbit_radius_m * distance)
        if (np.abs(cosine) > 1.0).any():
            raise ConfigurationError(
                "No ground of that height lies at that slant range; check orbit radius and slant range (metres)."
            )
        return np.asarray(np.arccos(cosine))

    def incidence_deg(self, slant_range_m: ArrayLike, height_m: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Angle at the ground between the vertical and the line of sight, degrees (law of sines)."""
        look = self.look_angle(slant_range_m, height_m)
        ground = self.earth_radius_m + np.asarray(height_m, np.float64)
        return np.asarray(np.degrees(np.arcsin(np.sin(look) * self.orbit_radius_m / ground)))

    def perpendicular_baseline(self, slant_range_m: ArrayLike, height_m: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Baseline across the line of sight, positive towards larger look angles, metres."""
        look = self.look_angle(slant_range_m, height_m)
        return np.asarray(self.horizontal_m * np.cos(look) + self.vertical_m * np.sin(look))

    def range_difference(self, slant_range_m: ArrayLike, height_m: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Range of the second sensor minus that of the first, metres."""
        distance = np.asarray(slant_range_m, np.float64)
        look = self.look_angle(distance, height_m)
        across, along = np.sin(look), -np.cos(look)  # unit line of sight: look side, up
        squared = np.square(self.horizontal_m) + np.square(self.vertical_m)
        change = squared - 2.0 * distance * (self.horizontal_m * across + self.vertical_m * along)
        # sqrt(r^2 + c) - r without cancellation
        return np.asarray(change / (np.sqrt(distance**2 + change) + distance))


def flat_earth_phase(geometry: RadarGeometry, orbits: OrbitPair, slant_range_m: ArrayLike) -> NDArray[np.float64]:
    """Return the phase of the reference sphere, radians (unwrapped).

    Args:
        geometry: Wavelength, passes and sign.
        orbits: Positions of the two sensors.
        slant_range_m: Slant range of every pixel of the first image, metres.
    """
    return np.asarray(geometry.phase_per_metre * orbits.range_difference(slant_range_m))


def topographic_phase(
    geometry: RadarGeometry, orbits: OrbitPair, slant_range_m: ArrayLike, height_m: ArrayLike
) -> NDArray[np.float64]:
    """Return the phase of terrain above the reference sphere, radians (unwrapped), without the flat Earth's.

    Exact in the geometry of `OrbitPair`; its derivative at the ground is `RadarGeometry.height_rate`.

    Args:
        geometry: Wavelength, passes and sign.
        orbits: Positions of the two sensors.
        slant_range_m: Slant range of every pixel of the first image, metres.
        height_m: Height of the DEM at every pixel, in radar geometry, metres.
    """
    with_height = orbits.range_difference(slant_range_m, height_m)
    return np.asarray(geometry.phase_per_metre * (with_height - orbits.range_difference(slant_range_m)))


def remove_phase(interferogram: NDArray[np.complexfloating], phase: ArrayLike) -> NDArray[np.complexfloating]:
    """Return the interferogram turned back by a modelled phase (flat Earth, topography), same type and shape."""
    turned = interferogram * np.exp(-1j * np.asarray(phase, np.float64))
    return np.asarray(turned, dtype=interferogram.dtype)
