"""Districts, arterial roads, blocks: the skeleton of the town and of its fields.

Districts are the cells of a Voronoi diagram of jittered points on a gently warped plane, their borders
the arterial roads. Inside a district blocks follow a lattice with the district's own orientation and
spacing, some blocks merged and rows shifted, so that planned grids and grown quarters stand side by side
(the mixed pattern that Marshall 2005, "Streets and Patterns", describes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ecumene.simulate.noise import Keys, fractal_field, keys_of, uniform_of
from ecumene.simulate.terrain import Terrain, random_curve

DISTRICT_M = 430.0
NEVER = 9999
"""Year of ground that is never built up."""

# Range of block sizes along both axes in metres, by quarter.
_BLOCK_LOW = np.array([[62, 60], [84, 56], [150, 110], [150, 100], [120, 120]], np.float32)
_BLOCK_HIGH = np.array([[92, 86], [150, 74], [210, 170], [230, 150], [200, 200]], np.float32)


class Quarter(IntEnum):
    """What a district is when it is built up."""

    CORE = 0
    LOW_RISE = 1
    ESTATE = 2
    INDUSTRIAL = 3
    PARK = 4


@dataclass(frozen=True)
class Frame:
    """Position of each cell in its block.

    Attributes:
        key: Block key.
        u: Metres from the block's first edge along the first axis.
        v: The same along the second axis.
        length_u: Size of the block along the first axis, metres.
        length_v: Size of the block along the second axis, metres.
    """

    key: Keys
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    length_u: NDArray[np.float32]
    length_v: NDArray[np.float32]

    @property
    def edge(self) -> NDArray[np.float32]:
        """Metres to the nearest edge of the block."""
        across, down = np.minimum(self.u, self.length_u - self.u), np.minimum(self.v, self.length_v - self.v)
        return np.asarray(np.minimum(across, down))

    def at(self, where: NDArray[np.bool_]) -> Frame:
        """Return the frame of the selected cells as flat arrays."""
        return Frame(self.key[where], self.u[where], self.v[where], self.length_u[where], self.length_v[where])


@dataclass(frozen=True)
class Skeleton:
    """Roads, blocks and when they are built; arrays on the fine grid.

    Attributes:
        quarter: `Quarter` of each cell.
        town: Blocks of the town.
        fields: Fields of the country.
        angle: Orientation of the town's blocks, radians from east towards south.
        arterial: True on arterial roads of the built-up town.
        lane: True on country roads.
        motorway: True on the motorway.
        verge: True on the motorway's verge.
        urban_year: Year in which the block is developed, `NEVER` outside of the town.
        centrality: Distance to the nearest centre, 0 in the centre, 1 at the final edge of the town.
    """

    quarter: NDArray[np.uint8]
    town: Frame
    fields: Frame
    angle: NDArray[np.float32]
    arterial: NDArray[np.bool_]
    lane: NDArray[np.bool_]
    motorway: NDArray[np.bool_]
    verge: NDArray[np.bool_]
    urban_year: NDArray[np.int16]
    centrality: NDArray[np.float32]


def _districts(
    rng: np.random.Generator, x: NDArray, y: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float32], Keys]:
    """Return district centres, the district of each cell, metres to the border and the border's key."""
    width, height = float(x.max()), float(y.max())
    columns, rows = int(width / DISTRICT_M) + 3, int(height / DISTRICT_M) + 3
    grid_x, grid_y = np.meshgrid(np.arange(columns) - 1.0, np.arange(rows) - 1.0)
    points = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)
    points = (points + 0.5 + rng.uniform(-0.4, 0.4, points.shape)) * DISTRICT_M
    found = cKDTree(points).query(np.stack([x.ravel(), y.ravel()], axis=1), k=2)
    distance, nearest = np.asarray(found[0]), np.asarray(found[1])
    gap = np.linalg.norm(points[nearest[:, 0]] - points[nearest[:, 1]], axis=1)
    border = ((distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2.0 * gap)).astype(np.float32)
    pair = keys_of(nearest.min(axis=1), nearest.max(axis=1))
    return points, nearest[:, 0].reshape(x.shape), border.reshape(x.shape), pair.reshape(x.shape)


