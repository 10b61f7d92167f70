"""Simulated places that grow, in the files that `samples.datasets.growth_sites` reads.

Every image is a scene as well: a declaration lies beside it, so that it can be mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import write_json
from ecumene.core.progress import Progress, silent
from ecumene.simulate.city import City, simulate_city
from ecumene.simulate.cover import Material
from ecumene.simulate.datasets.files import SIMULATED, Written, in_order, whole_folder, write_notice
from ecumene.simulate.noise import generator
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1
from ecumene.simulate.writing import SCALE, write_raster, write_sentinel1, write_sentinel2

YEARS = (2016, 2018, 2020, 2022, 2024)
OFFSET = -0.1
UNKNOWN = 255
_ARID = {
    Material.BROADLEAF: Material.SOIL,
    Material.CONIFER: Material.BROADLEAF,
    Material.GRASS: Material.SOIL,
    Material.WINTER_CEREAL: Material.SOIL,
    Material.MAIZE: Material.GRAVEL,
    Material.RAPESEED: Material.SOIL,
    Material.ROOT_CROP: Material.GRASS,
    Material.TILE: Material.GRAVEL,
    Material.DARK_ROOF: Material.CONCRETE,
    Material.ASPHALT: Material.SOIL,
}
STYLES: dict[str, dict[Material, Material]] = {"temperate": {}, "arid": _ARID}
"""What the ground of a region is made of instead; plans and heights of its towns are alike."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    name: str
    seed: int
    side: int
    style: str
    mapped: bool


def in_style(city: City, style: str) -> City:
    """Return a town with the materials of a region: optical images change much, radar images little.

    Raises:
        ConfigurationError: If there is no such style.
    """
    if style not in STYLES:
        raise ConfigurationError(f"There is no style {style!r} of towns; there are {', '.join(STYLES)}.")
    table = np.arange(len(Material), dtype=np.uint8)
    for old, new in STYLES[style].items():
        table[old] = new
    grounds = {name: getattr(city, name) for name in ("town", "country")}
    return replace(city, **{name: replace(ground, material=table[ground.material]) for name, ground in grounds.items()})


def observed_growth(
    seed: int, side: int, style: str, years: Sequence[int] = YEARS
) -> tuple[City, list[tuple[np.datetime64, int]]]:
    """Return a town and the (day, seed of the acquisitions) of each year, in early summer.

    Args:
        seed: Of the town and the days.
        side: Pixels of 10 m.
        style: One of `STYLES`.
        years: Of the dates.
    """
    rng = generator(seed, 97)
    city = in_style(simulate_city(seed, (side, side), years=(min(years), max(years))), style)
    days = [np.datetime64(f"{year}-{int(rng.integers(5, 8)):02d}-15") for year in years]
    return city, [(day, int(rng.integers(1 << 31))) for day in days]


def built_map(city: City, year: int) -> NDArray[np.uint8]:
    """Return what is built in a year, uint8 `[H, W]` of 0 and 1: the class of the pixel is a built-up one."""
    return city.built_up(year).astype(np.uint8)


def _write_site(job: _Job) -> list[dict[str, int | bool]]:
    """Write the images and maps of a site; return its entries of `metadata.json`."""
    city, dates = observed_growth(job.seed, job.side, job.style)
    rows: list[dict[str, int | bool]] = []
    for day, seed in dates:
        year, month = int(str(day)[:4]), int(str(day)[5:7])
        place = job.folder / job.name
        stem = f"{job.name}_{year}_{month:02d}.tif"
        for name in ("s1", "s2", *(("buildings",) if job.mapped else ())):
            (place / name).mkdir(parents=True, exist_ok=True)
        write_sentinel1(observe_sentinel1(city, day, seed), place / "s1" / f"s1_{stem}")
        write_sentinel2(
            observe_sentinel2(city, day, seed=seed, with_truth=False), place / "s2" / f"s2_{stem}", with_mask=False
        )
        if job.mapped:
            target = place / "buildings" / f"buildings_{stem}"
            tags = {"SIMULATED": SIMULATED}
            write_raster(target, built_map(city, year), city.geobox, names=("built",), nodata=UNKNOWN, tags=tags)
        rows.append({"year": year, "month": month, "s1": True, "s2": True, "buildings": job.mapped, "masked": False})
    return rows


def usual_roles(number: int) -> list[tuple[str, str]]:
    """Return (part, style) of each site: about half to learn from; half of the test and of the unlabelled ones arid.

    Raises:
        ConfigurationError: If there are too few for every part.
    """
    if not 10 <= number <= 2_000:
        raise ConfigurationError(f"The number of sites must be between 10 and 2000, not {number}.")
    validation = calibration = max(1, number // 10)
    test = unlabelled = max(2, number // 5)
    train = number - validation - calibration - test - unlabelled
    roles = [("train", "temperate")] * train + [("validation", "temperate")] * validation
    roles += [("calibration", "temperate")] * calibration
    for role, count in (("test", test), ("unlabelled", unlabelled)):
        roles += [(role, ("temperate", "arid")[place % 2]) for place in range(count)]
    return roles


def write_growth_sites(
    out: Path | str,
    number: int = 30,
    seed: int = 0,
    *,
    workers: int = 1,
    progress: Progress = silent,
    side: int = 128,
    roles: Sequence[tuple[str, str]] | None = None,
) -> Written:
    """Write simulated places with Sentinel-1 and Sentinel-2 images of five years and maps of what is built.

    Args:
        out: Folder to make.
        number: Sites.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (sites done, sites, what).
        side: Pixels of 10 m of a site.
        roles: (part, style) of each site; None: `usual_roles`.

    Raises:
        ConfigurationError: If a number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    chosen = list(roles) if roles is not None else usual_roles(number)
    names = [f"site{place:04d}" for place in range(len(chosen))]
    with whole_folder(out) as folder:
        jobs = [
            _Job(folder, name, int(generator(seed, place, 89).integers(1 << 31)), side, style, role != "unlabelled")
            for place, (name, (role, style)) in enumerate(zip(names, chosen, strict=True))
        ]
        metadata = {}
        for done, rows in enumerate(in_order(_write_site, jobs, workers)):
            metadata[names[done]] = rows
            progress(done + 1, len(jobs), "sites")
        bands = list(observe_bands())
        sensors = {
            "s1": {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV", "VH"], "scale": 1.0, "offset": 0.0},
            "s2": {"sensor": "sentinel-2", "level": "L2A", "bands": bands, "scale": SCALE, "offset": OFFSET},
        }
        sites = {name: role for name, (role, _) in zip(names, chosen, strict=True)}
        styles = {name: style for name, (_, style) in zip(names, chosen, strict=True)}
        write_json(folder / "metadata.json", metadata)
        declared = {"sensors": sensors, "sites": sites, "resolution_m": 10.0, "styles": styles}
        write_json(folder / "data_set.json", declared)
        write_notice(folder, "growth-sites", {"number": len(chosen), "seed": seed, "side": side})
    return Written(Path(out), "growth-sites", len(chosen), len(chosen))


def observe_bands() -> tuple[str, ...]:
    """Return the bands of Sentinel-2 L2A, in the order of the files."""
    from ecumene.sensors import get_sensor

    sensor = get_sensor("sentinel-2")
    return tuple(sensor.level("L2A").bands or (band.name for band in sensor.bands))
