"""Landsat Level-1 and Level-2 products, read from their MTL file.

Level 1: top-of-atmosphere reflectance (M * DN + A) / sin(sun elevation), brightness temperature
K2 / ln(K1 / L + 1) (Landsat 8-9 Data Users Handbook, LSDS-1574, section 5). Products from before 2014 have
radiance coefficients only: reflectance = pi * L * d^2 / (ESUN * sin(sun elevation)) with the solar
irradiances and constants of Chander, Markham and Helder (2009), Remote Sensing of Environment 113, 893-903.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.core.errors import SceneError
from ecumene.scenes.contract import MaskSource
from ecumene.scenes.declaration import Declaration, parse_time
from ecumene.scenes.formats.product import Calibration, Candidate, Product
from ecumene.scenes.formats.raster import RasterInfo, find_rasters, inspect_raster
from ecumene.scenes.security import AllowedRoots
from ecumene.sensors import Sensor, get_sensor, match_band

Groups = Mapping[str, Mapping[str, str]]
_SENSORS = {
    "LANDSAT_4": "landsat-5",
    "LANDSAT_5": "landsat-5",
    "LANDSAT_7": "landsat-7",
    "LANDSAT_8": "landsat-8",
    "LANDSAT_9": "landsat-8",
}
# Chander et al. (2009), Tables 2, 3 (TM) and 4 (ETM+): mean exoatmospheric solar irradiance, W m-2 um-1.
_ESUN = {
    "LANDSAT_4": {"B1": 1983.0, "B2": 1795.0, "B3": 1539.0, "B4": 1028.0, "B5": 219.8, "B7": 83.49},
    "LANDSAT_5": {"B1": 1983.0, "B2": 1796.0, "B3": 1536.0, "B4": 1031.0, "B5": 220.0, "B7": 83.44},
    "LANDSAT_7": {"B1": 1997.0, "B2": 1812.0, "B3": 1533.0, "B4": 1039.0, "B5": 230.8, "B7": 84.90, "B8": 1362.0},
}
# Same source, Table 7: K1 in W m-2 sr-1 um-1, K2 in kelvin.
_K1_K2 = {"LANDSAT_4": (671.62, 1284.30), "LANDSAT_5": (607.76, 1260.56), "LANDSAT_7": (666.09, 1282.71)}
_L1_GROUPS = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
_L1_THERMAL = ("LEVEL1_THERMAL_CONSTANTS", "TIRS_THERMAL_CONSTANTS", "THERMAL_CONSTANTS")


def is_mtl(path: Path) -> bool:
    """Whether a file is a Landsat metadata text by its name."""
    return path.name.upper().endswith("MTL.TXT")


def parse_mtl(path: Path) -> dict[str, dict[str, str]]:
    """Read an MTL file into group name to key to value (strings without quotes).

    Raises:
        SceneError: If it is no MTL file.
    """
    try:
        text = path.read_bytes().split(b"\0", 1)[0].decode("utf-8", errors="strict")
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} cannot be read as a Landsat metadata text; fetch it again.") from error
    groups: dict[str, dict[str, str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        key, found, value = (part.strip() for part in line.partition("="))
        if not found:
            continue
        if key == "GROUP":
            current.append(value)
        elif key == "END_GROUP":
            current = current[:-1]
        elif current:
            groups.setdefault(current[-1], {})[key] = value.strip('"')
    if not groups:
        raise SceneError(f"{path} holds no Landsat metadata; fetch it again.")
    return groups


def _find(groups: Groups, key: str, names: tuple[str, ...] | None = None) -> str | None:
    """Value of a key in the first of the named groups (of any group) that has it."""
    for name in names if names is not None else tuple(groups):
        if key in groups.get(name, {}):
            return groups[name][key]
    return None


def _number(groups: Groups, key: str, names: tuple[str, ...] | None = None) -> float | None:
    text = _find(groups, key, names)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise SceneError(f"The Landsat metadata state {text!r} as {key}; fetch the product again.") from error


def earth_sun_distance(day: dt.date) -> float:
    """Return the distance of Earth and Sun in astronomical units (error below 0.0005)."""
    number = day.timetuple().tm_yday
    return 1.0 - 0.016729 * math.cos(math.radians(0.9856 * (number - 4)))


def _key_of(sensor: Sensor, band: str) -> str:
    """How the MTL file writes a band: `B6_VCID_1` is `6_VCID_1`."""
    return band.removeprefix("B")


def _sine_of_sun(groups: Groups, path: Path) -> float:
    elevation = _number(groups, "SUN_ELEVATION")
    if elevation is None or not 0.0 < elevation <= 90.0:
        raise SceneError(
            f"{path} states no sun elevation above the horizon, so there is no reflectance; declare --level DN."
        )
    return math.sin(math.radians(elevation))


def _level1(groups: Groups, sensor: Sensor, spacecraft: str, path: Path) -> dict[str, Calibration]:
    result: dict[str, Calibration] = {}
    thermal = set(sensor.level("L1/thermal").bands or ())
    for band in (item.name for item in sensor.bands):
        key = _key_of(sensor, band)
        gain, bias = (_number(groups, f"RADIANCE_{what}_BAND_{key}", _L1_GROUPS) for what in ("MULT", "ADD"))
        if band in thermal:
            k1, k2 = (_number(groups, f"K{n}_CONSTANT_BAND_{key}", _L1_THERMAL) for n in (1, 2))
            if k1 is None or k2 is None:
                k1, k2 = _K1_K2.get(spacecraft, (None, None))
            if gain is not None and bias is not None and k1 is not None and k2 is not None:
                result[band] = Calibration(gain, bias, k1, k2)
            continue
        scale, offset = (_number(groups, f"REFLECTANCE_{what}_BAND_{key}", _L1_GROUPS) for what in ("MULT", "ADD"))
        if scale is not None and offset is not None:
            sine = _sine_of_sun(groups, path)
            result[band] = Calibration(scale / sine, offset / sine)
        elif gain is not None and bias is not None and band in _ESUN.get(spacecraft, {}):
            factor = _reflectance_factor(groups, _ESUN[spacecraft][band], path)
            result[band] = Calibration(gain * factor, bias * factor)
    return result


def _reflectance_factor(groups: Groups, irradiance: float, path: Path) -> float:
    """Pi d^2 / (ESUN sin(sun elevation)): reflectance of one unit of radiance."""
    distance = _number(groups, "EARTH_SUN_DISTANCE")
    if distance is None:
        distance = earth_sun_distance(dt.date.fromisoformat(str(_time(groups, path))[:10]))
    return math.pi * distance**2 / (irradiance * _sine_of_sun(groups, path))


def _level2(groups: Groups, sensor: Sensor) -> dict[str, Calibration]:
    """Collection 2 Level-2 numbers: from the MTL file, else the collection's constants."""
    reflectance, temperature = sensor.level("L2"), sensor.level("L2/thermal")
    result: dict[str, Calibration] = {}
    for band in reflectance.bands or ():
        names = ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",)
        scale = _number(groups, f"REFLECTANCE_MULT_BAND_{_key_of(sensor, band)}", names)
        offset = _number(groups, f"REFLECTANCE_ADD_BAND_{_key_of(sensor, band)}", names)
        if reflectance.scale is not None and reflectance.offset is not None:
            result[band] = Calibration(
                reflectance.scale if scale is None else scale, reflectance.offset if offset is None else offset
            )
    for band in temperature.bands or ():
        names = ("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS",)
        key = f"ST_{band.split('_')[0]}"
        scale = _number(groups, f"TEMPERATURE_MULT_BAND_{key}", names)
        offset = _number(groups, f"TEMPERATURE_ADD_BAND_{key}", names)
        if temperature.scale is not None and temperature.offset is not None:
            result[band] = Calibration(
                temperature.scale if scale is None else scale, temperature.offset if offset is None else offset
            )
    return result