def lattice(
    x: NDArray,
    y: NDArray,
    district: NDArray,
    angle: NDArray,
    spacing: tuple[NDArray, NDArray],
    *,
    merge: float,
    salt: int,
) -> Frame:
    """Return the blocks of a rotated lattice with shifted rows and merged neighbours."""
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    step_u, step_v = spacing
    along_v = -x * sin + y * cos
    row = np.floor(along_v / step_v).astype(np.int32)
    row_key = keys_of(district, row, salt)
    # A third of the rows is shifted: T-junctions instead of crossings.
    shift = np.where(uniform_of(row_key, 1) < 0.33, uniform_of(row_key, 2), 0.0) * step_u
    along_u = x * cos + y * sin + shift
    column = np.floor(along_u / step_u).astype(np.int32)
    pair = column >> 1
    merged = uniform_of(keys_of(district, row, pair, salt + 1), 3) < merge
    first = np.where(merged, 2 * pair, column)
    return Frame(
        key=keys_of(district, row, first, np.where(merged, 1, 0), salt + 2),
        u=(along_u - first * step_u).astype(np.float32),
        v=(along_v - row * step_v).astype(np.float32),
        length_u=np.where(merged, 2 * step_u, step_u).astype(np.float32),
        length_v=np.broadcast_to(step_v, x.shape).astype(np.float32),
    )


def _quarters(rng: np.random.Generator, remoteness: NDArray, motorway_m: NDArray, count: int) -> NDArray[np.uint8]:
    """Return the kind of each district from its remoteness and its distance to the motorway."""
    draw = rng.uniform(size=count)
    kind = np.where(draw < 0.64, Quarter.LOW_RISE, np.where(draw < 0.92, Quarter.ESTATE, Quarter.PARK))
    kind = np.where((draw > 0.96) & (remoteness > 0.3), Quarter.INDUSTRIAL, kind)
    by_motorway = (motorway_m < 330.0) & (remoteness > 0.3) & (rng.uniform(size=count) < 0.6)
    kind = np.where(by_motorway, Quarter.INDUSTRIAL, kind)
    kind = np.where(remoteness < 0.3, Quarter.CORE, kind)
    return kind.astype(np.uint8)


def _mix_blocks(quarter: NDArray[np.uint8], block: Keys) -> NDArray[np.uint8]:
    """Return the quarters with single blocks of another kind: greens, a tower among houses, workshops."""
    draw = uniform_of(block, 6)
    houses, estate = quarter == Quarter.LOW_RISE, quarter == Quarter.ESTATE
    result = np.where((houses & (draw < 0.05)) | (estate & (draw < 0.08)), Quarter.PARK, quarter)
    result = np.where(houses & (draw > 0.94), Quarter.ESTATE, result)
    result = np.where(houses & (draw > 0.98), Quarter.INDUSTRIAL, result)
    return np.where(estate & (draw > 0.82), Quarter.LOW_RISE, result).astype(np.uint8)


def _development(
    key: Keys, cost: NDArray, land: NDArray, years: tuple[int, int], shares: tuple[float, float]
) -> NDArray[np.int16]:
    """Return the year in which each block is developed: outward by cost, the cheapest ground first."""
    _, block = np.unique(key, return_inverse=True)
    block = block.ravel()
    size = np.bincount(block, weights=land.ravel().astype(np.float64))
    mean_cost = np.bincount(block, weights=cost.ravel()) / np.bincount(block)
    order = np.argsort(mean_cost, kind="stable")
    share = np.empty(size.size)
    share[order] = np.cumsum(size[order]) / max(size.sum(), 1.0)
    before, after = shares
    old = 1850 + (years[0] - 1850) * (share / before) ** 0.6
    young = years[0] + 1 + np.floor((share - before) / (after - before) * (years[1] - years[0]))
    year = np.where(share <= before, np.floor(old), np.where(share <= after, young, NEVER))
    return np.minimum(year, NEVER).astype(np.int16)[block].reshape(key.shape)


def _town_blocks(
    rng: np.random.Generator,
    place: tuple[NDArray, NDArray],
    warp: tuple[NDArray, NDArray],
    district: NDArray,
    kind: NDArray,
) -> tuple[Frame, NDArray[np.float32]]:
    """Return the blocks of the town and the orientation of each district."""
    (x, y), (warp_x, warp_y), count = place, warp, kind.size
    town_angle = rng.uniform(0, np.pi / 2)
    planned = rng.uniform(size=count) < 0.45
    angles = np.where(planned, town_angle, rng.uniform(0, np.pi / 2, count)).astype(np.float32)
    spacing = _BLOCK_LOW[kind] + (_BLOCK_HIGH - _BLOCK_LOW)[kind] * rng.uniform(size=(count, 2)).astype(np.float32)
    # Grown quarters bend with the warp, planned ones are straight.
    bend = np.where(planned, 0.0, rng.uniform(0.5, 1.3, count)).astype(np.float32)[district]
    frame = lattice(
        x + bend * warp_y,
        y + bend * warp_x,
        district,
        angles[district],
        (spacing[district, 0], spacing[district, 1]),
        merge=0.25,
        salt=int(rng.integers(1 << 40)),
    )
    return frame, angles


