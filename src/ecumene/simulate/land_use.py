"""Land uses of which landscapes are made: each is a recipe from a position in a zone to what lies there.

Where `buildings` and `countryside` grow a town from one seed, a recipe fills a zone of any shape with one use, so
that a data set can have as many zones of a kind as it needs. Recipes are functions of the position in the zone and of
hashes of its objects; towns borrow the patterns of `buildings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ecumene.simulate import buildings
from ecumene.simulate.buildings import Built
from ecumene.simulate.cover import CROPS, Cover, Material
from ecumene.simulate.noise import Keys, keys_of, uniform_of
from ecumene.simulate.streets import Frame, lattice

M = Material
Range = tuple[float, float]


class Use(IntEnum):
    """What a zone is used for."""

    ANNUAL_CROP = 0
    PERMANENT_CROP = 1
    PASTURE = 2
    HERBACEOUS = 3
    SHRUB = 4
    SCATTERED_TREES = 5
    BROADLEAF_FOREST = 6
    CONIFER_FOREST = 7
    MIXED_FOREST = 8
    WATER = 9
    WETLAND = 10
    BARE_SOIL = 11
    ROCK_OR_PAVED = 12
    COMPACT_HIGH_RISE = 13
    COMPACT_MID_RISE = 14
    COMPACT_LOW_RISE = 15
    OPEN_HIGH_RISE = 16
    OPEN_MID_RISE = 17
    OPEN_LOW_RISE = 18
    LIGHTWEIGHT = 19
    LARGE_LOW_RISE = 20
    SPARSELY_BUILT = 21
    HEAVY_INDUSTRY = 22


@dataclass(frozen=True)
class Place:
    """The cells of one use, as flat arrays.

    Attributes:
        x: Metres east, gently warped where the zone has grown without a plan.
        y: Metres south, likewise.
        zone: Number of the cell's zone.
        angle: Direction of the zone's lattice, radians.
        fine: Texture of single cells, uniform in 0..1.
        broad: Standard normal field of some 100 m.
        salt: Of the landscape, so that two landscapes have different objects.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    zone: NDArray[np.intp]
    angle: NDArray[np.float32]
    fine: NDArray[np.float32]
    broad: NDArray[np.float32]
    salt: int

    def draws(self, number: int) -> NDArray[np.float32]:
        """Return a uniform number 0..1 of each cell's zone."""
        table = uniform_of(keys_of(np.arange(int(self.zone.max()) + 1), self.salt), number)
        return table[self.zone]

    def frame(self, along: Range, across: Range, merge: float = 0.25) -> Frame:
        """Return blocks whose sides are drawn for each zone from these ranges, metres."""
        step_u = _between(self.draws(11), *along)
        step_v = _between(self.draws(12), *across)
        return lattice(self.x, self.y, self.zone, self.angle, (step_u, step_v), merge=merge, salt=self.salt)

    def key(self, *parts: NDArray | int) -> Keys:
        """Return keys of objects of this landscape."""
        return keys_of(self.zone, self.salt, *parts)


def _between(draw: NDArray, low: float, high: float) -> NDArray[np.float32]:
    return (low + (high - low) * draw).astype(np.float32)


def _open(material: NDArray, key: Keys, height: NDArray | float = 0.0) -> Built:
    """Return ground without buildings."""
    shape = material.shape
    tall = np.broadcast_to(np.asarray(height, np.float32), shape)
    none = np.zeros(shape, bool)
    return Built(none, key, material.astype(np.uint8), tall, np.zeros(shape, np.float32))


def _higher(built: Built, factor: float, low: float, high: float) -> Built:
    """Return the same buildings with other heights, metres."""
    height = np.where(built.building, np.clip(built.height * factor, low, high), built.height)
    return Built(built.building, built.key, built.material, height.astype(np.float32), built.footprint)


def annual_crop(place: Place) -> Built:
    """Return fields of one crop each, some with a hedge."""
    frame = place.frame((90.0, 320.0), (50.0, 150.0), merge=0.35)
    crop = np.array(CROPS, np.uint8)[np.searchsorted((0.38, 0.68, 0.82), uniform_of(frame.key, 84))]
    hedge = (frame.edge < 3.5) & (uniform_of(frame.key, 82) < 0.08)
    track = (frame.edge < 2.0) & ~hedge & (uniform_of(frame.key, 83) < 0.3)
    material = np.where(hedge, M.BROADLEAF, np.where(track, M.SOIL, crop))
    return _open(material, np.where(hedge, keys_of(frame.key, 87), frame.key), hedge * 5.0)


