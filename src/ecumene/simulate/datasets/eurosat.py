"""Simulated patches in the files of EuroSAT: 13 bands as GeoTIFF, and the RGB product as JPEG.

Layout, band order and stretch as Helber et al. (2019, doi 10.1109/JSTARS.2019.2918242) published them: class folders
with `Forest_1.tif`, B8A last; red, green and blue with the digital numbers 0..2750 as 1..255.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.simulate.datasets.files import (
    SIMULATED,
    Written,
    apportion,
    digital_numbers,
    in_order,
    whole_folder,
    without_warning,
    write_image,
    write_notice,
)
from ecumene.simulate.land_use import Use
from ecumene.simulate.landscape import Line, Where, draw_where, simulate_landscape
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.sun import parse_date

PATCH = 64
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
STRETCH_TOP = 2750.0
DATES = 4
"""Days on which a landscape is seen; each patch of a place is of another day."""
LARGEST_SIDE = 8

COUNTS = {
    "AnnualCrop": 3000,
    "Forest": 3000,
    "HerbaceousVegetation": 3000,
    "Highway": 2500,
    "Industrial": 2500,
    "Pasture": 2000,
    "PermanentCrop": 2500,
    "Residential": 3000,
    "River": 2500,
    "SeaLake": 3000,
}
"""Patches of each class in the published set; a smaller one keeps the proportions."""

_OPEN_LAND = (Use.ANNUAL_CROP, Use.PASTURE, Use.HERBACEOUS, Use.MIXED_FOREST)
USES: dict[str, tuple[Use, ...]] = {
    "AnnualCrop": (Use.ANNUAL_CROP,),
    "Forest": (Use.BROADLEAF_FOREST, Use.CONIFER_FOREST, Use.MIXED_FOREST),
    "HerbaceousVegetation": (Use.HERBACEOUS, Use.HERBACEOUS, Use.SHRUB),
    "Highway": (*_OPEN_LAND, Use.OPEN_LOW_RISE, Use.LARGE_LOW_RISE),
    "Industrial": (Use.LARGE_LOW_RISE, Use.LARGE_LOW_RISE, Use.HEAVY_INDUSTRY),
    "Pasture": (Use.PASTURE,),
    "PermanentCrop": (Use.PERMANENT_CROP,),
    "Residential": (
        Use.OPEN_LOW_RISE,
        Use.OPEN_LOW_RISE,
        Use.COMPACT_LOW_RISE,
        Use.OPEN_MID_RISE,
        Use.COMPACT_MID_RISE,
    ),
    "River": (*_OPEN_LAND, Use.OPEN_LOW_RISE),
    "SeaLake": (Use.WATER,),
}
"""What a patch of a class may be made of; those of Highway and River are crossed by one."""


@dataclass(frozen=True)
class _Job:
    """A landscape and the patches to cut from it."""

    folder: Path
    number: int
    seed: int
    side: int
    classes: tuple[str, ...]
    """Class of each zone, row by row; empty: nobody looks at it."""
    patches: tuple[tuple[int, int, str], ...]
    """Zone, date and file name of each patch."""


def _date(rng: np.random.Generator) -> np.datetime64:
    year, day = int(rng.integers(2016, 2021)), int(rng.integers(74, 311))
    return parse_date(f"{year}-01-01") + np.timedelta64(day, "D")


def _write_jpeg(path: Path, numbers: NDArray[np.uint16]) -> None:
    """Write the RGB product of a patch `[3, H, W]`."""
    stretched = np.clip(numbers / STRETCH_TOP, 0.0, 1.0) * 254.0 + 1.0
    options: dict[str, Any] = {"driver": "JPEG", "dtype": "uint8", "count": 3, "QUALITY": 95, "COMMENT": SIMULATED}
    height, width = numbers.shape[1:]
    with without_warning(), rasterio.open(path, "w", height=height, width=width, **options) as target:
        target.write(np.rint(stretched).astype(np.uint8))


def _write_landscape(job: _Job) -> list[tuple[str, str, int, int, int, str]]:
    """Simulate a landscape, write its patches and return a row of the list for each."""
    rng = generator(job.seed, job.number, 81)
    drawn = [USES[name] if name else tuple(Use) for name in job.classes]
    uses = np.array([options[int(rng.integers(len(options)))] for options in drawn]).reshape(job.side, job.side)
    lines = tuple(
        Line(*divmod(zone, job.side), river=name == "River")
        for zone, name in enumerate(job.classes)
        if name in ("River", "Highway")
    )
    where = draw_where(job.number, job.seed)
    city = simulate_landscape(int(rng.integers(1 << 31)), uses, PATCH, where, lines=lines)
    rows = []
    for number in range(DATES):
        date, noise = _date(rng), int(rng.integers(1 << 31))
        wanted = [(zone, name) for zone, day, name in job.patches if day == number]
        if not wanted:
            continue
        seen = observe_sentinel2(city, date, level="L1C", seed=noise, with_truth=False)
        image = digital_numbers(seen.image[[seen.bands.index(band) for band in BANDS]])
        for zone, name in wanted:
            row, col = (PATCH * index for index in divmod(zone, job.side))
            cut = image[:, row : row + PATCH, col : col + PATCH]
            _write_patch(job.folder, name, cut, where, row, col)
            rows.append((name, name.rpartition("_")[0], job.number, row, col, str(date)))
    return rows


def _write_patch(folder: Path, name: str, cut: NDArray[np.uint16], where: Where, row: int, col: int) -> None:
    kind = name.rpartition("_")[0]
    write_image(folder / "EuroSAT_MS" / kind / f"{name}.tif", cut, where, row, col)
    _write_jpeg(folder / "EuroSAT_RGB" / kind / f"{name}.jpg", cut[[3, 2, 1]])


def _plan(folder: Path, number: int, seed: int) -> list[_Job]:
    """Return the landscapes: zones of all classes, shuffled, each seen on up to `DATES` days."""
    counts = dict(zip(COUNTS, apportion(number, list(COUNTS.values())), strict=True))
    zones = [name for name, count in counts.items() for _ in range(-(-count // DATES))]
    # Small sets get small landscapes, so that there are several places to split by.
    side = int(np.clip(np.ceil(np.sqrt(len(zones) / 8)), 2, LARGEST_SIDE))
    order = generator(seed, 82).permutation(len(zones))
    left, jobs = counts.copy(), list[_Job]()
    for first in range(0, len(zones), side * side):
        chosen = [zones[index] for index in order[first : first + side * side]]
        patches = []
        for day in range(DATES):
            for zone, name in enumerate(chosen):
                if left[name]:
                    patches.append((zone, day, f"{name}_{counts[name] - left[name] + 1}"))
                    left[name] -= 1
        padded = (*chosen, *[""] * (side * side - len(chosen)))
        jobs.append(_Job(folder, len(jobs), seed, side, padded, tuple(patches)))
    return jobs


def write_eurosat(
    out: Path | str, number: int = 27_000, seed: int = 0, *, workers: int = 1, progress: Progress = silent
) -> Written:
    """Write simulated patches in EuroSAT's files.

    `EuroSAT_MS` holds the 13-band patches, `EuroSAT_RGB` the same as JPEG; `patches.csv` says of each its landscape,
    position and day, `SIMULATED.json` how it was made. Patches are top-of-atmosphere reflectance without clouds, 64 by
    64 pixels of 10 m. Each place is seen on up to four days, no two patches of a day overlap.

    Args:
        out: Folder to make.
        number: Patches, in the published proportions of the classes; 10 or more.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (landscapes done, landscapes, what).

    Raises:
        ConfigurationError: If a number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not 1 <= number <= 2_000_000:
        raise ConfigurationError(f"The number of images must be between 10 and 2000000, not {number}.")
    with whole_folder(out) as folder:
        for kind in COUNTS:
            (folder / "EuroSAT_MS" / kind).mkdir(parents=True)
            (folder / "EuroSAT_RGB" / kind).mkdir(parents=True)
        jobs = _plan(folder, number, seed)
        rows: list[tuple[Any, ...]] = []
        for done, part in enumerate(in_order(_write_landscape, jobs, workers)):
            rows += part
            progress(done + 1, len(jobs), "landscapes")
        with (folder / "patches.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(("patch", "class", "landscape", "row", "col", "date"))
            table.writerows(rows)
        facts = {"number": number, "seed": seed, "landscapes": len(jobs), "bands": list(BANDS), "level": "L1C"}
        write_notice(folder, "eurosat", facts)
    return Written(Path(out), "eurosat", number, len(jobs))
