"""Looking at one raster file: is it whole, where is it, what do its tags say. No pixels are interpreted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.windows import Window as RasterWindow

from ecumene.core.errors import SceneError
from ecumene.scenes.handles import remote_environment
from ecumene.scenes.remote.addresses import is_web
from ecumene.scenes.remote.trying import patiently
from ecumene.scenes.security import AllowedRoots, check_vrt, is_remote, is_vrt

# Formats that hold pixels and nothing that runs or connects (no WMS, no DERIVED, no scripts), by their first bytes.
_SIGNATURES = (
    (b"II*\0", ("GTiff",)),
    (b"MM\0*", ("GTiff",)),
    (b"II+\0", ("GTiff",)),
    (b"MM\0+", ("GTiff",)),
    (b"\0\0\0\x0cjP  ", ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")),
    (b"\xff\x4f\xff\x51", ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")),
    (b"EHFA_HEADER_TAG", ("HFA",)),
    (b"\x89PNG\r\n", ("PNG",)),
    (b"\xff\xd8\xff", ("JPEG",)),
)
_ALLOWED = frozenset(name for _, names in _SIGNATURES for name in names) | {"VRT", "ENVI", "COG"}
_BLOCKS_CHECKED = 4096
SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".vrt", ".img", ".hdr", ".png", ".jpg", ".jpeg", ".bsq", ".bil", ".bip"})


@dataclass(frozen=True)
class RasterInfo:
    """What the header of a raster file says.

    Attributes:
        href: Absolute path or URL.
        geobox: Grid of the pixels.
        dtypes: Data type of each band.
        nodata: No-data value of each band, None where there is none.
        scales: Scale tag of each band (1 where absent).
        offsets: Offset tag of each band (0 where absent).
        descriptions: Description of each band, None where absent.
        tags: Metadata of the file.
        band_tags: Metadata of each band.
    """

    href: str
    geobox: GeoBox
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str | None, ...]
    tags: Mapping[str, str]
    band_tags: tuple[Mapping[str, str], ...]

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def name(self) -> str:
        """File name without its folder."""
        return self.href.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """File name without folder and suffix."""
        return Path(self.name).stem


@cache
def _available() -> frozenset[str]:
    with rasterio.Env() as environment:
        return frozenset(environment.drivers())


def _driver_of(href: str) -> str | None:
    """The allowed driver for a local file, by its first bytes; None if it is none of them."""
    if is_vrt(href):
        return "VRT"
    with Path(href).open("rb") as stream:
        head = stream.read(16)
    for signature, names in _SIGNATURES:
        if head.startswith(signature):
            return next((name for name in names if name in _available()), None)
    header = Path(href)
    has_header = header.with_suffix(".hdr").is_file() or header.with_name(header.name + ".hdr").is_file()
    return "ENVI" if has_header else None


def _open(href: str) -> Any:
    """Open a raster with the allowed drivers, or say in a sentence why not."""
    if not is_remote(href):
        path = Path(href)
        if not path.exists():
            raise SceneError(f"There is no file {href}; check the path.")
        if path.is_dir():
            raise SceneError(f"{href} is a folder where a raster file is expected; name a file.")
        if path.stat().st_size == 0:
            raise SceneError(f"{href} is empty (0 bytes); fetch it again.")
    try:
        driver = None if is_remote(href) else _driver_of(href)
        if driver is None and not is_remote(href):
            raise _unreadable(href)
        with remote_environment(is_remote(href)):
            dataset = rasterio.open(href, driver=driver)
    except (RasterioError, CRSError, OSError) as error:
        raise _unreadable(href) from error
    if dataset.driver not in _ALLOWED:
        dataset.close()
        raise _unreadable(href)
    return dataset


def _unreadable(href: str) -> SceneError:
    return SceneError(
        f"{href} cannot be opened as a raster: it is damaged, truncated or in a format that is not supported; "
        "fetch it again or convert it to GeoTIFF."
    )


def _damaged(href: str) -> SceneError:
    return SceneError(f"{href} is truncated or damaged: pixel blocks are missing from the file; fetch it again.")


def _check_tiff_blocks(dataset: Any, href: str) -> None:
    """Hold that every block of a local GeoTIFF lies inside the file (its header survives truncation)."""
    size = Path(href).stat().st_size
    height, width = dataset.block_shapes[0]
    rows, cols = math.ceil(dataset.height / height), math.ceil(dataset.width / width)
    bands = range(1, dataset.count + 1) if dataset.interleaving != rasterio.enums.Interleaving.pixel else (1,)
    step = max(1, rows * cols * len(bands) // _BLOCKS_CHECKED)
    for band in bands:
        cells = {*range(0, rows * cols, step), rows * cols - 1}
        for cell in cells:
            row, col = divmod(cell, cols)
            start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", dm="TIFF", bidx=band)
            length = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", dm="TIFF", bidx=band)
            if start and length and int(start) + int(length) > size:
                raise _damaged(href)


def _check_readable(dataset: Any, href: str) -> None:
    """Read the last pixel of the first and the last band, which touches the end of the file."""
    window = RasterWindow(dataset.width - 1, dataset.height - 1, 1, 1)
    try:
        for band in {1, dataset.count}:
            dataset.read(band, window=window)
    except (RasterioError, RasterioIOError, OSError) as error:
        raise _damaged(href) from error


def _check_envi_size(dataset: Any, href: str) -> None:
    """Hold that an ENVI cube is as long as its header says (GDAL pads a short one with zeros)."""
    expected = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    needed = expected * dataset.width * dataset.height
    if Path(href).stat().st_size < needed and not dataset.tags(ns="ENVI").get("file_compression"):
        raise _damaged(href)


def _geobox(dataset: Any, href: str, crs: str | None, transform: Affine | None) -> GeoBox:
    """Grid of a dataset, with the declared CRS or transform where the file has none (a declaration wins)."""
    system = crs
    if system is None and dataset.crs:
        code = dataset.crs.to_epsg(confidence_threshold=100)
        system = f"EPSG:{code}" if code else dataset.crs.to_wkt()
    if system is None:
        hint = " (it has ground control points: orthorectify it first)" if dataset.gcps[0] else ""
        raise SceneError(
            f"{href} has no coordinate reference system{hint}; declare one with --crs or crs: in scene.yaml, "
            "for example --crs EPSG:32633."
        )
    affine = transform or dataset.transform
    if affine == Affine.identity() or affine.determinant == 0:
        raise SceneError(
            f"{href} has no georeference (pixel size and origin); declare transform: [a, b, c, d, e, f] in scene.yaml "
            "or georeference the file."
        )
    try:
        return GeoBox((dataset.height, dataset.width), affine, system)
    except (CRSError, ValueError, RuntimeError) as error:
        raise SceneError(
            f"The coordinate reference system {system!r} of {href} is unknown; use an EPSG code."
        ) from error


def inspect_raster(
    href: str, roots: AllowedRoots, *, crs: str | None = None, transform: Affine | None = None
) -> RasterInfo:
    """Open a raster, check that it is whole and safe, and return what its header says.

    Args:
        href: Absolute path or URL, inside the allowed roots.
        roots: Where the sources of a VRT may lie.
        crs: Declared coordinate reference system; wins over the file's.
        transform: Declared affine transform; wins over the file's.

    Returns:
        The header.

    Raises:
        SceneError: If the file is missing, empty, truncated, of another format, without CRS or
            georeference, or a VRT that reads outside of the roots.
    """
    if is_web(href):
        return _inspect_remote(href, crs, transform)
    if not is_remote(href) and is_vrt(href):
        for source in check_vrt(href, roots):
            with _open(source) as dataset:
                _check_whole(dataset, source)
    return _header(href, href, crs, transform)


def band_descriptions(href: str, roots: AllowedRoots) -> tuple[str | None, ...]:
    """Return the band descriptions of a local raster that may lack a georeference.

    Raises:
        SceneError: If it cannot be opened, or is a VRT that reads outside of the roots.
    """
    if is_vrt(href):
        check_vrt(href, roots)
    with _open(href) as dataset:
        return tuple(dataset.descriptions)


def _check_whole(dataset: Any, href: str) -> None:
    if is_remote(href):
        return
    if dataset.driver == "GTiff":
        _check_tiff_blocks(dataset, href)
    if dataset.driver == "ENVI":
        _check_envi_size(dataset, href)
    _check_readable(dataset, href)


def find_rasters(folder: Path) -> list[Path]:
    """Return the raster files of a folder (not recursive), in the order of their names.

    Of an ENVI pair (`.hdr` and data file) the data file is returned once.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    rasters = [path for path in files if path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".hdr"]
    for header in (path for path in files if path.suffix.lower() == ".hdr"):
        data = envi_data_file(header)
        if data is not None and data not in rasters:
            rasters.append(data)
    return sorted(rasters)