def permanent_crop(place: Place) -> Built:
    """Return vineyards and orchards: rows of plants with grass or bare ground between."""
    frame = place.frame((70.0, 200.0), (50.0, 130.0), merge=0.3)
    spacing = _between(uniform_of(frame.key, 91), 5.0, 11.0)
    lengthwise = uniform_of(frame.key, 92) < 0.5
    phase = np.mod(np.where(lengthwise, frame.v, frame.u), spacing) / spacing
    plants = (phase < _between(uniform_of(frame.key, 93), 0.35, 0.6)) & (frame.edge > 4.0) & (place.fine > 0.06)
    between = np.where(uniform_of(frame.key, 94) < 0.5, M.SOIL, M.GRASS)
    material = np.where(plants, M.BROADLEAF, np.where(frame.edge < 2.5, M.GRASS, between))
    key = np.where(plants, keys_of(frame.key, 95), frame.key)
    return _open(material, key, plants * _between(uniform_of(frame.key, 96), 1.8, 4.5))


def pasture(place: Place) -> Built:
    """Return large meadows, mown or grazed at their own times, with hedges and single trees."""
    frame = place.frame((130.0, 360.0), (90.0, 240.0), merge=0.3)
    hedge = (frame.edge < 4.0) & (uniform_of(frame.key, 82) < 0.35)
    tree = hedge | ((place.fine > 0.985) & (place.broad > 0.3))
    key = np.where(tree, keys_of(frame.key, 87), frame.key)
    return _open(np.where(tree, M.BROADLEAF, M.GRASS), key, tree * 7.0)


def _natural(place: Place, trees: NDArray | float, soil: NDArray | float, height: float) -> Built:
    """Return ground without parcels: grass with so much woody growth and bare soil, 0..1, in drifts."""
    drift = place.fine + 0.16 * place.broad
    woody = drift > 1.0 - np.asarray(trees)
    bare = ~woody & (drift < np.asarray(soil))
    material = np.where(woody, M.BROADLEAF, np.where(bare, M.SOIL, M.GRASS))
    # Grass of one kind reaches a few hundred metres, not a parcel.
    stand = np.floor(2.0 * place.broad).astype(np.int32)
    return _open(material, place.key(stand, woody.astype(np.int8), 71), woody * np.float32(height))


def herbaceous(place: Place) -> Built:
    """Return grassland that nobody mows: drifts of grass, bare soil and shrubs."""
    return _natural(place, 0.04 + 0.12 * place.draws(1), 0.08 + 0.25 * place.draws(2), 1.2)


def shrub(place: Place) -> Built:
    """Return bushes over half of dry ground."""
    return _natural(place, 0.40 + 0.25 * place.draws(1), 0.15 + 0.2 * place.draws(2), 1.8)


def scattered_trees(place: Place) -> Built:
    """Return lightly wooded grass."""
    return _natural(place, 0.18 + 0.24 * place.draws(1), 0.02, 9.0)


def _forest(place: Place, kind: NDArray | int) -> Built:
    gap = (place.fine < 0.02) & (place.broad < 0.4)
    stand = np.floor(1.5 * place.broad).astype(np.int32)
    material = np.where(gap, M.GRASS, kind)
    return _open(material, place.key(stand, material, 86), np.where(gap, 0.0, 14.0 + 9.0 * place.fine))


def broadleaf_forest(place: Place) -> Built:
    """Return broadleaf stands."""
    return _forest(place, M.BROADLEAF)


def conifer_forest(place: Place) -> Built:
    """Return conifer stands."""
    return _forest(place, M.CONIFER)


def mixed_forest(place: Place) -> Built:
    """Return stands of both kinds, side by side."""
    return _forest(place, np.where(place.broad + 1.5 * (place.fine - 0.5) > 0.0, M.CONIFER, M.BROADLEAF))


def water(place: Place) -> Built:
    """Return open water; zones differ in how turbid it is."""
    return _open(np.full(place.x.shape, M.WATER), place.key(91))


