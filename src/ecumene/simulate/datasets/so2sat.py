"""Simulated patches in the files of So2Sat LCZ42: HDF5 with Sentinel-1, Sentinel-2 and local climate zones.

Layout as Zhu et al. (2020, doi 10.1109/MGRS.2020.2964708) published it: `training.h5`, `validation.h5` and `testing.h5`
with `sen1` `[N, 32, 32, 8]`, `sen2` `[N, 32, 32, 10]` and one-hot `label` `[N, 17]`, and `*_geo.h5` with coordinates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.simulate.city import PIXEL_M
from ecumene.simulate.datasets.files import SIMULATED, Written, in_order, whole_folder, write_notice
from ecumene.simulate.land_use import Use
from ecumene.simulate.landscape import Where, draw_where, simulate_landscape
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1

PATCH = 32
LEVEL: Literal["L1C"] = "L1C"
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LARGEST_SIDE = 16
LEE_WINDOW = 7

USES: tuple[tuple[Use, ...], ...] = (
    (Use.COMPACT_HIGH_RISE,),
    (Use.COMPACT_MID_RISE,),
    (Use.COMPACT_LOW_RISE,),
    (Use.OPEN_HIGH_RISE,),
    (Use.OPEN_MID_RISE,),
    (Use.OPEN_LOW_RISE,),
    (Use.LIGHTWEIGHT,),
    (Use.LARGE_LOW_RISE,),
    (Use.SPARSELY_BUILT,),
    (Use.HEAVY_INDUSTRY,),
    (Use.BROADLEAF_FOREST, Use.CONIFER_FOREST, Use.MIXED_FOREST),
    (Use.SCATTERED_TREES,),
    (Use.SHRUB,),
    (Use.ANNUAL_CROP, Use.PASTURE, Use.HERBACEOUS),
    (Use.ROCK_OR_PAVED,),
    (Use.BARE_SOIL,),
    (Use.WATER,),
)
"""What each local climate zone 1..17 is made of; all zones are equally frequent."""


@dataclass(frozen=True)
class _Job:
    """A city and how many of its patches go where: (file, first column, columns, patches)."""

    number: int
    seed: int
    side: int
    parts: tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class _Part:
    file: str
    sen1: NDArray[np.float64]
    sen2: NDArray[np.float64]
    label: NDArray[np.float64]
    coord: NDArray[np.float64]
    epsg: int


def _signals(power: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the eight layers of Sentinel-1 from the mean power of VV and VH, `[8, H, W]`.

    Single-look signals are circular complex Gaussian. Like and cross polarisation are uncorrelated, as reflection
    symmetry has it. Intensities pass a refined Lee filter, their covariance a plain mean of the same window.
    """
    from scipy import ndimage

    from ecumene.physics.speckle.window_filters import refined_lee

    parts = rng.standard_normal((2, 2, *power.shape[1:]))
    vv, vh = (
        np.sqrt(mean / 2.0) * (real + 1j * imaginary) for mean, (real, imaginary) in zip(power, parts, strict=True)
    )
    filtered = [refined_lee(np.abs(signal) ** 2, 1.0, window=LEE_WINDOW).value for signal in (vh, vv)]
    product = vv * np.conj(vh)
    covariance = [ndimage.uniform_filter(layer, LEE_WINDOW, mode="nearest") for layer in (product.real, product.imag)]
    return np.stack([vh.real, vh.imag, vv.real, vv.imag, *filtered, *covariance])


def _simulate(job: _Job) -> list[_Part]:
    """Simulate a city and cut its patches."""
    rng = generator(job.seed, job.number, 84)
    zones = rng.permutation(np.resize(rng.permutation(len(USES)), job.side**2)).reshape(job.side, job.side)
    uses = np.array([[USES[zone][int(rng.integers(len(USES[zone])))] for zone in row] for row in zones])
    where = draw_where(job.number, job.seed)
    city = simulate_landscape(int(rng.integers(1 << 31)), uses, PATCH, where)
    day = np.datetime64("2017-01-01") + np.timedelta64(int(rng.integers(75, 311)), "D")
    optical = observe_sentinel2(city, day, level=LEVEL, seed=int(rng.integers(1 << 31)), with_truth=False)
    reflectance = np.clip(optical.image[[optical.bands.index(band) for band in BANDS]], 1e-4, None)
    radar = observe_sentinel1(city, day, int(rng.integers(1 << 31)))
    power = 10.0 ** (radar.truth[[radar.bands.index(band) for band in ("VV", "VH")]].astype(np.float64) / 10.0)
    signals = _signals(power, rng)
    parts = []
    for file, first, columns, count in job.parts:
        inside = [(row, first + col) for row in range(job.side) for col in range(columns)]
        places = [inside[index] for index in np.sort(rng.permutation(len(inside))[:count])]
        chosen = np.array([zones[row, col] for row, col in places], np.intp)
        # The published numbers have four decimals: digital numbers / 10000.
        optics = np.asarray(np.round(_cut(reflectance, places).astype(np.float64), 4), np.float64)
        label = np.eye(len(USES), dtype=np.float64)[chosen]
        parts.append(_Part(file, _cut(signals, places), optics, label, _coordinates(where, places), where.epsg))
    return parts


