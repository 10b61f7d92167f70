"""From the ground to end-member fractions: what each 10 m pixel reflects, lit and in the shade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.simulate.city import CELL_M, FACTOR, City
from ecumene.simulate.countryside import Ground
from ecumene.simulate.cover import VEGETATION, Material
from ecumene.simulate.noise import generator, normal_of, uniform_of
from ecumene.simulate.phenology import SEASONS, bloom, green_cover, leaf_area
from ecumene.simulate.shadows import cast_shadow
from ecumene.simulate.spectra import END_MEMBERS, LOOKS
from ecumene.simulate.sun import Sun, day_of_year
from ecumene.simulate.surface_kernels import add_cells

STRIP = 32
"""Rows of pixels that are mixed at a time, so that their cells stay in the cache."""
_INDEX = {name: number for number, name in enumerate(END_MEMBERS)}


@dataclass(frozen=True)
class Fractions:
    """Brightness-weighted end-member fractions, float32 `[end-members, H, W]` on the 10 m grid.

    Attributes:
        lit: Of the cells in the sun.
        shaded: Of the cells in the shadow of buildings and trees.
    """

    lit: NDArray[np.float32]
    shaded: NDArray[np.float32]


def season_day(city: City, date: np.datetime64) -> float:
    """Return the day of the year, half a year later in the southern hemisphere."""
    return float((day_of_year(date) + (0 if city.latitude >= 0 else 182)) % 365)


def _members() -> NDArray[np.int64]:
    """Return the end-members of each material, `[materials, PARTS]`: its pair, flowers, dry plants and soils."""
    rest = ("petals", "dry plants", "soil dark", "soil bright")
    return np.array([[_INDEX[name] for name in (*LOOKS[kind].pair, *rest)] for kind in Material], np.int64)


def mix_surface(city: City, ground: Ground, date: np.datetime64, sun: Sun) -> Fractions:
    """Return what each pixel is made of on a date.

    Canopies hide the ground by Beer's law; below them, and on harvested fields, lie soil and dry plants.
    The soil of a field is moister on some dates than on others.

    Args:
        city: The town.
        ground: Its surface in the year of the date.
        date: Day.
        sun: Position of the sun.
    """
    shaded = cast_shadow(ground.height, CELL_M, sun)
    things, texture = ground.objects, city.texture
    spread, grain = np.empty(things.key.size, np.float32), np.empty(things.key.size, np.float32)
    between, table = np.empty(things.key.size), np.empty((things.key.size, 4), np.float32)
    day = season_day(city, date)
    wetness = float(generator(city.seed, 22, int(date.astype(np.int64))).uniform(0.0, 0.45))
    for kind in Material:
        which = np.flatnonzero(things.material == kind)
        if which.size:
            spread[which] = LOOKS[kind].spread * normal_of(things.key[which], 102)
            grain[which] = LOOKS[kind].texture
            between[which] = _between(kind, things.key[which], day, wetness)
            if kind in VEGETATION:
                table[which] = _plants(kind, things.key[which], day, wetness)
            else:
                table[which] = (1.0, 0.0, 0.0, 0.0)
    rows, cols = ground.material.shape[0] // FACTOR, ground.material.shape[1] // FACTOR
    fractions = np.empty((len(END_MEMBERS), 2, rows, cols), np.float32)
    members = _members()
    for first in range(0, rows, STRIP):
        cells = slice(first * FACTOR, (first + STRIP) * FACTOR)
        number = things.number[cells]
        bright = np.exp(spread[number] + grain[number] * texture[cells])
        target = fractions[:, :, first : first + STRIP]
        facts = things.material, between, table, members, int(Material.WATER)
        add_cells(bright, number, shaded[cells], *facts, FACTOR, target)
    return Fractions(fractions[:, 0], fractions[:, 1])


def _between(kind: Material, key: NDArray, day: float, wetness: float) -> NDArray:
    """Return where objects lie between the two end-members of their material, 0..1, `[objects]`."""
    part = 0.5 + LOOKS[kind].variety * (uniform_of(key, 101) - 0.5)
    if kind == Material.SOIL:
        part = part * (1.0 - wetness)
    if kind == Material.WATER:
        part = np.clip(part + 0.1 * np.sin(day / 58.0), 0.0, 1.0)
    return part


def _plants(kind: Material, key: NDArray, day: float, wetness: float) -> NDArray[np.float32]:
    """Return cover of leaves and of flowers, litter below, and brightness of the soil, `[objects, 4]`."""
    shift = normal_of(key, 103)
    cover = green_cover(leaf_area(kind, day, shift, np.exp(0.12 * normal_of(key, 104))))
    flowers = cover * bloom(kind, day, shift)
    litter = np.clip(SEASONS[kind].litter + 0.2 * normal_of(key, 105), 0.0, 1.0)
    soil = uniform_of(key, 106) * (1.0 - wetness)
    return np.stack((cover, flowers, litter, soil), axis=1)
