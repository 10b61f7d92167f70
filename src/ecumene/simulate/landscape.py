"""Landscapes laid out in zones of one land use each, so that every use is there as often as it is wanted.

A landscape is a `City` without growth: what `observe_sentinel2` and `observe_sentinel1` see of a town they see of it.
Its zones are the cells of a square grid with ragged borders; rivers and motorways may cross them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from ecumene.core.errors import ConfigurationError
from ecumene.simulate.city import CELL_M, FACTOR, PIXEL_M, City
from ecumene.simulate.countryside import Ground, rank_texture
from ecumene.simulate.cover import Cover, Material
from ecumene.simulate.land_use import RECIPES, Place, Use
from ecumene.simulate.noise import block_mean, fractal_field, generator, keys_of
from ecumene.simulate.streets import NEVER
from ecumene.simulate.terrain import RELIEF_M, Terrain, random_curve

RAGGED = 0.05
"""Standard deviation of a zone's border about the straight line, in sides of a zone."""
YEARS = (2015, 2025)


@dataclass(frozen=True)
class Line:
    """A river or a motorway through a zone.

    Attributes:
        row: Row of the zone.
        col: Column of the zone.
        river: A river, not a motorway.
    """

    row: int
    col: int
    river: bool


@dataclass(frozen=True)
class Where:
    """Where a landscape lies.

    Attributes:
        epsg: UTM zone of WGS 84.
        east: Easting of the western border, metres.
        north: Northing of the northern border, metres.
    """

    epsg: int
    east: float
    north: float


def draw_where(number: int, seed: int) -> Where:
    """Return a place of its own for a landscape: no two numbers of a seed are within 20 km of each other.

    Places are spread over the northern UTM zones at 40 to 54 degrees, where the seasons of the simulated plants fit.

    Args:
        number: Of the landscape, 0 or more.
        seed: Moves all places.
    """
    rng = generator(seed, 77)
    zones = rng.permutation(60)
    slot, zone = divmod(number, 60)
    row, col = divmod(int(rng.permutation(60 * 12)[slot % 720]), 12)
    return Where(32601 + int(zones[zone]), 360_000.0 + 24_000.0 * col, 4_440_000.0 + 24_000.0 * row)