def wetland(place: Place) -> Built:
    """Return reeds and pools."""
    pool = place.broad + 0.8 * (place.fine - 0.5) > 0.35
    return _open(np.where(pool, M.WATER, M.GRASS), place.key(pool.astype(np.int8), 73), np.where(pool, 0.0, 1.5))


def bare_soil(place: Place) -> Built:
    """Return soil, sand and a little gravel."""
    stony = place.broad + 1.2 * (place.fine - 0.5) > 1.3
    return _open(np.where(stony, M.GRAVEL, M.SOIL), place.key(stony.astype(np.int8), 74))


def rock_or_paved(place: Place) -> Built:
    """Return rock, or yards and car parks."""
    frame = place.frame((60.0, 160.0), (60.0, 160.0))
    paved = place.draws(3) < 0.5
    yard = np.where(uniform_of(frame.key, 4) < 0.55, M.ASPHALT, M.CONCRETE)
    return _open(np.where(paved, yard, M.GRAVEL), np.where(paved, frame.key, place.key(75)))


def compact_high_rise(place: Place) -> Built:
    """Return perimeter blocks turned towers."""
    return _higher(buildings.core(place.frame((62.0, 92.0), (60.0, 86.0)), place.fine), 2.6, 25.0, 120.0)


def compact_mid_rise(place: Place) -> Built:
    """Return perimeter blocks around courtyards."""
    return _higher(buildings.core(place.frame((62.0, 92.0), (60.0, 86.0)), place.fine), 1.0, 10.0, 25.0)


def compact_low_rise(place: Place) -> Built:
    """Return narrow rows of low houses."""
    frame = place.frame((40.0, 70.0), (32.0, 42.0))
    return _higher(buildings.low_rise(frame, place.fine * 0.8), 0.8, 3.0, 9.0)


def open_high_rise(place: Place) -> Built:
    """Return towers and tall slabs in the green."""
    return _higher(buildings.estate(place.frame((150.0, 210.0), (110.0, 170.0)), place.fine), 1.5, 26.0, 90.0)


def open_mid_rise(place: Place) -> Built:
    """Return slabs of three to eight storeys in the green."""
    return _higher(buildings.estate(place.frame((110.0, 170.0), (90.0, 140.0)), place.fine), 0.55, 9.0, 24.0)


def open_low_rise(place: Place) -> Built:
    """Return houses with gardens."""
    return buildings.low_rise(place.frame((84.0, 150.0), (56.0, 74.0)), place.fine)


def lightweight(place: Place) -> Built:
    """Return dense single-storey shelters on bare ground."""
    frame = place.frame((7.5, 12.0), (7.5, 11.0), merge=0.3)
    hut = (frame.edge > 1.0) & (uniform_of(frame.key, 1) > 0.12)
    draw = uniform_of(frame.key, 2)
    roof = np.where(draw < 0.55, M.METAL, np.where(draw < 0.8, M.DARK_ROOF, M.TILE))
    height = np.where(hut, _between(uniform_of(frame.key, 3), 2.0, 3.5), 0.0)
    key = np.where(hut, frame.key, place.key(76))
    material = np.where(hut, roof, M.SOIL).astype(np.uint8)
    return Built(hut, key, material, height.astype(np.float32), np.zeros(hut.shape, np.float32))


def large_low_rise(place: Place) -> Built:
    """Return large halls in paved yards."""
    return buildings.industrial(place.frame((150.0, 230.0), (100.0, 150.0)), place.fine)