def _time(groups: Groups, path: Path) -> np.datetime64:
    date, clock = _find(groups, "DATE_ACQUIRED"), _find(groups, "SCENE_CENTER_TIME")
    if date is None:
        raise SceneError(f"{path} has no DATE_ACQUIRED; fetch the product again.")
    return parse_time(f"{date}T{clock}" if clock else date)


def band_of_file(sensor: Sensor, level: str, text: str) -> str | None:
    """Return the band that a Landsat file name states: the part after the last product field."""
    if level == "L2" and re.search(r"(^|_)ST_B6$", text, re.IGNORECASE):
        return (sensor.level("L2/thermal").bands or (None,))[0]
    match = re.search(r"(?:^|_)((?:SR_|ST_)?B\d+(?:_VCID_\d)?)$", text, re.IGNORECASE)
    return match_band(sensor, match[1]) if match else None


def read_landsat(
    metadata: Path, rasters: list[Path], roots: AllowedRoots, declaration: Declaration
) -> tuple[list[Candidate], Product]:
    """Read a Landsat MTL file and look at the images.

    Args:
        metadata: The MTL file.
        rasters: The images; empty: those that the MTL file names, else the ones beside it that name
            their bands (a crop of the scene in one file).
        roots: Where images may lie.
        declaration: What is declared.

    Returns:
        The bands and what the metadata say.

    Raises:
        SceneError: If metadata are incomplete, or there are no images.
    """
    groups = parse_mtl(metadata)
    spacecraft = _find(groups, "SPACECRAFT_ID") or ""
    if spacecraft not in _SENSORS:
        raise SceneError(
            f"{metadata} is of the spacecraft {spacecraft!r}; only Landsat 4, 5, 7, 8 and 9 are supported."
        )
    sensor = get_sensor(_SENSORS[spacecraft])
    level = (_find(groups, "PROCESSING_LEVEL") or _find(groups, "DATA_TYPE") or "L1")[:2].upper()
    candidates, quality = _candidates(groups, metadata, rasters, roots, declaration, sensor, level)
    calibration: Mapping[str, Calibration] = {}
    if (declaration.level or level).upper() != "DN":
        calibration = _level1(groups, sensor, spacecraft, metadata) if level == "L1" else _level2(groups, sensor)
    collection = _find(groups, "COLLECTION_NUMBER") or "pre"
    properties: dict[str, Any] = {"platform": spacecraft.lower().replace("_", "-"), "landsat_collection": collection}
    elevation, azimuth = _number(groups, "SUN_ELEVATION"), _number(groups, "SUN_AZIMUTH")
    if elevation is not None and azimuth is not None:
        properties.update(sun_elevation=elevation, sun_azimuth=azimuth)
    product = Product(
        sensor=sensor.id,
        level=level,
        id=_find(groups, "LANDSAT_PRODUCT_ID") or _find(groups, "LANDSAT_SCENE_ID") or metadata.stem,
        time=_time(groups, metadata),
        calibration=calibration,
        mask=MaskSource("landsat_qa", quality.href, 1, quality.geobox) if quality else None,
        files=(str(metadata.resolve()),),
        properties=properties,
    )
    return candidates, product


