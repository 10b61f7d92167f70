"""Files of a simulated data set: a folder that is whole or absent, images, and the notice that nothing here is real."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from ecumene._version import __version__
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import TEMPORARY_MARK, write_json
from ecumene.simulate.city import PIXEL_M
from ecumene.simulate.landscape import Where

SIMULATED = "SIMULATED by ecumene.simulate; not real, and no ground for claims about real data"
"""Written into every file that has room for it."""
LICENCE = "CC0-1.0"

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Written:
    """A data set on disk.

    Attributes:
        folder: Where it is.
        format: Name of the format.
        number: Images in it.
        places: Simulated landscapes (or drawings) that the images come from.
    """

    folder: Path
    format: str
    number: int
    places: int


@contextlib.contextmanager
def whole_folder(out: Path | str) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its name when the block ends well, and vanishes otherwise.

    Raises:
        ProductError: If `out` is there and not empty, or cannot be written.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ProductError(f"{target} exists and is not an empty folder; choose another with --out.")
    temporary = target.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{target.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise ProductError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _in_environment(function: Callable[[Job], Result], job: Job) -> Result:
    """Do a job with one environment of GDAL for all of its files, instead of one for each."""
    with rasterio.Env():
        return function(job)


def in_order(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Yield the results of jobs in their order, computed here or by processes.

    Args:
        function: A function of a module, so that a process can import it.
        jobs: Arguments.
        workers: Processes; 1 computes here.
    """
    work = partial(_in_environment, function)
    if workers <= 1:
        yield from map(work, jobs)
        return
    waiting = iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        # A few more jobs than workers are under way: memory stays flat whatever the size.
        running = [pool.submit(work, job) for job in islice(waiting, workers + 2)]
        while running:
            yield running.pop(0).result()
            running.extend(pool.submit(work, job) for job in islice(waiting, 1))


@contextlib.contextmanager
def without_warning() -> Iterator[None]:
    """Write pictures that have no place, as the published ones have none, without rasterio's remark about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@cache
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def write_image(path: Path, values: NDArray[Any], where: Where | None = None, row: int = 0, col: int = 0) -> None:
    """Write a small uncompressed GeoTIFF, pixel-interleaved as the published sets have it.

    Args:
        path: Target.
        values: `[bands, H, W]`.
        where: Of the landscape; None: without coordinates.
        row: First row of the image in the landscape, pixels of 10 m.
        col: First column.
    """
    placed: dict[str, Any] = {}
    if where is not None:
        corner = Affine(PIXEL_M, 0.0, where.east + col * PIXEL_M, 0.0, -PIXEL_M, where.north - row * PIXEL_M)
        placed = {"crs": _crs(where.epsg), "transform": corner}
    count, height, width = values.shape
    with (
        without_warning(),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=values.dtype.name,
            interleave="pixel",
            blockysize=height,
            **placed,
        ) as target,
    ):
        target.write(values)
        target.update_tags(SIMULATED=SIMULATED)


def digital_numbers(reflectance: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return reflectance as the digital numbers of an L1C product before baseline 04.00: scale 1e-4, no offset."""
    return np.asarray(np.clip(np.rint(reflectance * np.float32(1e4)), 1, 65535), np.uint16)


def apportion(number: int, weights: Sequence[float]) -> list[int]:
    """Return whole shares of a number in proportion to weights, by largest remainders, at least 1 each.

    Raises:
        ConfigurationError: If there are more weights than the number.
    """
    if number < len(weights):
        raise ConfigurationError(f"The number of images must be {len(weights)} or more, one a class, not {number}.")
    exact = np.asarray(weights, float) / sum(weights) * number
    shares = np.maximum(np.floor(exact).astype(int), 1)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    for index in order[: max(number - int(shares.sum()), 0)]:
        shares[index] += 1
    while shares.sum() > number:
        shares[int(shares.argmax())] -= 1
    return [int(share) for share in shares]


def write_notice(folder: Path, form: str, facts: dict[str, Any]) -> None:
    """Write `SIMULATED.json`: that and how the data were simulated."""
    about = {
        "notice": SIMULATED,
        "format": form,
        "licence": LICENCE,
        "software": f"ecumene {__version__}",
        "labels": "from the truth of the simulation",
    }
    write_json(folder / "SIMULATED.json", about | facts)