def _cut(image: NDArray[Any], places: list[tuple[int, int]]) -> NDArray[Any]:
    """Return the zones of an image `[bands, H, W]` as `[N, 32, 32, bands]`."""
    cuts = [image[:, row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH] for row, col in places]
    return np.moveaxis(np.stack(cuts), 1, -1)


def _coordinates(where: Where, places: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Return UTM x and y of the upper left corner, and row and column in the Sentinel-1 and Sentinel-2 image."""
    pixels = np.array(places, np.float64) * PATCH
    x, y = where.east + pixels[:, 1] * PIXEL_M, where.north - pixels[:, 0] * PIXEL_M
    return np.stack([x, y, pixels[:, 0], pixels[:, 1], pixels[:, 0], pixels[:, 1]], axis=1)


def _plan(number: int, seed: int) -> tuple[list[_Job], dict[str, int]]:
    """Return the cities, and the patches of each file: 80, 10 and 10 %."""
    tenth = number // 10
    wanted = {"training": number - 2 * tenth, "validation": tenth, "testing": tenth}
    side = 2 * int(np.clip(np.ceil(np.sqrt(number / 8) / 2), 2, LARGEST_SIDE // 2))
    jobs: list[_Job] = []
    left = dict(wanted)
    while left["training"]:
        count = min(left["training"], side * side)
        jobs.append(_Job(len(jobs), seed, side, (("training", 0, side, count),)))
        left["training"] -= count
    while left["validation"]:
        # Other cities, the western half for validation and the eastern for the test.
        count = min(left["validation"], side * side // 2)
        halves = (("validation", 0, side // 2, count), ("testing", side // 2, side // 2, count))
        jobs.append(_Job(len(jobs), seed, side, halves))
        left["validation"] -= count
    return jobs, wanted


@contextlib.contextmanager
def _open_files(folder: Path, counts: dict[str, int]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Yield the HDF5 files with empty data sets of their final size: image file and its coordinates."""
    h5py = require("h5py")
    with contextlib.ExitStack() as stack:
        files = {}
        for name, count in counts.items():
            images = stack.enter_context(h5py.File(folder / f"{name}.h5", "w"))
            images.create_dataset("sen1", (count, PATCH, PATCH, 8), "<f8")
            images.create_dataset("sen2", (count, PATCH, PATCH, len(BANDS)), "<f8")
            images.create_dataset("label", (count, len(USES)), "<f8")
            images.attrs["sentinel2_level"] = LEVEL
            images.attrs["simulated"] = SIMULATED
            places = stack.enter_context(h5py.File(folder / f"{name}_geo.h5", "w"))
            places.create_dataset("coord", (count, 6), "<f8")
            places.create_dataset("epsg", (count, 1), "<i4")
            places.create_dataset("tfw", (count, 6), "<f8")
            places.attrs["simulated"] = SIMULATED
            files[name] = (images, places)
        yield files


def _store(files: dict[str, tuple[Any, Any]], part: _Part, start: int) -> None:
    images, places = files[part.file]
    rows = slice(start, start + len(part.label))
    images["sen1"][rows], images["sen2"][rows], images["label"][rows] = part.sen1, part.sen2, part.label
    places["coord"][rows] = part.coord
    places["epsg"][rows] = part.epsg
    # Lines of a world file: pixel size, rotations, centre of the upper left pixel.
    world = np.tile([PIXEL_M, 0.0, 0.0, -PIXEL_M, 0.0, 0.0], (len(part.label), 1))
    world[:, 4:] = part.coord[:, :2] + np.array((PIXEL_M / 2, -PIXEL_M / 2))
    places["tfw"][rows] = world


def write_so2sat(
    out: Path | str, number: int = 10_000, seed: int = 0, *, workers: int = 1, progress: Progress = silent
) -> Written:
    """Write simulated patches in the files of So2Sat LCZ42, with coordinates as in its version 4.

    Validation and test patches are the western and eastern halves of cities that are not in the training file.
    Sentinel-2 is top-of-atmosphere reflectance, Sentinel-1 linear, single look. A patch takes 148 kB (float64, as
    published).

    Args:
        out: Folder to make.
        number: Patches in all, 10 or more: 80 % training, 10 % validation, 10 % test.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (cities done, cities, what).

    Raises:
        ConfigurationError: If the number is out of range.
        MissingDependencyError: If h5py is not installed.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not 10 <= number <= 1_000_000:
        raise ConfigurationError(f"The number of patches must be between 10 and 1000000, not {number}.")
    require("h5py")
    with whole_folder(out) as folder:
        jobs, counts = _plan(number, seed)
        filled = dict.fromkeys(counts, 0)
        with _open_files(folder, counts) as files:
            for done, parts in enumerate(in_order(_simulate, jobs, workers)):
                for part in parts:
                    _store(files, part, filled[part.file])
                    filled[part.file] += len(part.label)
                progress(done + 1, len(jobs), "cities")
        facts = {"number": number, "seed": seed, "cities": len(jobs), "level": LEVEL, "files": counts}
        write_notice(folder, "so2sat-lcz42", facts)
    return Written(Path(out), "so2sat-lcz42", number, len(jobs))