def _candidates(
    groups: Groups,
    metadata: Path,
    rasters: list[Path],
    roots: AllowedRoots,
    declaration: Declaration,
    sensor: Sensor,
    level: str,
) -> tuple[list[Candidate], RasterInfo | None]:
    """Bands and quality band of the product, from the named files or the ones given."""
    folder = metadata.parent
    # Level-2 metadata repeat the Level-1 record, files included; the contents group speaks of the product itself.
    listing = [groups["PRODUCT_CONTENTS"]] if "PRODUCT_CONTENTS" in groups else list(groups.values())
    named = [value for group in listing for key, value in group.items() if key.startswith("FILE_NAME_")]
    named = [name for name in dict.fromkeys(named) if name.upper().endswith((".TIF", ".TIFF"))]
    here = [folder / name for name in named if (folder / name).is_file()]
    given = bool(rasters)
    paths = rasters or here or find_rasters(folder)
    wanted = {match_band(sensor, name) or name for name in declaration.bands or ()} - {"all"}
    candidates: list[Candidate] = []
    quality: RasterInfo | None = None
    for path in paths:
        href = roots.locate(str(path), None, str(metadata))
        if _is_quality(path.stem):
            quality = quality or inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine)
            continue
        band = band_of_file(sensor, level, path.stem)
        if band is not None and wanted and band not in wanted and not given:
            continue
        if band is None and path in here:
            continue  # angles, aerosol, distance and other layers that are no bands
        info = inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine)
        if band is not None and info.count == 1:
            candidates.append(Candidate(info, 1, band))
        elif given or all(match_band(sensor, text) for text in info.descriptions):
            candidates += [Candidate(info, place, None, text) for place, text in enumerate(info.descriptions, 1)]
    if not candidates:
        raise SceneError(
            f"None of the images that {metadata} names is beside it; join the image and the metadata with '+', "
            f"as in scene.tif+{metadata.name}."
        )
    return candidates, quality


def _is_quality(stem: str) -> bool:
    return re.search(r"(^|_)(QA_PIXEL|BQA|BQA_PIXEL)$", stem, re.IGNORECASE) is not None