def sparsely_built(place: Place) -> Built:
    """Return single houses in a landscape of grass and trees."""
    frame = place.frame((70.0, 140.0), (60.0, 130.0))
    half_u, half_v = _between(uniform_of(frame.key, 1), 4.0, 8.0), _between(uniform_of(frame.key, 2), 4.0, 7.0)
    east = _between(uniform_of(frame.key, 3), 0.25, 0.75) * frame.length_u
    south = _between(uniform_of(frame.key, 4), 0.25, 0.75) * frame.length_v
    across, down = np.abs(frame.u - east), np.abs(frame.v - south)
    house = (across < half_u) & (down < half_v) & (uniform_of(frame.key, 5) < 0.85)
    lane = ~house & (frame.v < 3.0) & (place.draws(1) < 0.8)
    tree = ~house & ~lane & (place.fine + 0.1 * place.broad > 0.8)
    garden = (across < 20.0) & (down < 20.0)
    ground = np.where(tree, M.BROADLEAF, np.where(lane, M.ASPHALT, M.GRASS))
    key = np.where(house | garden, frame.key, np.where(lane, place.key(77), keys_of(frame.key, 78)))
    return Built(
        building=house,
        key=key,
        material=np.where(house, M.TILE, ground).astype(np.uint8),
        height=np.where(house, 6.0, tree * 8.0).astype(np.float32),
        footprint=np.zeros(house.shape, np.float32),
    )


def heavy_industry(place: Place) -> Built:
    """Return tall halls, fields of tanks, tips and yards."""
    frame = place.frame((110.0, 200.0), (90.0, 140.0))
    halls = _higher(buildings.industrial(frame, place.fine), 2.2, 10.0, 45.0)
    tanks = uniform_of(frame.key, 5) < 0.35
    pitch = _between(uniform_of(frame.key, 6), 26.0, 52.0)
    radius = np.hypot(np.mod(frame.u, pitch) - pitch / 2, np.mod(frame.v, pitch) - pitch / 2)
    tank = tanks & (radius < 0.4 * pitch) & (frame.edge > 6.0)
    yard = np.where(place.broad > 0.0, M.GRAVEL, np.where(place.fine > 0.5, M.SOIL, M.CONCRETE))
    tank_key = keys_of(
        frame.key, np.floor(frame.u / pitch).astype(np.int32), np.floor(frame.v / pitch).astype(np.int32)
    )
    return Built(
        building=np.where(tanks, tank, halls.building),
        key=np.where(tanks, np.where(tank, tank_key, keys_of(frame.key, 63)), halls.key),
        material=np.where(tanks, np.where(tank, M.METAL, yard), halls.material).astype(np.uint8),
        height=np.where(tanks, tank * 16.0, halls.height).astype(np.float32),
        footprint=np.zeros(tanks.shape, np.float32),
    )


RECIPES: dict[Use, tuple[Callable[[Place], Built], Cover]] = {
    Use.ANNUAL_CROP: (annual_crop, Cover.CROPLAND),
    Use.PERMANENT_CROP: (permanent_crop, Cover.CROPLAND),
    Use.PASTURE: (pasture, Cover.GRASS),
    Use.HERBACEOUS: (herbaceous, Cover.GRASS),
    Use.SHRUB: (shrub, Cover.GRASS),
    Use.SCATTERED_TREES: (scattered_trees, Cover.GRASS),
    Use.BROADLEAF_FOREST: (broadleaf_forest, Cover.FOREST),
    Use.CONIFER_FOREST: (conifer_forest, Cover.FOREST),
    Use.MIXED_FOREST: (mixed_forest, Cover.FOREST),
    Use.WATER: (water, Cover.WATER),
    Use.WETLAND: (wetland, Cover.GRASS),
    Use.BARE_SOIL: (bare_soil, Cover.BARE),
    Use.ROCK_OR_PAVED: (rock_or_paved, Cover.BARE),
    Use.COMPACT_HIGH_RISE: (compact_high_rise, Cover.HIGH_RISE),
    Use.COMPACT_MID_RISE: (compact_mid_rise, Cover.HIGH_RISE),
    Use.COMPACT_LOW_RISE: (compact_low_rise, Cover.LOW_RISE),
    Use.OPEN_HIGH_RISE: (open_high_rise, Cover.HIGH_RISE),
    Use.OPEN_MID_RISE: (open_mid_rise, Cover.HIGH_RISE),
    Use.OPEN_LOW_RISE: (open_low_rise, Cover.LOW_RISE),
    Use.LIGHTWEIGHT: (lightweight, Cover.LOW_RISE),
    Use.LARGE_LOW_RISE: (large_low_rise, Cover.INDUSTRIAL),
    Use.SPARSELY_BUILT: (sparsely_built, Cover.LOW_RISE),
    Use.HEAVY_INDUSTRY: (heavy_industry, Cover.INDUSTRIAL),
}
"""Recipe and land-cover class of each use."""
