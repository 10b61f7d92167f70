"""Seasons: how much green, dry and flowering plant area each kind of vegetation carries on a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.simulate.cover import Material

EXTINCTION = 0.5
"""Extinction coefficient of a canopy with leaves in all directions (Monsi and Saeki 1953)."""


@dataclass(frozen=True)
class Season:
    """A year of leaf area: double logistic (Zhang et al. 2003, MODIS phenology).

    Attributes:
        low: Leaf area index outside of the season, m2/m2.
        high: Leaf area index at its height.
        rise: Day of the year of the steepest rise.
        fall: Day of the steepest fall.
        rise_days: Time constant of the rise.
        fall_days: Time constant of the fall.
        litter: Cover of dry plant matter below and after the canopy, 0..1.
        jitter_days: Standard deviation between objects.
        flowers: Day of full bloom, if it colours the canopy.
    """

    low: float
    high: float
    rise: float
    fall: float
    rise_days: float
    fall_days: float
    litter: float
    jitter_days: float
    flowers: float | None = None


SEASONS: dict[Material, Season] = {
    Material.BROADLEAF: Season(0.7, 4.8, 112, 295, 7, 9, 0.75, 4),
    Material.CONIFER: Season(4.0, 4.8, 130, 280, 15, 15, 0.5, 4),
    Material.GRASS: Season(1.1, 2.9, 95, 300, 12, 18, 0.9, 10),
    Material.WINTER_CEREAL: Season(0.05, 4.6, 92, 184, 12, 7, 0.75, 7),
    Material.MAIZE: Season(0.02, 4.4, 170, 265, 8, 9, 0.25, 9),
    Material.RAPESEED: Season(0.05, 4.5, 84, 178, 10, 8, 0.75, 6, 124),
    Material.ROOT_CROP: Season(0.02, 4.2, 158, 285, 9, 5, 0.10, 9),
}
"""Typical of a temperate climate at 47 degrees; days for the northern hemisphere. The thin green of winter crops
between sowing and spring is not simulated."""

_MOWN = (Material.GRASS,)


def leaf_area(material: Material, day: float, shift: NDArray, vigour: NDArray) -> NDArray[np.float32]:
    """Return the green leaf area index on a day.

    Args:
        material: A kind of vegetation.
        day: Day of the year of the northern hemisphere.
        shift: Standard normal number of the object: early or late.
        vigour: Factor on the leaf area, about 1.

    Returns:
        float32 leaf area index, m2/m2, of the shape of `shift`.
    """
    season = SEASONS[material]
    late = shift * season.jitter_days

    up = 1.0 / (1.0 + np.exp(-(day - season.rise - late) / season.rise_days))
    down = 1.0 / (1.0 + np.exp((day - season.fall - late) / season.fall_days))
    green = up * down
    area = season.low + (season.high - season.low) * green
    if material in _MOWN:
        # Each meadow is mown every six to nine weeks, at its own time, and grows back in four.
        period = 52.0 + 8.0 * np.tanh(shift)
        since = np.mod(day + 97.0 * shift, period)
        area = np.where(green > 0.5, area * np.clip(0.4 + since / 30.0, 0.4, 1.0), area)
    return np.asarray(area * vigour, np.float32)


def bloom(material: Material, day: float, shift: NDArray) -> NDArray[np.float32]:
    """Return the share of the canopy that flowers cover, 0..1."""
    season = SEASONS[material]
    if season.flowers is None:
        return np.zeros(shift.shape, np.float32)
    return (0.6 * np.exp(-0.5 * ((day - season.flowers - 3.0 * shift) / 8.0) ** 2)).astype(np.float32)


def green_cover(area: NDArray) -> NDArray[np.float32]:
    """Return the share of the ground that leaves hide from above: Beer's law, 0..1."""
    return (1.0 - np.exp(-EXTINCTION * area)).astype(np.float32)