def envi_data_file(header: Path) -> Path | None:
    """Return the data file of an ENVI header (`cube.hdr` with `cube`, `cube.img`, ..., or `cube.img.hdr`)."""
    stem = header.with_suffix("")
    candidates = [
        stem,
        *(stem.with_name(stem.name + end) for end in ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw")),
    ]
    for candidate in candidates:
        if candidate.is_file() and candidate != header:
            return candidate
    return None


def _inspect_remote(href: str, crs: str | None, transform: Affine | None) -> RasterInfo:
    """Read the header of an address, signed and tried again as the network needs it."""

    def attempt(place: str, again: bool) -> RasterInfo:
        with remote_environment(is_web(place), fresh=again):
            return _header(href, place, crs, transform)

    return patiently(href, attempt)


def _header(href: str, place: str, crs: str | None, transform: Affine | None) -> RasterInfo:
    """Return the header of the raster that GDAL opens at `place` and people know as `href`."""
    with _open(place) as dataset:
        if dataset.count == 0:
            raise SceneError(f"{href} holds several images and no bands of its own; name one of them.")
        _check_whole(dataset, place)
        indexes = range(1, dataset.count + 1)
        tags = {**dataset.tags(ns="IMAGERY"), **dataset.tags()}
        return RasterInfo(
            href=href,
            geobox=_geobox(dataset, href, crs, transform),
            dtypes=tuple(dataset.dtypes),
            nodata=tuple(dataset.nodatavals),
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            descriptions=tuple(dataset.descriptions),
            tags=tags,
            band_tags=tuple(dataset.tags(index) for index in indexes),
        )
