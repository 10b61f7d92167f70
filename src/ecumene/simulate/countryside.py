"""Fields, meadows, forests and quarries: the ground that is not, or not yet, built up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ecumene.simulate.cover import CROPS, Cover, Material
from ecumene.simulate.noise import Keys, fractal_field, keys_of, normal_of, uniform_of
from ecumene.simulate.streets import Skeleton
from ecumene.simulate.surface_kernels import number_objects
from ecumene.simulate.terrain import Terrain


@dataclass(frozen=True)
class Objects:
    """The objects of a surface: cells of one key and one material.

    Attributes:
        number: Object of each cell, int32 `[rows, cols]`.
        key: Key of each object, `[objects]`.
        material: `Material` code of each object, uint8 `[objects]`.
    """

    number: NDArray[np.int32]
    key: Keys
    material: NDArray[np.uint8]


@dataclass(frozen=True)
class Ground:
    """One state of the surface on the fine grid.

    Attributes:
        cover: `Cover` code.
        material: `Material` code.
        key: Key of the object that the cell belongs to.
        height: Height above ground in metres of buildings and trees.
        building: True on buildings.
    """

    cover: NDArray[np.uint8]
    material: NDArray[np.uint8]
    key: Keys
    height: NDArray[np.float32]
    building: NDArray[np.bool_]

    @cached_property
    def objects(self) -> Objects:
        """The objects, numbered."""
        number, key, material = number_objects(self.key.ravel(), self.material.ravel())
        return Objects(number.reshape(self.key.shape), key, material)


def rank_texture(field: NDArray) -> NDArray[np.float32]:
    """Turn a standard normal field into one that is uniform in 0..1."""
    return special.ndtr(field).astype(np.float32)


def _quarries(rng: np.random.Generator, terrain: Terrain, skeleton: Skeleton, rough: NDArray) -> NDArray[np.bool_]:
    """Return ragged pits outside of the town, about three for each 6.5 square kilometres."""
    x, y = terrain.x, terrain.y
    pits = np.zeros(x.shape, bool)
    wanted, tries = 3 + rng.poisson(float(x.max()) * float(y.max()) / 3.2e6), 0
    while wanted and tries < 200:
        tries += 1
        east, south = rng.uniform(0.03, 0.97) * float(x.max()), rng.uniform(0.03, 0.97) * float(y.max())
        radius = rng.uniform(45.0, 130.0)
        row, col = (min(int(v / float(y[1, 0] - y[0, 0])), n - 1) for v, n in zip((south, east), x.shape, strict=True))
        if skeleton.centrality[row, col] > 0.75 and not terrain.water[row, col]:
            wanted -= 1
            pits |= np.hypot((x - east) / radius, (y - south) / (0.75 * radius)) + 0.22 * rough < 1.0
    return pits


def _canopy_height(trees: NDArray[np.bool_], in_forest: NDArray[np.bool_], crown: NDArray) -> NDArray[np.float32]:
    """Return the height of trees in metres: about 19 in forests, 8 elsewhere, sloping down at edges."""
    mean = ndimage.uniform_filter((trees * np.where(in_forest, 19.0, 8.0)).astype(np.float32), 3)
    return np.where(trees, np.maximum(mean * crown, 2.0), 0.0).astype(np.float32)


def make_countryside(rng: np.random.Generator, terrain: Terrain, skeleton: Skeleton, cell_m: float) -> Ground:
    """Return the ground without the town.

    Forest stands where it is steep or high or far from the town, with ragged edges, and as belts along
    the river; meadows lie on the flood plain and, as pastures, among the fields.
    """
    shape = terrain.x.shape
    coarse = (-(-shape[0] // 4), -(-shape[1] // 4))
    fields = skeleton.fields
    smooth = fractal_field(rng, coarse, longest=850.0 / (4 * cell_m), exponent=3.4, shortest=90.0 / (4 * cell_m))
    stand = ndimage.zoom(smooth, 4, order=1)[: shape[0], : shape[1]]
    wooded = stand + 5.0 * (terrain.slope - 0.08) + 0.005 * (terrain.elevation - terrain.elevation.mean())
    # Whole plots are cleared or planted, so that most forest edges are field borders.
    wooded = wooded + 0.55 * normal_of(fields.key, 80)
    rough = fractal_field(rng, shape, longest=60.0 / cell_m, exponent=2.6, shortest=8.0 / cell_m)
    bank = terrain.river_distance
    belt = (bank > 1.0) & (bank < 9.0 + 7.0 * rough) & (stand > -0.6)
    forest = (wooded > 1.0) | belt
    draw = uniform_of(fields.key, 81)
    meadow = (draw < 0.20) | ((bank < 60.0) & (draw < 0.75)) | ((stand > 0.45) & (draw < 0.45))
    hedge = (fields.edge < 3.5) & (uniform_of(keys_of(fields.key, 82), 1) < 0.16)
    orchard = meadow & (uniform_of(fields.key, 83) < 0.35) & (rough > 0.9)
    crop = np.array(CROPS, np.uint8)[np.searchsorted((0.38, 0.68, 0.82), uniform_of(fields.key, 84))]
    material = np.where(meadow, Material.GRASS, crop)
    cover = np.where(meadow, Cover.GRASS, Cover.CROPLAND)
    key = fields.key.copy()
    tree = hedge | orchard
    pits = _quarries(rng, terrain, skeleton, rough)
    mound = fractal_field(rng, shape, longest=40.0 / cell_m, exponent=2.4, shortest=4.0)
    pit_material = np.where(mound > 0.55, Material.GRAVEL, np.where(mound < -1.6, Material.GRASS, Material.SOIL))
    shore = (bank > 0) & (bank < 6.0 + 6.0 * mound) & (stand < -1.0)
    verge = skeleton.verge & (rough > 0.4)
    woods = np.where(uniform_of(fields.key, 85) + 0.18 * stand < 0.42, Material.CONIFER, Material.BROADLEAF)
    layers: tuple[tuple[NDArray[np.bool_], int | None, NDArray | int, NDArray | int], ...] = (
        (tree, None, Material.BROADLEAF, keys_of(fields.key, 87)),
        (forest, Cover.FOREST, woods, keys_of(fields.key, 86)),
        (pits | shore, Cover.BARE, pit_material, keys_of(pits.astype(np.int8), 88)),
        (skeleton.lane, Cover.ROAD, Material.ASPHALT, keys_of(89)),
        (skeleton.verge, Cover.GRASS, np.where(verge, Material.BROADLEAF, Material.GRASS), keys_of(90)),
        (terrain.water, Cover.WATER, Material.WATER, keys_of((bank < 0).astype(np.int8), 91)),
        (skeleton.motorway, Cover.ROAD, Material.ASPHALT, keys_of(92)),
    )
    for where, code, stuff, name in layers:
        if code is not None:
            cover = np.where(where, code, cover)
        material = np.where(where, stuff, material)
        key = np.where(where, name, key)
    trees = (material == Material.BROADLEAF) | (material == Material.CONIFER)
    crown = 1.0 + 0.18 * fractal_field(rng, shape, longest=16.0 / cell_m, exponent=1.5)
    height = _canopy_height(trees, cover == Cover.FOREST, crown)
    return Ground(
        cover=cover.astype(np.uint8),
        material=material.astype(np.uint8),
        key=key,
        height=height,
        building=np.zeros(shape, bool),
    )
