"""Small rasters and the scene descriptions that belong to them, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.scenes.contract import BandSource, MaskSource, SceneSource

UTM = "EPSG:32633"
ORIGIN = (600000.0, 5000000.0)


def grid(height, width, pixel=10.0, crs=UTM, origin=ORIGIN, shift=(0, 0)):
    """A grid whose corner is `shift` = (columns, rows) pixels away from the origin."""
    affine = Affine(pixel, 0, origin[0], 0, -pixel, origin[1]) * Affine.translation(*shift)
    return GeoBox((height, width), affine, crs)


def write(path: Path, values: np.ndarray, geobox: GeoBox, nodata=None, **options) -> str:
    """Write `[C, H, W]` as a tiled GeoTIFF."""
    values = np.atleast_3d(values) if values.ndim < 3 else values
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
    } | options
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    return str(path)


def band_sources(href, names, geobox, dtype, *, scale=1e-4, offset=0.0, nodata=None, unit="1", resampling="bilinear"):
    """Bands 1.. of one file."""
    return tuple(
        BandSource(name, href, i, geobox, dtype, scale, offset, nodata, unit, resampling)
        for i, name in enumerate(names, 1)
    )


def scene(
    path,
    values,
    geobox,
    names,
    *,
    time="2020-06-01T10:00:00",
    sensor="sentinel-2",
    level="L2A",
    quantity="reflectance",
    nodata=0,
    mask=None,
    identifier=None,
    properties=None,
    unit="1",
    **kw,
) -> SceneSource:
    """Write one file and describe it."""
    href = write(path, values, geobox, nodata)
    bands = band_sources(href, names, geobox, values.dtype.name, nodata=nodata, unit=unit, **kw)
    return SceneSource(
        id=identifier or Path(path).stem,
        sensor=sensor,
        level=level,
        quantity=quantity,
        unit=unit,
        time=None if time is None else np.datetime64(time, "ns"),
        bands=bands,
        geobox=geobox,
        mask=mask,
        files=(href,),
        properties=properties or {},
    )


def mask_file(path, codes, geobox, kind, **kw) -> MaskSource:
    """Write a mask's raster and describe it."""
    return MaskSource(kind=kind, href=write(path, codes[None], geobox), index=1, geobox=geobox, **kw)
