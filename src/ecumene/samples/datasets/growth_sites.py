"""Places seen by Sentinel-1 and Sentinel-2 at several dates, some with maps of buildings at each of them.

Files are laid out and named as the published SpaceNet 7 extension with Sentinel images has them (Hafner, Ban, Nascetti
2023, doi 10.5281/zenodo.7794693; its loader reads `metadata.json` and, for each site, `s1`, `s2` and `buildings`):

    DIR/metadata.json                              {SITE: [{"year", "month", "s1", "s2", "buildings", "masked"}, ..]}
    DIR/SITE/s1/s1_SITE_YYYY_MM.tif                Sentinel-1, VV and VH
    DIR/SITE/s2/s2_SITE_YYYY_MM.tif                Sentinel-2
    DIR/SITE/buildings/buildings_SITE_YYYY_MM.tif  above 0: built; the file's nodata value: unknown
    DIR/data_set.json                              sensors and parts, see below

The published files say neither which site is for what nor their units: `data_set.json` does.

    {"sensors": {"s1": {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV", "VH"], "scale": 25.0, "offset": -25.0},
                 "s2": {"sensor": "sentinel-2", "level": "L2A", "bands": ["B02", ..], "scale": 1.0, "offset": 0.0}},
     "sites": {SITE: "train" | "validation" | "calibration" | "test" | "unlabelled"}, "resolution_m": 10.0}

Physical values are stored ones times scale plus offset, in the unit of the sensor's level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.samples.contract import IGNORE
from ecumene.samples.datasets.contract import DataSetInfo
from ecumene.scenes.contract import Channel
from ecumene.sensors import get_sensor

Role = Literal["train", "validation", "calibration", "test", "unlabelled"]
ROLES: tuple[str, ...] = get_args(Role)
MID_MONTH = 15
"""A date is a month; its day is taken as this one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class SensorFiles(BaseModel):
    """What the files of one folder hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    level: str
    bands: tuple[str, ...] = Field(min_length=1)
    scale: float = 1.0
    offset: float = 0.0


class Declared(BaseModel):
    """`data_set.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sensors: dict[str, SensorFiles]
    sites: dict[str, Role]
    resolution_m: float = Field(default=10.0, gt=0)


@dataclass(frozen=True)
class Site:
    """One place.

    Attributes:
        name: Of its folder.
        role: What it is for.
        dates: (year, month) of each date with images of all sensors, ascending.
        mapped: Whether there is a map of buildings of each of them.
    """

    name: str
    role: Role
    dates: tuple[tuple[int, int], ...]
    mapped: tuple[bool, ...]

    @property
    def days(self) -> NDArray[np.int64]:
        """Days since 1970-01-01 of the middle of each month, `[T]`."""
        return np.array([(date(y, m, MID_MONTH) - date(1970, 1, 1)).days for y, m in self.dates], np.int64)


class GrowthSites:
    """The sites of a folder; opening reads no pixel.

    Attributes:
        info: What is known without the files.
        folder: Where the files are.
        sites: Those that `data_set.json` names, in its order.
        channels: Of all sensors, radar first.
        resolution_m: Metres a pixel.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="growth-sites",
        title="places of SpaceNet 7 and others with Sentinel-1 and Sentinel-2 at several dates, maps of buildings",
        task="change",
        paper="Hafner, Ban, Nascetti 2023, doi 10.3390/rs15215135",
        licence="",
        size=79,
        layout="metadata.json, data_set.json, SITE/s1/s1_SITE_YYYY_MM.tif, .../s2/..., .../buildings/...",
    )

    def __init__(self, folder: Path, declared: Declared, sites: tuple[Site, ...], bands: Sequence[str] | None) -> None:
        self.folder, self.sites, self.resolution_m = folder, sites, declared.resolution_m
        self._files: list[tuple[str, SensorFiles, list[int]]] = []
        channels: list[Channel] = []
        for prefix in ("s1", "s2"):
            files = declared.sensors[prefix]
            sensor = get_sensor(files.sensor)
            kept = [i for i, band in enumerate(files.bands) if bands is None or prefix == "s1" or band in bands]
            self._files.append((prefix, files, kept))
            for index in kept:
                band = sensor.band(files.bands[index])
                unit = sensor.level(files.level).unit
                channels.append(
                    Channel(sensor.id, files.level, band.name, unit, band.center_wavelength_um, band.ground_sampling_m)
                )
        self.channels = tuple(channels)

    @classmethod
    def open(cls, folder: str | Path, bands: Sequence[str] | None = None) -> Self:
        """Open the folder.

        Args:
            folder: See the module.
            bands: Bands of Sentinel-2 to read, in the files' order; None: all.

        Raises:
            SceneError: If a file that describes the folder is missing or wrong, or a site has no usable date.
            ConfigurationError: If a band is not there.
        """
        folder = Path(folder)
        declared = _declared(folder)
        missing = [band for band in bands or () if band not in declared.sensors["s2"].bands]
        if missing:
            raise ConfigurationError(
                f"The sites have no band {missing[0]}; they have {', '.join(declared.sensors['s2'].bands)}."
            )
        known = _json(folder / "metadata.json", "the dates of each site")
        sites = tuple(_site(name, role, known) for name, role in declared.sites.items())
        return cls(folder, declared, sites, bands)

    def of(self, role: str) -> list[Site]:
        """Return the sites for one purpose."""
        return [site for site in self.sites if site.role == role]

    def image(self, site: Site, position: int) -> NDArray[np.float32]:
        """Return the image of a date, float32 `[C, H, W]`, physical units, NaN for nodata.

        Raises:
            SceneError: If a file is missing or damaged, has another number of bands, or the sensors' grids differ.
        """
        parts = []
        for prefix, files, kept in self._files:
            values, nodata = _read(self._path(site, prefix, position))
            if len(values) != len(files.bands):
                raise SceneError(
                    f"{self._path(site, prefix, position).name} has {len(values)} bands, but data_set.json lists "
                    f"{len(files.bands)}; correct its list."
                )
            chosen = values[kept].astype(np.float32)
            if nodata is not None and not np.isnan(nodata):
                chosen[values[kept] == nodata] = np.nan
            parts.append(chosen * np.float32(files.scale) + np.float32(files.offset))
        if parts[0].shape[1:] != parts[1].shape[1:]:
            raise SceneError(
                f"The images of {site.name} have {parts[0].shape[1:]} and {parts[1].shape[1:]} pixels; put both "
                "sensors on one grid."
            )
        return np.concatenate(parts)

    def shape(self, site: Site) -> tuple[int, int]:
        """Return rows and columns of a site's first image, without reading its pixels.

        Raises:
            SceneError: If the file is missing or damaged.
        """
        return _read(self._path(site, "s1", 0), pixels=False)[0].shape[1:]

    def built(self, site: Site, position: int) -> NDArray[np.int64]:
        """Return what is built at a date, int64 `[H, W]`: 1, 0, or -1 where nobody knows (without a map everywhere).

        Raises:
            SceneError: If a file is missing or damaged.
        """
        if not site.mapped[position]:
            return np.full(self.image(site, position).shape[1:], IGNORE, np.int64)
        values, nodata = _read(self._path(site, "buildings", position))
        known = np.isfinite(values[0]) if nodata is None or np.isnan(nodata) else values[0] != nodata
        return np.where(known, (values[0] > 0).astype(np.int64), IGNORE)

    def _path(self, site: Site, prefix: str, position: int) -> Path:
        year, month = site.dates[position]
        return self.folder / site.name / prefix / f"{prefix}_{site.name}_{year}_{month:02d}.tif"

    def files_of(self, site: Site) -> tuple[Path, ...]:
        """Return the images of a site, for checksums."""
        return tuple(self._path(site, prefix, t) for t in range(len(site.dates)) for prefix in ("s1", "s2"))


def _json(path: Path, what: str) -> Any:
    if not path.is_file():
        raise SceneError(f"{path.parent} has no {path.name} with {what}; give the folder of a data set of sites.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SceneError(f"{path} cannot be read ({error}); get it again.") from error


def _declared(folder: Path) -> Declared:
    try:
        declared = Declared.model_validate(_json(folder / "data_set.json", "the sensors and the part of each site"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SceneError(f"data_set.json is wrong at {place}: {first['msg']}.") from error
    if not {"s1", "s2"} <= set(declared.sensors):
        raise SceneError("data_set.json must describe the files of both sensors, s1 and s2.")
    if not declared.sites:
        raise SceneError("data_set.json names no site; list each with its part, such as train or test.")
    odd = [name for name in declared.sites if not _NAME.fullmatch(name)]
    if odd:
        raise SceneError(f"The site {odd[0]!r} in data_set.json is no name of a folder; use letters, digits, - and _.")
    return declared


def _site(name: str, role: Role, known: Mapping[str, Any]) -> Site:
    """Return a site with the dates that both sensors have.

    Raises:
        SceneError: If it has none, or its dates repeat or run backwards.
    """
    try:
        rows = [row for row in known[name] if row["s1"] and row["s2"] and not row.get("masked", False)]
        dates = tuple((int(row["year"]), int(row["month"])) for row in rows)
        mapped = tuple(bool(row.get("buildings", False)) for row in rows)
        for year, month in dates:
            date(year, month, MID_MONTH)
    except (KeyError, TypeError, ValueError) as error:
        raise SceneError(f"metadata.json does not describe the dates of the site {name}; add them.") from error
    if not dates:
        raise SceneError(f"The site {name} has no date with images of both sensors; leave it out of data_set.json.")
    if any(later <= earlier for earlier, later in pairwise(dates)):
        raise SceneError(f"The dates of the site {name} repeat or run backwards in metadata.json; sort them.")
    return Site(name, role, dates, mapped)


def _read(path: Path, *, pixels: bool = True) -> tuple[NDArray[Any], float | None]:
    """Return (bands `[B, H, W]`, nodata value) of a GeoTIFF; without pixels, an array of their shape."""
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise SceneError(f"{path.name} is missing, but metadata.json says that it is there.")
    try:
        with rasterio.open(path, driver="GTiff") as file:
            shape = (file.count, file.height, file.width)
            return (file.read() if pixels else np.broadcast_to(np.uint8(0), shape)), file.nodata
    except RasterioError as error:
        raise SceneError(f"{path.name} cannot be read as a GeoTIFF; get it again.") from error


def require_mapped(site: Site) -> None:
    """Refuse a site to learn from or to measure on without maps of buildings at all of its dates.

    Raises:
        LabelError: If a map is missing.
    """
    if not all(site.mapped):
        year, month = site.dates[site.mapped.index(False)]
        raise LabelError(
            f"The site {site.name} is for {site.role}, but has no map of buildings of {year}-{month:02d}; add it, or "
            "call the site unlabelled."
        )
