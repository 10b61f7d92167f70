"""A deterministic town with its surroundings, and its truth in every year.

Everything is drawn from the seed on a grid of 2.5 m and summarised to the 10 m grid of the truth. The
town is simulated: it is made to look and behave like one for tests, demonstrations and controlled
experiments, and supports no claim about accuracy on real data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.simulate.buildings import PATTERNS
from ecumene.simulate.countryside import Ground, make_countryside, rank_texture
from ecumene.simulate.cover import BUILT_UP, FRACTION_NAMES, LEGEND, Cover, Material
from ecumene.simulate.noise import block_mean, fractal_field, generator, keys_of, uniform_of
from ecumene.simulate.streets import NEVER, Quarter, Skeleton, make_skeleton
from ecumene.simulate.terrain import Terrain, make_terrain

PIXEL_M = 10.0
FACTOR = 4
CELL_M = PIXEL_M / FACTOR
"""The truth is on 10 m pixels of 4 x 4 cells of 2.5 m."""

_COVER_OF_QUARTER = {
    Quarter.CORE: Cover.HIGH_RISE,
    Quarter.LOW_RISE: Cover.LOW_RISE,
    Quarter.ESTATE: Cover.HIGH_RISE,
    Quarter.INDUSTRIAL: Cover.INDUSTRIAL,
    Quarter.PARK: Cover.GRASS,
}


@dataclass(frozen=True, eq=False)
class City:
    """A simulated town; every year between `years` can be asked for.

    Attributes:
        seed: Seed that it was made from.
        years: First and last year in which the town grows observably.
        geobox: The 10 m grid of the truth.
        elevation: Ground height, metres above sea level, float32 `[H, W]`.
        country: The ground without the town, on the fine grid.
        town: The ground as finally built, on the fine grid.
        urban_year: Year in which the ground is developed (9999: never), int16, fine grid.
        building_year: Year in which the building is finished (9999: none), int16, fine grid.
        orientation: Direction of the walls, radians from east towards south, fine grid.
        terrain: Relief and water on the fine grid.
    """

    seed: int
    years: tuple[int, int]
    geobox: GeoBox
    elevation: NDArray[np.float32]
    country: Ground
    town: Ground
    urban_year: NDArray[np.int16]
    building_year: NDArray[np.int16]
    orientation: NDArray[np.float32]
    terrain: Terrain

    @property
    def legend(self) -> Legend:
        """Meaning of the codes of `land_cover`."""
        return LEGEND

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the 10 m grid."""
        return self.elevation.shape  # type: ignore[return-value]

    @cached_property
    def latitude(self) -> float:
        """Latitude of the centre, degrees north."""
        box = self.geobox.boundingbox
        transformer = Transformer.from_crs(CRS(str(self.geobox.crs)), CRS(4326), always_xy=True)
        return float(transformer.transform((box.left + box.right) / 2, (box.bottom + box.top) / 2)[1])

    @cached_property
    def texture(self) -> NDArray[np.float32]:
        """Standard normal brightness of cells, fixed in time: the ground does not flicker between dates."""
        return generator(self.seed, 21).standard_normal(self.urban_year.shape, dtype=np.float32)

    @cached_property
    def _still(self) -> bool:
        """Whether all years are alike: everything is built when they begin."""
        done = int(self.urban_year.max()) <= self.years[0]
        return done and not (self.town.building & (self.building_year > self.years[0])).any()

    def ground(self, year: int | None = None) -> Ground:
        """Return the surface in a year (None: the last): town where it stands, else country.

        In the year before a block is developed it is a building site; a plot whose building comes later
        is bare until then.

        Raises:
            ConfigurationError: If the year is outside of `years`.
        """
        year = self.years[1] if year is None else year
        if not self.years[0] <= year <= self.years[1]:
            raise ConfigurationError(
                f"This city is simulated from {self.years[0]} to {self.years[1]}, not for {year}; "
                "make it with other `years`."
            )
        if self._still:
            return self.town
        urban = self.urban_year <= year
        site = (self.urban_year == year + 1) & (self.country.cover != Cover.WATER)
        waiting = urban & self.town.building & (self.building_year > year)
        soil = site | waiting
        cover = np.where(urban, self.town.cover, self.country.cover)
        material = np.where(urban, self.town.material, self.country.material)
        height = np.where(urban, self.town.height, self.country.height)
        return Ground(
            cover=np.where(site, np.uint8(Cover.BARE), cover),
            material=np.where(soil, np.uint8(Material.SOIL), material),
            key=np.where(urban | site, self.town.key, self.country.key),
            height=np.where(soil, np.float32(0.0), height),
            building=urban & self.town.building & ~waiting,
        )

    def land_cover(self, year: int | None = None) -> NDArray[np.uint8]:
        """Return the class that covers most of each pixel, codes of `legend`, uint8 `[H, W]`."""
        cover = self.ground(year).cover
        shares = np.stack([block_mean(cover == code, FACTOR) for code in LEGEND.values])
        return np.asarray(np.array(LEGEND.values, np.uint8)[shares.argmax(axis=0)])

    def purity(self, year: int | None = None) -> NDArray[np.float32]:
        """Return the share of each pixel that its class covers, 0..1, float32 `[H, W]`."""
        cover = self.ground(year).cover
        return np.asarray(np.max([block_mean(cover == code, FACTOR) for code in LEGEND.values], axis=0))

    def fractions(self, year: int | None = None) -> NDArray[np.float32]:
        """Return fractional cover, float32 `[6, H, W]` in the order of `FRACTION_NAMES`; they sum to 1."""
        ground = self.ground(year)
        material = ground.material
        tree = (material == Material.BROADLEAF) | (material == Material.CONIFER)
        water = material == Material.WATER
        soil = (material == Material.SOIL) | ((material == Material.GRAVEL) & ~ground.building)
        low = ((material >= Material.GRASS) & (material <= Material.ROOT_CROP)) & ~ground.building
        paved = ~(ground.building | tree | water | soil | low)
        named = {
            "building": ground.building,
            "paved": paved,
            "tree": tree,
            "low_vegetation": low,
            "soil": soil & ~ground.building,
            "water": water,
        }
        return np.stack([block_mean(named[name], FACTOR) for name in FRACTION_NAMES])

    def building_height(self, year: int | None = None) -> NDArray[np.float32]:
        """Return the mean height of the buildings in each pixel, metres, 0 without one, float32 `[H, W]`."""
        ground = self.ground(year)
        share = block_mean(ground.building, FACTOR)
        return np.divide(
            block_mean(ground.building * ground.height, FACTOR), share, out=np.zeros_like(share), where=share > 0
        )

    def year_built(self, year: int | None = None) -> NDArray[np.int16]:
        """Return the year of the oldest building in each pixel, 0 without one, int16 `[H, W]`."""
        years = np.where(self.ground(year).building, self.building_year, NEVER)
        rows, cols = self.shape
        oldest = years.reshape(rows, FACTOR, cols, FACTOR).min(axis=(1, 3))
        return np.where(oldest == NEVER, 0, oldest).astype(np.int16)

    def built_up(self, year: int | None = None) -> NDArray[np.bool_]:
        """Return where the class is one of the built-up ones, bool `[H, W]`."""
        return np.isin(self.land_cover(year), [int(code) for code in BUILT_UP])


