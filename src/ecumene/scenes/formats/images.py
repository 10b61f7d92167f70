"""Plain raster files: GeoTIFF, COG, VRT, ENVI, one-band files; what they say about their bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.contract import MaskSource
from ecumene.scenes.declaration import Declaration, FileDeclaration
from ecumene.scenes.formats.product import Candidate
from ecumene.scenes.formats.raster import RasterInfo, band_descriptions, find_rasters, inspect_raster
from ecumene.scenes.security import AllowedRoots
from ecumene.sensors import Sensor, get_sensor, match_band
from ecumene.sensors.names import match_tokens

_SCL = re.compile(r"(^|[_.-])SCL($|[_.-])", re.IGNORECASE)
_QA = re.compile(r"(^|_)(QA_PIXEL|BQA)$", re.IGNORECASE)


def candidates_of_files(hrefs: Sequence[str], roots: AllowedRoots, declaration: Declaration) -> list[Candidate]:
    """Return every band of the named files, each with what says which band it is.

    A one-band file without a description says it by its name.
    """
    sensor = get_sensor(declaration.sensor) if declaration.sensor else None
    result: list[Candidate] = []
    for href in hrefs:
        info = inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine)
        result.extend(_bands_of(info, sensor))
    return result


def _bands_of(info: RasterInfo, sensor: Sensor | None) -> list[Candidate]:
    if info.count == 1 and sensor is not None and match_band(sensor, info.descriptions[0]) is None:
        return [Candidate(info, 1, None, match_tokens(sensor, info.stem) or _only_band(sensor, info))]
    return [Candidate(info, place, None, text) for place, text in enumerate(info.descriptions, 1)]


def _only_band(sensor: Sensor, info: RasterInfo) -> str | None:
    """A sensor with one band leaves no doubt about a one-band file (an elevation model)."""
    return sensor.bands[0].name if len(sensor.bands) == 1 else info.descriptions[0]


def candidates_of_mapping(
    files: dict[str, FileDeclaration], folder: Path, roots: AllowedRoots, declaration: Declaration, named_by: str
) -> list[Candidate]:
    """Return the bands that `files:` of a `scene.yaml` maps to files.

    Raises:
        SceneError: If a file has no such band, or lies outside of the roots.
        ConfigurationError: If a name is no band of the sensor.
    """
    sensor = get_sensor(declaration.sensor) if declaration.sensor else None
    inspected: dict[str, RasterInfo] = {}
    result: list[Candidate] = []
    for key, item in files.items():
        href = roots.locate(item.file, folder, named_by)
        if href not in inspected:
            inspected[href] = inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine)
        info = inspected[href]
        if item.band > info.count:
            raise SceneError(
                f"{named_by} asks for band {item.band} of {info.name}, which has {info.count}; correct it."
            )
        name = match_band(sensor, key) if sensor else key
        if name is None and sensor is not None:
            raise ConfigurationError(f"{named_by}: {sensor.id} has no band {key!r}; correct files.")
        result.append(Candidate(info, item.band, name, key))
    return result


def candidates_of_folder(
    folder: Path, roots: AllowedRoots, declaration: Declaration
) -> tuple[list[Candidate], MaskSource | None]:
    """Return the bands and the mask of a folder that holds one scene.

    Files belong to the scene if their name (one band) or all their band descriptions are bands of the
    declared sensor; others (maps, angles, previews) are left out.

    Raises:
        SceneError: If the folder holds no raster, or none that is of the sensor.
    """
    paths = find_rasters(folder)
    if not paths:
        raise SceneError(f"{folder} contains no scene: there is no raster file in it; name another path.")
    if declaration.sensor is None:
        return candidates_of_files([str(path) for path in paths[:1]], roots, declaration), None
    sensor = get_sensor(declaration.sensor)
    result: list[Candidate] = []
    mask: MaskSource | None = None
    for path in paths:
        href = roots.locate(str(path), None, str(folder))
        if sensor.kind == "optical" and (_SCL.search(path.stem) or _QA.search(path.stem)):
            info = inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine)
            mask = mask or MaskSource("scl" if _SCL.search(path.stem) else "landsat_qa", href, 1, info.geobox)
            continue
        if match_tokens(sensor, path.stem) is None and not _names_bands(href, sensor, roots):
            continue
        bands = _bands_of(inspect_raster(href, roots, crs=declaration.crs, transform=declaration.affine), sensor)
        if all(match_band(sensor, item.text) for item in bands):
            result.extend(bands)
    if not result and len(paths) == 1:
        return candidates_of_files([roots.locate(str(paths[0]), None, str(folder))], roots, declaration), mask
    if not result:
        raise SceneError(
            f"{folder} contains no scene of {sensor.id}: no file name or band description in it "
            "names one of its bands; name the files, or map them in scene.yaml."
        )
    return result, mask


def _names_bands(href: str, sensor: Sensor, roots: AllowedRoots) -> bool:
    """Whether all band descriptions of a file name bands of the sensor; previews never do."""
    if href.lower().endswith((".png", ".jpg", ".jpeg")):
        return False
    return all(match_band(sensor, text) is not None for text in band_descriptions(href, roots))
