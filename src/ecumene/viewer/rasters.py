"""Opening a product's rasters so that a hostile file can name no other file and no address.

GDAL finds a file's format by its content, and a virtual raster under the name `value.tif` would make it read whatever
that names. Files are therefore opened as GeoTIFF only, without side-car files, without overviews that lie elsewhere,
and with remote reading switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ProductError

if TYPE_CHECKING:
    import rasterio

_REDUCED = 256  # pixels of the longer side

SAFE_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_NUM_THREADS": "1",
}
"""GDAL's options while a product is read; none of them may belong to the process, as the size of its cache does."""


@dataclass(frozen=True)
class HeaderFacts:
    """What a raster's header says: bands, size, block, overviews."""

    count: int
    shape: tuple[int, int]
    block: tuple[int, int]
    overviews: tuple[int, ...]


def safe_environment() -> Any:
    """Return GDAL's environment for reading products, a context manager."""
    import rasterio

    return rasterio.Env(**SAFE_OPTIONS)


def checked_path(folder: Path, path: Path) -> Path:
    """Return the file, if it still lies in its product's folder and is a plain file.

    Raises:
        ProductError: If it was replaced by a link that leads elsewhere, or is gone.
    """
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise ProductError(f"{path.name} leads out of its product's folder; it is not opened.")
    if not real.is_file():
        raise ProductError(f"The product {folder.name} lacks its file {path.name}; map again.")
    return real


def open_raster(folder: Path, path: Path) -> rasterio.io.DatasetReader:
    """Open a layer's file; the caller closes it and works within `safe_environment`.

    Raises:
        ProductError: If it is no GeoTIFF, cannot be read, or points outside of the product.
    """
    import rasterio
    from rasterio.errors import RasterioError

    real = checked_path(folder, path)
    try:
        source = rasterio.open(real, driver="GTiff")
    except RasterioError as error:
        raise ProductError(f"{path.name} of {folder.name} cannot be read as GeoTIFF; map again.") from error
    if source.tags(ns="OVERVIEWS"):
        source.close()
        raise ProductError(f"{path.name} of {folder.name} names overviews in another file; it is not opened.")
    return source


@contextmanager
def opened(folder: Path, path: Path) -> Iterator[rasterio.io.DatasetReader]:
    """Open a layer's file safely for a while.

    Raises:
        ProductError: If it cannot be opened.
    """
    with safe_environment(), open_raster(folder, path) as source:
        yield source


def header_of(folder: Path, path: Path) -> HeaderFacts:
    """Read a raster's header.

    Raises:
        ProductError: If it cannot be opened.
    """
    with opened(folder, path) as source:
        return HeaderFacts(
            count=int(source.count),
            shape=(int(source.height), int(source.width)),
            block=(int(source.block_shapes[0][0]), int(source.block_shapes[0][1])),
            overviews=tuple(int(factor) for factor in source.overviews(1)),
        )


def robust_range(folder: Path, path: Path, band: int) -> tuple[float, float]:
    """Return the 2 % and 98 % quantiles of a band's stored values, from a reduced picture; (0, 1) without data.

    Raises:
        ProductError: If the file cannot be opened or decoded.
    """
    import numpy as np
    from rasterio.errors import RasterioIOError

    with opened(folder, path) as source:
        factor = max(1.0, max(source.shape) / _REDUCED)
        shape = (max(1, round(source.height / factor)), max(1, round(source.width / factor)))
        try:
            stored = source.read(band, out_shape=shape, masked=True).compressed()
        except RasterioIOError as error:
            raise ProductError(f"{path.name} of {folder.name} cannot be decoded; map again.") from error
    finite = stored[np.isfinite(stored)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, (2, 98))
    return float(low), float(high)
