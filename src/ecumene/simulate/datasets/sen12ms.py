"""Simulated patches in the files of SEN12MS: Sentinel-1, Sentinel-2 and land cover as GeoTIFF triplets.

Folders and names as Schmitt et al. (2019, doi 10.5194/isprs-annals-IV-2-W7-153-2019) published them:
`ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.tif`, with `s1_1` and `lc_1` beside `s2_1`; B8A is the ninth band.
Patches overlap by half, as the published ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import write_text
from ecumene.core.progress import Progress, silent
from ecumene.simulate.city import FACTOR, City
from ecumene.simulate.cover import Cover, Material
from ecumene.simulate.datasets.files import (
    Written,
    digital_numbers,
    in_order,
    whole_folder,
    write_image,
    write_notice,
)
from ecumene.simulate.land_use import Use
from ecumene.simulate.landscape import draw_where, simulate_landscape
from ecumene.simulate.noise import block_mean, fractal_field, generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1

PATCH, STRIDE = 256, 128
ZONE = 48
"""Pixels of a zone: about the 500 m of the MODIS land-cover map that the labels of the published set come from."""
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SEASONS = {
    "ROIs1158_spring": (60, 151),
    "ROIs1868_summer": (152, 243),
    "ROIs1970_fall": (244, 334),
    "ROIs2017_winter": (335, 424),
}
"""First and last day of the year of each collection."""

BIOMES: tuple[tuple[Use, ...], ...] = (
    (Use.ANNUAL_CROP, Use.PASTURE, Use.MIXED_FOREST, Use.OPEN_LOW_RISE),
    (Use.OPEN_LOW_RISE, Use.OPEN_MID_RISE, Use.COMPACT_MID_RISE, Use.LARGE_LOW_RISE),
    (Use.COMPACT_HIGH_RISE, Use.COMPACT_MID_RISE, Use.OPEN_HIGH_RISE, Use.WATER),
    (Use.BROADLEAF_FOREST, Use.MIXED_FOREST, Use.CONIFER_FOREST, Use.WATER),
    (Use.HERBACEOUS, Use.SHRUB, Use.SCATTERED_TREES, Use.BARE_SOIL),
    (Use.BARE_SOIL, Use.ROCK_OR_PAVED, Use.HERBACEOUS, Use.SHRUB),
    (Use.WATER, Use.WETLAND, Use.HERBACEOUS, Use.ANNUAL_CROP),
    (Use.ANNUAL_CROP, Use.PERMANENT_CROP, Use.SPARSELY_BUILT, Use.SCATTERED_TREES),
    (Use.SCATTERED_TREES, Use.HERBACEOUS, Use.BROADLEAF_FOREST, Use.PASTURE),
)
"""What lies together; a scene has one of these, in patches of different size."""

# The further layers of MCD12Q1 for each IGBP class 1..17: LCCS land cover, land use and surface hydrology
# (Sulla-Menashe and Friedl 2018, user guide of collection 6, tables 7 to 9), the usual companion of each class.
_LCCS = (11, 12, 13, 14, 15, 41, 43, 21, 22, 31, 31, 31, 1, 42, 2, 1, 3)
_LAND_USE = (10, 10, 10, 10, 10, 40, 40, 20, 20, 30, 30, 36, 9, 35, 2, 1, 3)
_HYDROLOGY = (10, 10, 10, 10, 10, 40, 40, 20, 20, 30, 50, 30, 1, 30, 2, 1, 3)


@dataclass(frozen=True)
class _Job:
    folder: Path
    number: int
    seed: int
    season: str
    scene: int
    across: int
    patches: int


def land_cover_igbp(city: City, zone_px: int = ZONE) -> NDArray[np.uint8]:
    """Return the IGBP class of each block of a landscape, `[rows, columns]`, from what truly covers it.

    Limits of cover follow the definitions of the legend (Loveland and Belward 1997): forest above 60 % trees, woody
    savanna 30 to 60, savanna 10 to 30, cropland and closed shrubland above 60; a third built up counts as urban.
    Evergreen broadleaf and deciduous needleleaf forest, snow and ice do not occur.
    """
    ground = city.ground()
    material, tall = ground.material, ground.height >= 2.0

    def share(where: NDArray[np.bool_]) -> NDArray[np.float32]:
        return block_mean(where, FACTOR * zone_px)

    crops = ground.cover == Cover.CROPLAND
    wild = ~crops & ~ground.building
    leaves, needles = material == Material.BROADLEAF, material == Material.CONIFER
    sealed = ground.building | ((material >= Material.ASPHALT) & (material <= Material.METAL))
    water, crop, urban = share(material == Material.WATER), share(crops), share(sealed)
    trees, conifer = share(wild & tall & (leaves | needles)), share(wild & tall & needles)
    bushes = share(wild & ~tall & leaves)
    bare = share(~ground.building & ((material == Material.SOIL) | (material == Material.GRAVEL)) & wild)
    mostly = np.where(conifer > 0.6 * trees, 1, np.where(conifer < 0.4 * trees, 4, 5))
    rules = (
        (water > 0.6, 17),
        (urban > 0.33, 13),
        (water > 0.15, 11),
        (crop > 0.6, 12),
        (crop > 0.25, 14),
        (trees > 0.6, mostly),
        (bare > 0.6, 16),
        (trees > 0.3, 8),
        (bushes > 0.6, 6),
        (bushes > 0.25, 7),
        (trees > 0.1, 9),
    )
    code = np.select([where for where, _ in rules], [np.broadcast_to(value, water.shape) for _, value in rules], 10)
    return code.astype(np.uint8)


def draw_uses(rng: np.random.Generator, zones: int) -> NDArray[np.intp]:
    """Return uses that lie in patches of some zones, and here and there a stray one."""
    biome = np.array(BIOMES[int(rng.integers(len(BIOMES)))])
    field = fractal_field(rng, (zones, zones), longest=float(zones), exponent=3.0)
    shares = rng.dirichlet((1.2,) * len(biome))
    rank = np.argsort(np.argsort(field, axis=None)).reshape(field.shape) / field.size
    number = np.searchsorted(np.cumsum(shares)[:-1], rank)
    stray = rng.uniform(size=field.shape) < 0.1
    return np.asarray(np.where(stray, rng.choice(biome, field.shape), biome[number]))


def _write_scene(job: _Job) -> list[str]:
    """Simulate a scene, write its triplets and return the names of its s2 files."""
    rng = generator(job.seed, job.number, 83)
    rows = PATCH + STRIDE * (job.across - 1)
    where = draw_where(job.number, job.seed)
    zones = -(-rows // ZONE)
    city = simulate_landscape(int(rng.integers(1 << 31)), draw_uses(rng, zones), ZONE, where)
    first, last = SEASONS[job.season]
    date = np.datetime64(f"{int(rng.integers(2016, 2019))}-01-01") + np.timedelta64(int(rng.integers(first, last)), "D")
    optical = observe_sentinel2(city, date, level="L1C", seed=int(rng.integers(1 << 31)), with_truth=False)
    radar = observe_sentinel1(city, date + np.timedelta64(int(rng.integers(-5, 6)), "D"), int(rng.integers(1 << 31)))
    igbp = np.kron(land_cover_igbp(city), np.ones((ZONE, ZONE), np.uint16))
    layers = [igbp, *(np.array((0, *codes), np.uint16)[igbp] for codes in (_LCCS, _LAND_USE, _HYDROLOGY))]
    images: dict[str, NDArray[Any]] = {
        "s1": radar.image[[radar.bands.index(band) for band in ("VV", "VH")]],
        "s2": digital_numbers(optical.image[[optical.bands.index(band) for band in BANDS]]),
        "lc": np.stack(layers).astype(np.uint16),
    }
    names = []
    for patch in range(job.patches):
        row, col = (STRIDE * index for index in divmod(patch, job.across))
        for kind, image in images.items():
            name = f"{job.season}_{kind}_{job.scene}_p{patch + 1}.tif"
            folder = job.folder / job.season / f"{kind}_{job.scene}"
            folder.mkdir(parents=True, exist_ok=True)
            write_image(folder / name, image[:, row : row + PATCH, col : col + PATCH], where, row, col)
        names.append(f"{job.season}_s2_{job.scene}_p{patch + 1}.tif")
    return names


def _plan(folder: Path, number: int, seed: int) -> list[_Job]:
    """Return the scenes; small sets have small scenes, so that every season is there."""
    across = 1 if number < 48 else 2 if number < 400 else 3
    seasons, jobs, left = list(SEASONS), list[_Job](), number
    while left:
        scene, season = divmod(len(jobs), len(seasons))
        patches = min(left, across * across)
        jobs.append(_Job(folder, len(jobs), seed, seasons[season], scene + 1, across, patches))
        left -= patches
    return jobs


def write_sen12ms(
    out: Path | str, number: int = 2_000, seed: int = 0, *, workers: int = 1, progress: Progress = silent
) -> Written:
    """Write simulated triplets in the files of SEN12MS.

    Sentinel-2 is top-of-atmosphere reflectance times 10000 (uint16, 13 bands), Sentinel-1 backscatter in dB (float32,
    VV and VH; the published files keep 16 bits), land cover has four layers (uint16), IGBP first, one class for each
    480 m. `train_list.txt` and `test_list.txt` split whole scenes, a fifth for the test.

    Args:
        out: Folder to make.
        number: Triplets.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (scenes done, scenes, what).

    Raises:
        ConfigurationError: If the number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not 1 <= number <= 200_000:
        raise ConfigurationError(f"The number of triplets must be between 1 and 200000, not {number}.")
    with whole_folder(out) as folder:
        jobs = _plan(folder, number, seed)
        lists: dict[str, list[str]] = {"train_list.txt": [], "test_list.txt": []}
        for done, names in enumerate(in_order(_write_scene, jobs, workers)):
            lists["test_list.txt" if done % 5 == 4 else "train_list.txt"] += names
            progress(done + 1, len(jobs), "scenes")
        for name, lines in lists.items():
            write_text(folder / name, "".join(f"{line}\n" for line in lines))
        write_notice(folder, "sen12ms", {"number": number, "seed": seed, "scenes": len(jobs), "bands": list(BANDS)})
    return Written(Path(out), "sen12ms", number, len(jobs))
