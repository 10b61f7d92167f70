"""Where the sun stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class Sun:
    """Position of the sun.

    Attributes:
        zenith: Angle from the vertical, degrees.
        azimuth: Direction towards the sun, degrees clockwise from north.
    """

    zenith: float
    azimuth: float

    @property
    def cosine(self) -> float:
        """Cosine of the zenith angle."""
        return float(np.cos(np.radians(self.zenith)))


def parse_date(date: str | np.datetime64) -> np.datetime64:
    """Return a date with a resolution of one day.

    Raises:
        ConfigurationError: If the text is no ISO 8601 date.
    """
    try:
        day = np.datetime64(str(date), "D")
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{date!r} is no date; write it as YYYY-MM-DD.") from error
    if np.isnat(day):
        raise ConfigurationError("The date is missing; write it as YYYY-MM-DD.")
    return day


def year_of(date: np.datetime64) -> int:
    """Return the calendar year of a date."""
    return int(date.astype("datetime64[Y]").astype(int)) + 1970


def day_of_year(date: np.datetime64) -> int:
    """Return the day of the year, 1 to 366."""
    return int((date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) + 1


def sun_position(date: np.datetime64, latitude: float, *, local_solar_hour: float = 10.5) -> Sun:
    """Return the sun's position at a local solar time.

    Declination from the Fourier series of Spencer (1971), accurate to 0.04 degrees. The default hour is
    the mean local solar time of Sentinel-2's descending node, 10:30.

    Args:
        date: Day.
        latitude: Degrees north.
        local_solar_hour: Apparent solar time in hours; 12 is noon.

    Raises:
        ConfigurationError: If the sun is lower than 10 degrees, where the simulator's optics do not hold.
    """
    gamma = 2.0 * np.pi * (day_of_year(date) - 1) / 365.0
    declination = (
        0.006918
        - 0.399912 * np.cos(gamma)
        + 0.070257 * np.sin(gamma)
        - 0.006758 * np.cos(2 * gamma)
        + 0.000907 * np.sin(2 * gamma)
        - 0.002697 * np.cos(3 * gamma)
        + 0.00148 * np.sin(3 * gamma)
    )
    hour_angle = np.radians(15.0 * (local_solar_hour - 12.0))
    phi = np.radians(latitude)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.sin(declination) * np.cos(phi) - np.cos(declination) * np.cos(hour_angle) * np.sin(phi)
    up = np.sin(declination) * np.sin(phi) + np.cos(declination) * np.cos(hour_angle) * np.cos(phi)
    zenith = float(np.degrees(np.arccos(np.clip(up, -1.0, 1.0))))
    if zenith > 80.0:
        raise ConfigurationError(
            f"The sun stands {90 - zenith:.0f} degrees high on {date} at latitude {latitude:.0f}; "
            "choose a date on which it is higher than 10 degrees."
        )
    return Sun(zenith, float(np.degrees(np.arctan2(east, north)) % 360.0))