def _geobox(shape: tuple[int, int], epsg: int) -> GeoBox:
    """Return the 10 m grid of the town in a UTM zone, at a latitude of about 47 degrees."""
    zone = epsg % 100
    if epsg // 100 not in (326, 327) or not 1 <= zone <= 60:
        raise ConfigurationError(f"A city needs a UTM zone of WGS 84 (EPSG 32601..32660, 32701..32760), not {epsg}.")
    north = 5_200_000.0 if epsg // 100 == 326 else 4_800_000.0
    return GeoBox(shape, Affine(PIXEL_M, 0.0, 500_000.0, 0.0, -PIXEL_M, north), f"EPSG:{epsg}")


def _build_town(rng: np.random.Generator, terrain: Terrain, skeleton: Skeleton, country: Ground) -> Ground:
    """Return the ground as if the whole plane were built up."""
    shape = terrain.x.shape
    texture = rank_texture(fractal_field(rng, shape, longest=24.0 / CELL_M, exponent=2.0, shortest=2.0))
    cover = np.zeros(shape, np.uint8)
    material = np.zeros(shape, np.uint8)
    key = np.zeros(shape, np.uint64)
    height = np.zeros(shape, np.float32)
    building = np.zeros(shape, bool)
    footprint = np.zeros(shape, np.float32)
    for quarter, pattern in PATTERNS.items():
        where = skeleton.quarter == quarter
        if not where.any():
            continue
        built = pattern(skeleton.town.at(where), texture[where])
        cover[where] = _COVER_OF_QUARTER[quarter]
        material[where], key[where], height[where] = built.material, built.key, built.height
        building[where], footprint[where] = built.building, built.footprint
    use = uniform_of(skeleton.town.key, 31)
    in_core = skeleton.quarter == Quarter.CORE
    cover[in_core & (use < 0.05)] = Cover.ROAD
    cover[in_core & (use >= 0.05) & (use < 0.11)] = Cover.GRASS
    avenue = skeleton.arterial & ~terrain.water | skeleton.arterial & (skeleton.centrality < 1.0)
    keep = (terrain.water & ~avenue) | skeleton.motorway | skeleton.verge
    building &= ~(avenue | keep)
    for layer, value in ((cover, Cover.ROAD), (material, Material.ASPHALT), (height, 0), (key, keys_of(99)[0])):
        layer[avenue] = value
    for layer, old in (
        (cover, country.cover),
        (material, country.material),
        (height, country.height),
        (key, country.key),
    ):
        layer[keep] = old[keep]
    _drop_stumps(building, key, footprint, material, height)
    return Ground(cover=cover, material=material, key=key, height=height, building=building)