def _fields(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Return the random fields of a landscape on the fine grid."""
    coarse = (-(-shape[0] // 4), -(-shape[1] // 4))

    def smooth(longest_m: float, exponent: float, shortest: float) -> NDArray[np.float32]:
        field = fractal_field(rng, coarse, longest=longest_m / (4 * CELL_M), exponent=exponent, shortest=shortest)
        return np.asarray(ndimage.zoom(field, 4, order=1)[: shape[0], : shape[1]], np.float32)

    return {
        "east": smooth(420.0, 3.4, 5.0),
        "south": smooth(420.0, 3.4, 5.0),
        "broad": smooth(300.0, 3.0, 4.0),
        "relief": smooth(2600.0, 3.6, 6.0),
        "fine": rank_texture(fractal_field(rng, shape, longest=22.0 / CELL_M, exponent=2.0)),
    }


def _zones(
    fields: dict[str, NDArray[np.float32]], x: NDArray, y: NDArray, layout: tuple[int, int], side_m: float
) -> NDArray[np.intp]:
    """Return the number of each cell's zone; borders wander by `RAGGED` of a side."""
    ragged = np.float32(min(RAGGED * side_m, 40.0))
    row = np.clip(np.floor((y + ragged * fields["south"]) / side_m).astype(np.intp), 0, layout[0] - 1)
    col = np.clip(np.floor((x + ragged * fields["east"]) / side_m).astype(np.intp), 0, layout[1] - 1)
    return np.asarray(row * layout[1] + col)


def _fill(
    uses: NDArray[np.integer], zone: NDArray[np.intp], place: Place, angles: NDArray[np.float32]
) -> tuple[Ground, NDArray[np.float32]]:
    """Return the ground of all zones, and the direction of their lattices."""
    shape = zone.shape
    cover, material = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    key, height = np.zeros(shape, np.uint64), np.zeros(shape, np.float32)
    building = np.zeros(shape, bool)
    use_of = uses.ravel()[zone]
    for use in np.unique(use_of):
        recipe, code = RECIPES[Use(int(use))]
        cells = np.flatnonzero(use_of == use)
        number = zone.ravel()[cells]
        built = recipe(
            Place(
                x=place.x.ravel()[cells],
                y=place.y.ravel()[cells],
                zone=number,
                angle=angles[number],
                fine=place.fine.ravel()[cells],
                broad=place.broad.ravel()[cells],
                salt=place.salt,
            )
        )
        cover.ravel()[cells] = code
        for layer, values in (
            (material, built.material),
            (key, built.key),
            (height, built.height),
            (building, built.building),
        ):
            layer.ravel()[cells] = values
    return Ground(cover=cover, material=material, key=key, height=height, building=building), angles[zone]


def _draw_line(
    ground: Ground, line: Line, x: NDArray, y: NDArray, side_m: float, rng: np.random.Generator, salt: int
) -> None:
    """Lay a river or a motorway through a zone (in place)."""
    cells = round(side_m / CELL_M)
    window = (
        slice(line.row * cells, (line.row + 1) * cells),
        slice(line.col * cells, (line.col + 1) * cells),
    )
    centre = ((line.col + rng.uniform(0.3, 0.7)) * side_m, (line.row + rng.uniform(0.3, 0.7)) * side_m)
    curve = random_curve(rng, centre, rng.uniform(0, np.pi), meander_m=90.0 if line.river else 30.0)
    distance, _ = curve.distance(x[window], y[window])
    half = rng.uniform(22.0, 70.0) if line.river else rng.uniform(11.0, 16.0)
    core, bank = distance < half, distance < half + rng.uniform(8.0, 16.0)
    core_material, core_cover = (Material.WATER, Cover.WATER) if line.river else (Material.ASPHALT, Cover.ROAD)
    trees = bool(rng.uniform() < 0.5)
    for where, stuff, code, name in (
        (bank, Material.BROADLEAF if trees else Material.GRASS, Cover.GRASS, 1),
        (core, core_material, core_cover, 2),
    ):
        ground.material[window][where] = stuff
        ground.cover[window][where] = code
        ground.key[window][where] = keys_of(line.row, line.col, name, salt)[0]
        ground.height[window][where] = 6.0 if stuff == Material.BROADLEAF else 0.0
        ground.building[window][where] = False
    if not line.river:
        # A strip of grass between the carriageways.
        middle = distance < 1.5
        ground.material[window][middle] = Material.GRASS


def simulate_landscape(
    seed: int, uses: NDArray[np.integer], zone_px: int, where: Where, *, lines: tuple[Line, ...] = ()
) -> City:
    """Make a landscape of zones.

    Args:
        seed: Equal seeds and uses give equal landscapes.
        uses: `Use` of each zone, `[rows, columns]`.
        zone_px: Side of a zone in pixels of 10 m, 16 or more.
        where: Where it lies.
        lines: Rivers and motorways.

    Returns:
        A city of `len(uses) * zone_px` rows that does not grow: every year of `YEARS` is alike.

    Raises:
        ConfigurationError: If the zones are too small, or the landscape too large.
    """
    layout = (uses.shape[0], uses.shape[1])
    shape = (layout[0] * zone_px, layout[1] * zone_px)
    if zone_px < 16 or max(shape) > 4096:
        raise ConfigurationError(f"A landscape has zones of 16 pixels or more and at most 4096 rows, not {shape}.")
    rng = generator(seed, 71)
    fine = (shape[0] * FACTOR, shape[1] * FACTOR)
    down, right = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(CELL_M) for n in fine)
    y: NDArray[np.float32] = np.ascontiguousarray(np.broadcast_to(down[:, None], fine))
    x: NDArray[np.float32] = np.ascontiguousarray(np.broadcast_to(right, fine))
    fields = _fields(rng, fine)
    zone = _zones(fields, x, y, layout, zone_px * PIXEL_M)
    salt = int(keys_of(seed, 72)[0] >> np.uint64(2))
    bent = np.float32(12.0)
    place = Place(
        x=x + bent * fields["south"],
        y=y + bent * fields["east"],
        zone=zone,
        angle=x,
        fine=fields["fine"],
        broad=fields["broad"],
        salt=salt,
    )
    angles = rng.uniform(0, np.pi, uses.size).astype(np.float32)
    ground, orientation = _fill(uses, zone, place, angles)
    for line in lines:
        _draw_line(ground, line, x, y, zone_px * PIXEL_M, rng, salt)
    elevation = (300.0 + RELIEF_M * rng.uniform(0.1, 1.0) * fields["relief"]).astype(np.float32)
    still = np.zeros(fine, np.float32)
    terrain = Terrain(elevation, still, ground.material == Material.WATER, still, x, y)
    transform = Affine(PIXEL_M, 0.0, where.east, 0.0, -PIXEL_M, where.north)
    return City(
        seed=seed,
        years=YEARS,
        geobox=GeoBox(shape, transform, f"EPSG:{where.epsg}"),
        elevation=block_mean(elevation, FACTOR),
        country=ground,
        town=ground,
        urban_year=np.full(fine, YEARS[0], np.int16),
        building_year=np.where(ground.building, YEARS[0], NEVER).astype(np.int16),
        orientation=orientation,
        terrain=terrain,
    )
