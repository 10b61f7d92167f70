"""Simulated patches in the files of SEN12MS-CR: Sentinel-1, and Sentinel-2 with and without clouds.

Folders and names as Ebel et al. (2020) published them: `ROIs1158_spring_s2_cloudy/s2_cloudy_1/
ROIs1158_spring_s2_cloudy_1_p30.tif`, with `_s1` and `_s2` (clear) beside it. The clear image is some days away from the
cloudy one, as real pairs are, so that the ground is not quite the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.simulate.city import City
from ecumene.simulate.datasets.files import (
    Written,
    digital_numbers,
    in_order,
    whole_folder,
    write_image,
    write_notice,
)
from ecumene.simulate.datasets.sen12ms import BANDS, SEASONS, ZONE, draw_uses
from ecumene.simulate.landscape import Where, draw_where, simulate_landscape
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1

PATCH = 256
SCENES = {
    "ROIs1158_spring": (1, 8, 106, 31, 17, 21),
    "ROIs1868_summer": (4, 119, 17, 7, 73, 11),
    "ROIs1970_fall": (139, 1, 65, 3, 4, 6),
    "ROIs2017_winter": (8, 108, 22, 21, 63, 25),
}
"""Numbers of the simulated scenes of each season, among them some that the official split tests and validates on."""


def observe_pixels(
    city: City, date: np.datetime64, seed: int, cover: float
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Return digital numbers of Sentinel-2 L1C `[13, H, W]` and decibels of Sentinel-1 `[2, H, W]` of a day.

    Args:
        city: What is observed.
        date: The day; the radar's is up to five days away.
        seed: Of noise, clouds and speckle.
        cover: Share of the scene under clouds.
    """
    rng = generator(city.seed, seed, 87)
    optical = observe_sentinel2(city, date, level="L1C", cloud_cover=cover, seed=seed, with_truth=False)
    radar = observe_sentinel1(city, date + np.timedelta64(int(rng.integers(-5, 6)), "D"), seed)
    stored = digital_numbers(optical.image[[optical.bands.index(band) for band in BANDS]])
    return stored, np.asarray(radar.image[[radar.bands.index(band) for band in ("VV", "VH")]], np.float32)


def draw_landscape(rng: np.random.Generator, side: int, where: Where) -> City:
    """Return a landscape of at least `side` pixels."""
    zones = -(-side // ZONE)
    return simulate_landscape(int(rng.integers(1 << 31)), draw_uses(rng, zones), ZONE, where)


@dataclass(frozen=True)
class _Job:
    folder: Path
    number: int
    seed: int
    season: str
    scene: int
    across: int
    patches: int
    side: int


def _write_scene(job: _Job) -> int:
    """Simulate a scene, write its triplets and return their number."""
    rng = generator(job.seed, job.number, 89)
    where = draw_where(job.number, job.seed)
    city = draw_landscape(rng, job.side * job.across, where)
    first, last = SEASONS[job.season]
    date = np.datetime64(f"{int(rng.integers(2017, 2019))}-01-01") + np.timedelta64(int(rng.integers(first, last)), "D")
    clouded = date + np.timedelta64(int(rng.integers(1, 16)), "D")
    clear, _ = observe_pixels(city, date, int(rng.integers(1 << 30)), 0.0)
    cloudy, radar = observe_pixels(city, clouded, int(rng.integers(1 << 30)), float(rng.uniform(0.1, 0.9)))
    images: dict[str, NDArray[Any]] = {"s1": radar, "s2": clear, "s2_cloudy": cloudy}
    for patch in range(job.patches):
        row, col = (job.side * index for index in divmod(patch, job.across))
        for kind, image in images.items():
            folder = job.folder / f"{job.season}_{kind}" / f"{kind}_{job.scene}"
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{job.season}_{kind}_{job.scene}_p{patch + 1}.tif"
            write_image(folder / name, image[:, row : row + job.side, col : col + job.side], where, row, col)
    return job.patches


def _plan(folder: Path, number: int, seed: int, side: int) -> list[_Job]:
    rows = zip(*SCENES.values(), strict=True)
    places = [(season, scene) for row in rows for season, scene in zip(SCENES, row, strict=True)]
    # Few patches a scene as long as the named scenes last; then larger scenes.
    across = next(n for n in range(1, 100) if n * n * len(places) >= number)
    jobs: list[_Job] = []
    left = number
    while left:
        season, scene = places[len(jobs)]
        patches = min(left, across * across)
        jobs.append(_Job(folder, len(jobs), seed, season, scene, across, patches, side))
        left -= patches
    return jobs


def write_sen12ms_cr(
    out: Path | str,
    number: int = 240,
    seed: int = 0,
    *,
    workers: int = 1,
    progress: Progress = silent,
    side: int = PATCH,
) -> Written:
    """Write simulated triplets in the files of SEN12MS-CR.

    Args:
        out: Folder to make.
        number: Triplets.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (scenes done, scenes, what).
        side: Rows and columns of a patch; the published ones have 256.

    Raises:
        ConfigurationError: If a number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not 1 <= number <= 5_000 or not 32 <= side <= 512:
        raise ConfigurationError(
            f"The number of triplets must be 1 to 5000 and their side 32 to 512, not {number} and {side}."
        )
    with whole_folder(out) as folder:
        jobs = _plan(folder, number, seed, side)
        for done, _ in enumerate(in_order(_write_scene, jobs, workers)):
            progress(done + 1, len(jobs), "scenes")
        facts = {"number": number, "seed": seed, "scenes": len(jobs), "bands": list(BANDS), "side": side}
        write_notice(folder, "sen12ms-cr", facts)
    return Written(Path(out), "sen12ms-cr", number, len(jobs))