def _drop_stumps(
    building: NDArray[np.bool_], key: NDArray, footprint: NDArray, material: NDArray, height: NDArray
) -> None:
    """Turn buildings of which roads or water leave less than half, or 40 square metres, into lawns (in place)."""
    _, number = np.unique(key[building], return_inverse=True)
    area = (np.bincount(number) * CELL_M**2)[number] if number.size else np.zeros(0)
    wanted = footprint[building]
    # Sheds are as small as they are meant to be.
    stump = (area < 0.5 * wanted) | ((wanted == 0) & (area < 40.0))
    lost = np.zeros(building.shape, bool)
    lost[building] = stump
    building[lost], material[lost], height[lost] = False, Material.GRASS, 0.0


def simulate_city(
    seed: int, shape: tuple[int, int] = (256, 256), *, years: tuple[int, int] = (2016, 2024), epsg: int = 32633
) -> City:
    """Make a town with its surroundings.

    Args:
        seed: Equal seeds give equal towns.
        shape: Rows and columns of 10 m pixels, 32 to 4096 each.
        years: First and last year in which the town can be observed; it grows from covering about a third
            of the land to covering about half of it.
        epsg: A UTM zone; northern zones put the town at 47 degrees north, southern ones at 47 south.

    Returns:
        The town with its truth.

    Raises:
        ConfigurationError: If shape, years or the zone are out of range.
    """
    if min(shape) < 32 or max(shape) > 4096:
        raise ConfigurationError(f"A city has 32 to 4096 rows and columns of 10 m pixels, not {shape}.")
    if not 1900 < years[0] < years[1] <= 2100:
        raise ConfigurationError(f"The years {years} must be two ascending years between 1901 and 2100.")
    rng = generator(seed, 1)
    geobox = _geobox(shape, epsg)
    fine = (shape[0] * FACTOR, shape[1] * FACTOR)
    centre = (rng.uniform(0.36, 0.64) * shape[1] * PIXEL_M, rng.uniform(0.36, 0.64) * shape[0] * PIXEL_M)
    terrain = make_terrain(rng, fine, CELL_M, centre)
    skeleton = make_skeleton(rng, terrain, CELL_M, centre, years)
    country = make_countryside(rng, terrain, skeleton, CELL_M)
    town = _build_town(rng, terrain, skeleton, country)
    delay = np.floor(3.0 * uniform_of(town.key, 7)).astype(np.int16)
    finished = np.where(skeleton.urban_year == NEVER, NEVER, np.minimum(skeleton.urban_year + delay, years[1]))
    # Objects of two cities that happen to share a key (the motorway, say) must still look different.
    salted = keys_of(town.key, seed), keys_of(country.key, seed)
    return City(
        seed=seed,
        years=years,
        geobox=geobox,
        elevation=block_mean(terrain.elevation, FACTOR),
        country=replace(country, key=salted[1]),
        town=replace(town, key=salted[0]),
        urban_year=skeleton.urban_year,
        building_year=np.where(town.building, finished, NEVER).astype(np.int16),
        orientation=skeleton.angle,
        terrain=terrain,
    )