def _field_blocks(
    rng: np.random.Generator,
    place: tuple[NDArray, NDArray],
    warp: tuple[NDArray, NDArray],
    district: NDArray,
    count: int,
) -> Frame:
    """Return the fields: strips of 90 to 260 m by 45 to 120 m, some of them merged."""
    spacing = rng.uniform((90.0, 45.0), (260.0, 120.0), (count, 2)).astype(np.float32)
    angles = rng.uniform(0, np.pi, count).astype(np.float32)
    return lattice(
        place[0] + warp[1] * np.float32(0.7),
        place[1] + warp[0] * np.float32(0.7),
        district,
        angles[district],
        (spacing[district, 0], spacing[district, 1]),
        merge=0.35,
        salt=int(rng.integers(1 << 40)),
    )


def make_skeleton(
    rng: np.random.Generator, terrain: Terrain, cell_m: float, centre: tuple[float, float], years: tuple[int, int]
) -> Skeleton:
    """Return districts, roads, blocks and their years.

    Args:
        rng: Source of randomness.
        terrain: Relief and water.
        cell_m: Cell size in metres.
        centre: The main centre in metres (x, y).
        years: First and last year that can be observed; development is dated between them and before.
    """
    x, y, shape = terrain.x, terrain.y, terrain.x.shape
    coarse = (-(-shape[0] // 4), -(-shape[1] // 4))

    def smooth(longest_m: float) -> NDArray[np.float32]:
        field = fractal_field(rng, coarse, longest=longest_m / (4 * cell_m), exponent=3.8, shortest=10.0)
        return np.asarray(ndimage.zoom(field, 4, order=1)[: shape[0], : shape[1]], np.float32)

    warp_x, warp_y = smooth(520.0) * np.float32(22.0), smooth(520.0) * np.float32(22.0)
    points, district, border, pair = _districts(rng, x + warp_x, y + warp_y)
    count = len(points)
    radius = 0.46 * np.sqrt(float(x.max()) * float(y.max()))
    centres = [centre, (rng.uniform(0.1, 0.9) * float(x.max()), rng.uniform(0.1, 0.9) * float(y.max()))]
    reach = (1.0, 0.45)

    def remoteness_of(px: NDArray, py: NDArray) -> NDArray:
        parts = [np.hypot(px - cx, py - cy) / (radius * r) for (cx, cy), r in zip(centres, reach, strict=True)]
        return np.asarray(np.minimum(*parts))

    highway_angle = rng.uniform(0, np.pi)
    side = rng.choice((-1.0, 1.0)) * rng.uniform(0.42, 0.62) * radius
    through = (centre[0] - side * np.sin(highway_angle), centre[1] + side * np.cos(highway_angle))
    highway = random_curve(rng, through, highway_angle, meander_m=70.0)
    motorway_m, _ = highway.distance(x, y)
    seed_motorway_m, _ = highway.distance(points[:, 0], points[:, 1])
    kind = _quarters(rng, remoteness_of(points[:, 0], points[:, 1]), seed_motorway_m, count)
    town, angles = _town_blocks(rng, (x, y), (warp_x, warp_y), district, kind)
    fields = _field_blocks(rng, (x, y), (warp_x, warp_y), district, count)
    centrality = remoteness_of(x, y).astype(np.float32)
    cost = centrality + 0.13 * smooth(900.0) + 1.6 * np.maximum(terrain.slope - 0.05, 0.0)
    cost = cost + 0.25 * (terrain.river_distance < 30.0)
    urban_year = _development(town.key, cost, ~terrain.water, years, (0.28, 0.43))
    return Skeleton(
        quarter=_mix_blocks(kind[district], town.key),
        town=town,
        fields=fields,
        angle=angles[district],
        arterial=border < 12.0,
        lane=(border < 6.0) & (uniform_of(pair, 5) < 0.6),
        motorway=motorway_m < 15.0,
        verge=motorway_m < 28.0,
        urban_year=urban_year,
        centrality=centrality,
    )
