"""From the assets of a STAC Item to bands: which band, which grid, which scale and offset.

Scale and offset are applied once. In this order:

1. Sentinel-2 with `earthsearch:boa_offset_applied` (or `sentinel:boa_offset_applied`) true: the
   provider has already shifted the stored numbers, so the offset is 0, although such Items also carry
   `raster:bands` with offset -0.1 (Element84/earth-search issues 66 and 71).
2. Scale and offset of the asset's band: `raster:bands` (raster extension 1), `raster:scale` and
   `raster:offset` in STAC 1.1 `bands` or in the asset (raster extension 2).
3. For an offset that is said nowhere, the rule of the sensor's level: for Sentinel-2 -0.1 since
   processing baseline 04.00 (`s2:processing_baseline`, `processing:version`), 0 before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import CRSError

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.contract import BandSource
from ecumene.scenes.formats.radiometry import level_of_band
from ecumene.scenes.formats.raster import RasterInfo, inspect_raster
from ecumene.scenes.handles import remote_environment
from ecumene.scenes.security import AllowedRoots, is_remote
from ecumene.sensors import ProductLevel, Sensor, match_band

_PICTURES = {"thumbnail", "overview", "visual", "metadata", "preview", "rendered_preview", "tilejson"}
_RASTER_TYPE = re.compile(r"image/(tiff|jp2|vnd\.stac\.geotiff)|application/(x-)?(geotiff|hdf)", re.IGNORECASE)
_RASTER_SUFFIX = re.compile(r"\.(tiff?|jp2|vrt|img)(\?.*)?$", re.IGNORECASE)
_BASELINE_WITH_OFFSET = (4, 0)
_WAVELENGTH_TOLERANCE_UM = 0.01


@dataclass(frozen=True)
class AssetBand:
    """One band of one asset, before anything is opened."""

    key: str
    href: str
    index: int
    name: str
    sampling_m: float
    facts: Mapping[str, Any]


def _merged_bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one dict a band with the facts of STAC 1.1 `bands`, `eo:bands`, `raster:bands` and the asset."""
    lists = [asset.get(key) or [] for key in ("bands", "eo:bands", "raster:bands")]
    count = max(1, *(len(entries) for entries in lists))
    merged = []
    for position in range(count):
        facts: dict[str, Any] = {key: value for key, value in asset.items() if not isinstance(value, list)}
        facts.pop("name", None)
        for entries in lists:
            if position < len(entries) and isinstance(entries[position], Mapping):
                facts |= entries[position]
        facts["proj:transform"] = asset.get("proj:transform")
        facts["proj:shape"] = asset.get("proj:shape")
        merged.append(facts)
    return merged


def _match(sensor: Sensor, key: str, facts: Mapping[str, Any], alone: bool) -> str | None:
    """Return the sensor's band that an asset's band is, by name, common name, key or centre wavelength."""
    names = [facts.get("name"), facts.get("eo:common_name"), facts.get("common_name"), key if alone else None]
    for name in names:
        found = match_band(sensor, str(name)) if name else None
        if found is not None:
            return found
    wavelength = facts.get("eo:center_wavelength", facts.get("center_wavelength"))
    if isinstance(wavelength, int | float):
        near = [
            band.name
            for band in sensor.bands
            if band.center_wavelength_um is not None
            and abs(band.center_wavelength_um - wavelength) <= _WAVELENGTH_TOLERANCE_UM
        ]
        return near[0] if len(near) == 1 else None
    return None


def asset_bands(item: Mapping[str, Any], hrefs: Mapping[str, str], sensor: Sensor) -> list[AssetBand]:
    """Return the bands among an Item's assets; of several files of one band the finest, GeoTIFF first.

    Pictures, previews and products derived from the bands (aerosol, water vapour) are left out.

    Args:
        item: The Item as JSON.
        hrefs: Absolute href of every asset, by key.
        sensor: Sensor whose band names are used.
    """
    chosen: dict[str, AssetBand] = {}
    for key, asset in item.get("assets", {}).items():
        href, roles = hrefs[key], {str(role).lower() for role in asset.get("roles") or ()}
        media = str(asset.get("type") or "")
        if key.lower() in _PICTURES or roles & _PICTURES or (media and not _RASTER_TYPE.match(media)):
            continue
        if not media and not _RASTER_SUFFIX.search(href):
            continue
        merged = _merged_bands(asset)
        for index, facts in enumerate(merged, 1):
            name = _match(sensor, key, facts, len(merged) == 1)
            if name is None:
                continue
            sampling = facts.get("gsd") or facts.get("raster:spatial_resolution") or facts.get("spatial_resolution")
            candidate = AssetBand(key, href, index, name, float(sampling or np.inf), facts)
            if name not in chosen or _rank(candidate) < _rank(chosen[name]):
                chosen[name] = candidate
    return [chosen[band.name] for band in sensor.bands if band.name in chosen]


def _rank(band: AssetBand) -> tuple[float, bool]:
    """Finest first, then GeoTIFF."""
    return band.sampling_m, re.search(r"\.tiff?(\?.*)?$", band.href, re.IGNORECASE) is None


