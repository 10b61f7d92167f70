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


class _Mixer:
    """Adds weights of end-members, cell by cell, into pixels."""

    def __init__(self, shape: tuple[int, int], shaded: NDArray[np.bool_]) -> None:
        fine_rows, fine_cols = shape
        self.rows, self.cols = fine_rows // FACTOR, fine_cols // FACTOR
        row = np.arange(fine_rows, dtype=np.int64) // FACTOR
        col = np.arange(fine_cols, dtype=np.int64) // FACTOR
        pixel = (row[:, None] * self.cols + col[None, :]).ravel()
        self.slot = pixel + shaded.ravel() * (self.rows * self.cols)
        self.total = np.zeros((len(END_MEMBERS), 2 * self.rows * self.cols))

    def add(self, name: str, cells: NDArray, weight: NDArray) -> None:
        """Add `weight` of an end-member for the flat cell numbers."""
        self.total[_INDEX[name]] += np.bincount(self.slot[cells], weights=weight, minlength=self.total.shape[1])

    def fractions(self) -> Fractions:
        """Return the fractions of the pixels."""
        parts = (self.total / FACTOR**2).astype(np.float32).reshape(-1, 2, self.rows, self.cols)
        return Fractions(parts[:, 0], parts[:, 1])


def _texture(city: City, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return standard normal brightness of cells, fixed in time: the ground does not flicker between dates."""
    return generator(city.seed, 21).standard_normal(shape, dtype=np.float32)


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
    mixer = _Mixer(ground.material.shape, shaded)
    material, keys = ground.material.ravel(), ground.key.ravel()
    texture = _texture(city, ground.material.shape).ravel()
    day = season_day(city, date)
    wetness = float(generator(city.seed, 22, int(date.astype(np.int64))).uniform(0.0, 0.45))
    for kind in Material:
        cells = np.flatnonzero(material == kind)
        if cells.size == 0:
            continue
        look, key = LOOKS[kind], keys[cells]
        part = 0.5 + look.variety * (uniform_of(key, 101) - 0.5)
        bright = np.exp(look.spread * normal_of(key, 102) + look.texture * texture[cells])
        first, second = look.pair
        if kind in VEGETATION:
            _add_vegetation(mixer, kind, cells, key, bright, part, day, wetness)
            continue
        if kind == Material.SOIL:
            part = part * (1.0 - wetness)
        if kind == Material.WATER:
            part = np.clip(part + 0.1 * np.sin(day / 58.0), 0.0, 1.0)
        mixer.add(first, cells, bright * (1.0 - part))
        mixer.add(second, cells, bright * part)
    return mixer.fractions()


def _add_vegetation(
    mixer: _Mixer,
    kind: Material,
    cells: NDArray,
    key: NDArray,
    bright: NDArray,
    part: NDArray,
    day: float,
    wetness: float,
) -> None:
    """Add canopy, flowers, litter and soil of the cells of one kind of vegetation."""
    first, second = LOOKS[kind].pair
    shift = normal_of(key, 103)
    cover = green_cover(leaf_area(kind, day, shift, np.exp(0.12 * normal_of(key, 104))))
    flowers = cover * bloom(kind, day, shift)
    leaves = bright * (cover - flowers)
    below = bright * (1.0 - cover)
    litter = np.clip(SEASONS[kind].litter + 0.2 * normal_of(key, 105), 0.0, 1.0)
    soil = uniform_of(key, 106) * (1.0 - wetness)
    mixer.add(first, cells, leaves * (1.0 - part))
    mixer.add(second, cells, leaves * part)
    mixer.add("petals", cells, bright * flowers)
    mixer.add("dry plants", cells, below * litter)
    mixer.add("soil dark", cells, below * (1.0 - litter) * (1.0 - soil))
    mixer.add("soil bright", cells, below * (1.0 - litter) * soil)
