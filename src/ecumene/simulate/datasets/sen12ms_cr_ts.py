"""Simulated series in the files of SEN12MS-CR-TS: 30 dates of a year, some clear, most clouded.

Folders and names as Ebel et al. (2022) published them:
`ROIs1158/106/S2/0/s2_ROIs1158_106_ImgNo_0_2018-01-03_patch_0.tif`, with `S1` beside `S2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.simulate.datasets.files import Written, in_order, whole_folder, write_image, write_notice
from ecumene.simulate.datasets.sen12ms import BANDS
from ecumene.simulate.datasets.sen12ms_cr import PATCH, draw_landscape, observe_pixels
from ecumene.simulate.landscape import draw_where
from ecumene.simulate.noise import generator

DATES = 30
CLEAR_SHARE = 0.35
"""Share of the dates without clouds; the others have 10 to 100 %."""
REGIONS = (
    ("ROIs1158", 106), ("ROIs1868", 36), ("ROIs1970", 65), ("ROIs2017", 8), ("ROIs1868", 119), ("ROIs1970", 21),
    ("ROIs2017", 25), ("ROIs1868", 56), ("ROIs2017", 22), ("ROIs1970", 35), ("ROIs1868", 73), ("ROIs2017", 49),
    ("ROIs1868", 85), ("ROIs1970", 40), ("ROIs2017", 61), ("ROIs1868", 17), ("ROIs2017", 108), ("ROIs1970", 57),
    ("ROIs2017", 69), ("ROIs1868", 114), ("ROIs1970", 71), ("ROIs2017", 75), ("ROIs1970", 139), ("ROIs1868", 121),
)  # fmt: skip
"""Regions that are simulated, in this order, so that a few already hold all parts of the official split."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    number: int
    seed: int
    across: int
    patches: int
    side: int
    dates: int


def _write_region(job: _Job) -> int:
    """Simulate the year of a region, write its patches and return their number."""
    rng = generator(job.seed, job.number, 91)
    where = draw_where(job.number, job.seed)
    city = draw_landscape(rng, job.side * job.across, where)
    collection, roi = REGIONS[job.number]
    step = 360 // job.dates
    for image in range(job.dates):
        day = np.datetime64("2018-01-01") + np.timedelta64(step * image + int(rng.integers(0, max(1, step // 2))), "D")
        cover = 0.0 if rng.uniform() < CLEAR_SHARE or image == job.dates // 2 else float(rng.uniform(0.1, 1.0))
        optical, radar = observe_pixels(city, day, int(rng.integers(1 << 30)), cover)
        for kind, pixels in (("s1", radar), ("s2", optical)):
            folder = job.folder / collection / str(roi) / kind.upper() / str(image)
            folder.mkdir(parents=True, exist_ok=True)
            for patch in range(job.patches):
                row, col = (job.side * index for index in divmod(patch, job.across))
                name = f"{kind}_{collection}_{roi}_ImgNo_{image}_{day}_patch_{patch}.tif"
                write_image(folder / name, pixels[:, row : row + job.side, col : col + job.side], where, row, col)
    return job.patches


def write_sen12ms_cr_ts(
    out: Path | str,
    number: int = 96,
    seed: int = 0,
    *,
    workers: int = 1,
    progress: Progress = silent,
    side: int = PATCH,
    dates: int = DATES,
) -> Written:
    """Write simulated series in the files of SEN12MS-CR-TS.

    Args:
        out: Folder to make.
        number: Patches, each with all dates.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (regions done, regions, what).
        side: Rows and columns of a patch; the published ones have 256.
        dates: Dates of the year; the published ones have 30.

    Raises:
        ConfigurationError: If a number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not 1 <= number <= 2_000 or not 32 <= side <= 512 or not 3 <= dates <= DATES:
        raise ConfigurationError(
            f"The number of patches must be 1 to 2000, their side 32 to 512 and their dates 3 to {DATES}, not "
            f"{number}, {side} and {dates}."
        )
    with whole_folder(out) as folder:
        across = next(n for n in range(1, 100) if n * n * len(REGIONS) >= number)
        jobs: list[_Job] = []
        left = number
        while left:
            patches = min(left, across * across)
            jobs.append(_Job(folder, len(jobs), seed, across, patches, side, dates))
            left -= patches
        for done, _ in enumerate(in_order(_write_region, jobs, workers)):
            progress(done + 1, len(jobs), "regions")
        facts = {"number": number, "seed": seed, "regions": len(jobs), "dates": dates, "bands": list(BANDS)}
        facts["side"] = side
        write_notice(folder, "sen12ms-cr-ts", facts)
    return Written(Path(out), "sen12ms-cr-ts", number, len(jobs))