def grid_of(facts: Mapping[str, Any], properties: Mapping[str, Any]) -> GeoBox | None:
    """Return the grid that `proj:*` fields say, or None if they do not say all of it.

    Raises:
        SceneError: If they are malformed.
    """
    code = facts.get("proj:code") or properties.get("proj:code")
    epsg = facts.get("proj:epsg") or properties.get("proj:epsg")
    system = code or (f"EPSG:{epsg}" if epsg else None)
    shape = facts.get("proj:shape") or properties.get("proj:shape")
    transform = facts.get("proj:transform") or properties.get("proj:transform")
    if not (system and shape and transform):
        return None
    try:
        rows, columns = (int(size) for size in shape)
        return GeoBox((rows, columns), Affine(*(float(number) for number in transform[:6])), str(system))
    except (TypeError, ValueError, CRSError, RuntimeError) as error:
        raise SceneError("An Item has malformed proj:* fields; correct its projection metadata.") from error


def number(value: Any, what: str) -> float | None:
    """Return a number of an Item's JSON, where `nan`, `inf` and `-inf` are text.

    Raises:
        SceneError: If it is something else.
    """
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise SceneError(f"An Item has {what} {value!r}, which is no number; correct it.") from error


def processing_baseline(properties: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return a Sentinel-2 Item's processing baseline, or None."""
    for key in ("s2:processing_baseline", "sentinel2:processing_baseline", "processing:version"):
        match = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", str(properties.get(key, "")))
        if match:
            return int(match[1]), int(match[2])
    return None


def calibration_of(
    facts: Mapping[str, Any], properties: Mapping[str, Any], sensor: Sensor, level: ProductLevel, what: str, dtype: str
) -> tuple[float, float]:
    """Return (scale, offset) of an asset's band, see this module's description.

    Raises:
        ConfigurationError: If they are said nowhere.
    """
    scale = number(facts.get("raster:scale", facts.get("scale")), "the scale")
    offset = number(facts.get("raster:offset", facts.get("offset")), "the offset")
    applied = properties.get("earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied"))
    if scale is None and dtype.startswith("float") and level.scale not in (None, 1.0):
        raise ConfigurationError(
            f"{what} stores {dtype} without a scale where level {level.name} of {sensor.id} has integers; add "
            "raster:scale to the Item."
        )
    if scale is None:
        scale = level.scale
    if scale is None:
        raise ConfigurationError(f"{what} does not say the scale of level {level.name}; add raster:scale to the Item.")
    if level.offset_rule == "sentinel2_baseline":
        if applied is True:
            return scale, 0.0
        if offset is None:
            baseline = processing_baseline(properties)
            if baseline is None:
                raise ConfigurationError(
                    f"{what} says neither raster:offset nor s2:processing_baseline, so its offset is unknown; add one "
                    "of them to the Item."
                )
            offset = -1000 * scale if baseline >= _BASELINE_WITH_OFFSET else 0.0
    if offset is None and level.offset_rule == "metadata" and level.offset is None:
        raise ConfigurationError(f"{what} does not say the offset of level {level.name}; add raster:offset.")
    return scale, offset if offset is not None else (level.offset or 0.0)


class AssetOpener:
    """Opens assets where their metadata do not say enough, each file once, inside the allowed roots."""

    def __init__(self, roots: AllowedRoots, named_by: str) -> None:
        self.roots, self.named_by = roots, named_by
        self._opened: dict[str, RasterInfo] = {}

    def locate(self, href: str) -> str:
        """Return where an asset lies; SceneError if that is outside of the allowed roots."""
        return self.roots.locate(href.removeprefix("file://"), None, self.named_by)

    def info(self, href: str) -> RasterInfo:
        """Return the header of a located file."""
        if href not in self._opened:
            with remote_environment(is_remote(href)):
                self._opened[href] = inspect_raster(href, self.roots)
        return self._opened[href]

    def grid(self, href: str, facts: Mapping[str, Any], properties: Mapping[str, Any]) -> GeoBox:
        """Return the grid of an asset: of the file, or of a remote file's complete metadata."""
        described = grid_of(facts, properties) if is_remote(href) else None
        return described if described is not None else self.info(href).geobox

    def band(self, found: AssetBand, properties: Mapping[str, Any], sensor: Sensor, level: ProductLevel) -> BandSource:
        """Return the description of one band.

        Raises:
            SceneError: If the asset is outside of the allowed roots, missing or damaged.
            ConfigurationError: If scale or offset are unknown.
        """
        href, facts = self.locate(found.href), found.facts
        of_band = level_of_band(sensor, level, found.name) or level
        dtype, nodata = facts.get("data_type"), number(facts.get("nodata"), "nodata")
        grid = self.grid(href, facts, properties)
        if dtype is None or not is_remote(href):
            info = self.info(href)
            if found.index > info.count:
                raise SceneError(f"{href} has no band {found.index} that its Item {self.named_by} names; correct it.")
            dtype = info.dtypes[found.index - 1]
            nodata = info.nodata[found.index - 1] if nodata is None else nodata
        if nodata is None and not str(dtype).startswith("float"):
            nodata = of_band.nodata
        what = f"{self.named_by} ({found.key})"
        scale, offset = calibration_of(facts, properties, sensor, of_band, what, str(dtype))
        return BandSource(found.name, href, found.index, grid, str(dtype), scale, offset, nodata, of_band.unit)


def category_assets(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind of mask, asset key) of scene classifications and quality bands, GeoTIFF first."""
    assets = item.get("assets", {})
    for key in sorted(assets, key=lambda name: "jp2" in str(assets[name].get("type"))):
        name = re.sub(r"[-_](jp2|\d+m)$", "", key.lower())
        if name == "scl":
            yield "scl", key
        elif name == "qa_pixel":
            yield "landsat_qa", key
