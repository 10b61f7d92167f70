"""Buildings on their parcels, and what lies between them.

Each kind of quarter has its pattern: houses on two rows of parcels, perimeter blocks around courtyards,
slabs and towers in the green, halls in their yards. All of it is a function of the position in the block
and of hashes of block, parcel and building, so that it is computed for all cells at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.simulate.cover import Material
from ecumene.simulate.noise import Keys, keys_of, uniform_of
from ecumene.simulate.streets import Frame, Quarter

M = Material


@dataclass(frozen=True)
class Built:
    """Flat arrays over the cells of one kind of quarter.

    Attributes:
        building: True on buildings.
        key: Key of the object (building, garden, yard, street).
        material: `Material`.
        height: Height above ground in metres (buildings and trees), else 0.
        footprint: Area in square metres that the building would have if nothing cut it, else 0.
    """

    building: NDArray[np.bool_]
    key: Keys
    material: NDArray[np.uint8]
    height: NDArray[np.float32]
    footprint: NDArray[np.float32]


def _choose(draw: NDArray, *choices: tuple[float, Material]) -> NDArray[np.uint8]:
    """Return materials by cumulative probability."""
    limits = np.cumsum([share for share, _ in choices])[:-1]
    return np.array([material for _, material in choices], np.uint8)[np.searchsorted(limits, draw)]


def _between(draw: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """Scale a uniform draw to a range."""
    return (low + (high - low) * draw).astype(np.float32)


def _trees(texture: NDArray, share: NDArray | float) -> NDArray[np.bool_]:
    """Return where trees stand, given a texture that is uniform in 0..1."""
    return texture > 1.0 - np.asarray(share)


def low_rise(frame: Frame, texture: NDArray) -> Built:
    """Return houses with gardens on two rows of parcels, some of them terraced."""
    street = 3.6
    depth = frame.length_v / 2 - street
    second = frame.v > frame.length_v / 2
    from_street = np.minimum(frame.v, frame.length_v - frame.v) - street
    terraced = uniform_of(frame.key, 21) < 0.25
    wanted = np.where(terraced, 8.5, _between(uniform_of(frame.key, 22), 16.0, 26.0))
    inner = frame.length_u - 2 * street
    count = np.maximum(np.round(inner / wanted), 1.0)
    width = inner / count
    position = (frame.u - street) / width
    number = np.floor(position).astype(np.int32)
    lane = (from_street < 0) | (number < 0) | (number >= count)
    parcel = keys_of(frame.key, number, second.astype(np.int8), 23)
    across = (position - number - 0.5) * width
    house_w = np.where(terraced, width + 0.1, np.minimum(_between(uniform_of(parcel, 1), 8.0, 14.0), width - 4))
    house_d = _between(uniform_of(parcel, 2), 8.0, 13.0)
    setback = _between(uniform_of(frame.key, 24), 3.0, 8.0) + _between(uniform_of(parcel, 3), 0.0, 2.0)
    empty = uniform_of(parcel, 4) < 0.06
    inside = (np.abs(across) < house_w / 2) & (from_street > setback) & (from_street < setback + house_d)
    house = inside & ~lane & ~empty
    drive = (across > house_w / 2) & (across < house_w / 2 + 3.0) & (from_street < setback + 4.0)
    shed_area = (from_street > depth - 6) & (np.abs(across - width / 4) < 2.6)
    shed = shed_area & (uniform_of(parcel, 5) < 0.35) & ~lane & ~house
    roof = _choose(uniform_of(parcel, 6) * 0.55 + uniform_of(frame.key, 25) * 0.45, (0.75, M.TILE), (0.25, M.DARK_ROOF))
    garden = np.where(drive, M.CONCRETE, M.GRASS)
    garden = np.where((uniform_of(parcel, 7) < 0.10) & (from_street > setback + house_d), M.SOIL, garden)
    tree = _trees(texture, 0.16 + 0.3 * uniform_of(parcel, 8)) & ~house & ~lane & ~shed & ~drive
    garden = np.where(tree, M.BROADLEAF, garden)
    material = np.where(lane, M.ASPHALT, np.where(house, roof, np.where(shed, M.DARK_ROOF, garden)))
    height = np.where(house, _between(uniform_of(parcel, 9), 5.0, 10.5), np.where(shed, 2.6, tree * 6.0))
    return Built(
        building=house | shed,
        key=np.where(lane, keys_of(frame.key, 26), np.where(shed, keys_of(parcel, 1), parcel)),
        material=material.astype(np.uint8),
        height=height.astype(np.float32),
        footprint=np.where(house, house_w * house_d, np.where(shed, 25.0, 0.0)).astype(np.float32),
    )


def core(frame: Frame, texture: NDArray) -> Built:
    """Return perimeter blocks around courtyards, department stores, squares and small parks."""
    street = 5.0
    inside = frame.edge - street
    use = uniform_of(frame.key, 31)
    square, park, full = use < 0.05, (use >= 0.05) & (use < 0.11), use > 0.86
    depth = np.where(full, 500.0, _between(uniform_of(frame.key, 32), 11.0, 16.0))
    ring = (inside > 2.0) & (inside < 2.0 + depth) & ~square & ~park
    segment_m = np.where(full, 60.0, _between(uniform_of(frame.key, 33), 17.0, 30.0))
    segment = keys_of(
        frame.key, np.floor(frame.u / segment_m).astype(np.int32), np.floor(frame.v / segment_m).astype(np.int32), 34
    )
    back = (inside > 22.0) & (uniform_of(segment, 1) < 0.25) & ~ring & ~square & ~park
    gap = (uniform_of(segment, 2) < 0.05) & ~full
    house = (ring | back) & ~gap
    storeys = np.round(_between(uniform_of(segment, 3), 4.0, 7.5) + 0.8 * (uniform_of(frame.key, 35) - 0.5))
    tower = (uniform_of(segment, 4) > 0.975) & full
    height = np.where(tower, _between(uniform_of(segment, 5), 35.0, 70.0), 3.3 * storeys)
    height = np.where(back, 6.0, height)
    mixed = uniform_of(segment, 6) * 0.6 + uniform_of(frame.key, 36) * 0.4
    roof = np.where(
        full,
        _choose(mixed, (0.20, M.CONCRETE), (0.68, M.DARK_ROOF), (0.12, M.METAL)),
        _choose(mixed, (0.30, M.TILE), (0.58, M.DARK_ROOF), (0.12, M.CONCRETE)),
    )
    lane = inside <= 0
    tree = _trees(texture, np.where(park, 0.55, np.where(square, 0.12, 0.25))) & ~house & (inside > 1.0)
    court = np.where(uniform_of(frame.key, 37) < 0.55, M.ASPHALT, M.GRASS)
    open_ground = np.where(park, M.GRASS, np.where(square | (inside < 2.0), M.CONCRETE, court))
    open_ground = np.where(lane, M.ASPHALT, np.where(tree, M.BROADLEAF, open_ground))
    return Built(
        building=house,
        key=np.where(house, segment, np.where(lane, keys_of(frame.key, 38), keys_of(frame.key, 39))),
        material=np.where(house, roof, open_ground).astype(np.uint8),
        height=np.where(house, height, tree * 8.0).astype(np.float32),
        footprint=np.zeros(frame.u.shape, np.float32),
    )


def estate(frame: Frame, texture: NDArray) -> Built:
    """Return slabs and towers in the green with their car parks."""
    street = 4.0
    inside = frame.edge - street
    spacing = _between(uniform_of(frame.key, 41), 32.0, 48.0)
    row = np.floor((frame.v - street) / spacing).astype(np.int32)
    across = (frame.v - street) - (row + 0.5) * spacing
    length = _between(uniform_of(frame.key, 42), 45.0, 85.0)
    column = np.floor((frame.u - street) / (length + 16.0)).astype(np.int32)
    along = (frame.u - street) - (column + 0.5) * (length + 16.0)
    slab_key = keys_of(frame.key, row, column, 43)
    towers = uniform_of(frame.key, 44) < 0.3
    half_u = np.where(towers, 11.5, length / 2)
    half_v = np.where(towers, 11.5, _between(uniform_of(frame.key, 45), 6.5, 9.0))
    slab = (np.abs(along) < half_u) & (np.abs(across) < half_v) & (inside > 3.0)
    slab &= uniform_of(slab_key, 1) > 0.10
    parking = (np.abs(across) > spacing / 2 - 9.5) & (uniform_of(slab_key, 2) < 0.85)
    store = (uniform_of(frame.key, 46) < 0.10) & (inside > 1.0)
    shops = store & (inside > 26.0) & (frame.u < 130.0)
    slab = (slab & ~store) | shops
    parking |= store
    lane = inside <= 0
    tree = _trees(texture, 0.34) & ~slab & ~parking & (inside > 1.0)
    ground = np.where(lane | parking, M.ASPHALT, np.where(tree, M.BROADLEAF, M.GRASS))
    roof = _choose(
        uniform_of(frame.key, 47) * 0.6 + uniform_of(slab_key, 3) * 0.4,
        (0.25, M.CONCRETE),
        (0.65, M.DARK_ROOF),
        (0.10, M.GRAVEL),
    )
    roof = np.where(shops, M.METAL, roof)
    height = np.where(
        towers, _between(uniform_of(slab_key, 4), 27.0, 62.0), _between(uniform_of(frame.key, 48), 13.0, 34.0)
    )
    height = np.where(shops, 8.0, height)
    key = np.where(shops, keys_of(frame.key, 49), slab_key)
    return Built(
        building=slab,
        key=np.where(slab, key, np.where(lane | parking, keys_of(frame.key, 50), keys_of(frame.key, 51))),
        material=np.where(slab, roof, ground).astype(np.uint8),
        height=np.where(slab, height, tree * 9.0).astype(np.float32),
        footprint=np.where(slab & ~shops, 4.0 * half_u * half_v, 0.0).astype(np.float32),
    )


def industrial(frame: Frame, texture: NDArray) -> Built:
    """Return halls in paved yards."""
    street = 5.0
    parts = np.maximum(np.round((frame.length_u - 2 * street) / 78.0), 1.0)
    width = (frame.length_u - 2 * street) / parts
    position = (frame.u - street) / width
    number = np.floor(position).astype(np.int32)
    parcel = keys_of(frame.key, number, 61)
    across = (position - number - 0.5) * width
    depth = frame.length_v - 2 * street
    down = frame.v - frame.length_v / 2
    half_u = (0.5 * width - 6.0) * _between(uniform_of(parcel, 1), 0.55, 1.0)
    half_v = (0.5 * depth - 8.0) * _between(uniform_of(parcel, 2), 0.45, 0.95)
    move = (0.5 * depth - 8.0 - half_v) * _between(uniform_of(parcel, 3), -1.0, 1.0)
    inside = frame.edge - street
    hall = (np.abs(across) < half_u) & (np.abs(down - move) < half_v) & (inside > 1.0)
    kind = uniform_of(parcel, 4)
    hall &= kind > 0.12  # storage yards without a hall
    lane = inside <= 0
    green = (inside < 6.0) & (uniform_of(parcel, 5) < 0.55)
    tree = green & _trees(texture, 0.4)
    yard = _choose(uniform_of(parcel, 6), (0.22, M.ASPHALT), (0.60, M.CONCRETE), (0.13, M.GRAVEL), (0.05, M.SOIL))
    ground = np.where(lane, M.ASPHALT, np.where(tree, M.BROADLEAF, np.where(green, M.GRASS, yard)))
    roof = _choose(uniform_of(parcel, 7), (0.74, M.METAL), (0.12, M.DARK_ROOF), (0.10, M.CONCRETE), (0.04, M.GRAVEL))
    return Built(
        building=hall,
        key=np.where(lane, keys_of(frame.key, 62), np.where(hall, parcel, keys_of(parcel, 2))),
        material=np.where(hall, roof, ground).astype(np.uint8),
        height=np.where(hall, _between(uniform_of(parcel, 8), 6.0, 15.0), tree * 7.0).astype(np.float32),
        footprint=np.where(hall, 4.0 * half_u * half_v, 0.0).astype(np.float32),
    )


def park(frame: Frame, texture: NDArray) -> Built:
    """Return lawns with groves and paths."""
    share = _between(uniform_of(frame.key, 71), 0.04, 0.28)
    tree = _trees(texture, share)
    path = (frame.edge < 2.0) | (np.abs(frame.u - frame.length_u / 2) < 1.6)
    material = np.where(path, M.GRAVEL, np.where(tree, M.BROADLEAF, M.GRASS))
    return Built(
        building=np.zeros(tree.shape, bool),
        key=keys_of(frame.key, path.astype(np.int8), 72),
        material=material.astype(np.uint8),
        height=np.where(tree & ~path, 12.0, 0.0).astype(np.float32),
        footprint=np.zeros(tree.shape, np.float32),
    )


PATTERNS: dict[Quarter, Callable[[Frame, NDArray], Built]] = {
    Quarter.CORE: core,
    Quarter.LOW_RISE: low_rise,
    Quarter.ESTATE: estate,
    Quarter.INDUSTRIAL: industrial,
    Quarter.PARK: park,
}
"""The pattern of each kind of quarter."""
