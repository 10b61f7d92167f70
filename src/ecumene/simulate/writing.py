"""Files as agencies deliver them, so that the simulated town goes the way of real data.

Each image is a tiled GeoTIFF; `<name>.scene.yaml` beside it declares sensor, level, radiometry, bands, time
and mask, which a GeoTIFF alone cannot say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import atomic_path, write_text
from ecumene.legends import Legend
from ecumene.simulate.city import City
from ecumene.simulate.cover import FRACTION_NAMES
from ecumene.simulate.optical import Observation

SCALE = 1e-4
"""Reflectance for one digital number of Sentinel-2."""
LICENCE = "CC0-1.0"
"""Licence of simulated data."""
TRUTH_NODATA = 255


def write_raster(
    path: Path | str,
    values: NDArray,
    geobox: GeoBox,
    *,
    names: Sequence[str] = (),
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    tags: dict[str, str] | None = None,
    legend: Legend | None = None,
) -> Path:
    """Write a tiled, compressed GeoTIFF, whole or not at all.

    Args:
        path: Target.
        values: `[H, W]` or `[bands, H, W]`.
        geobox: Grid of the values.
        names: Band descriptions.
        nodata: Stored value without data.
        scale: Scale tag of all bands.
        offset: Offset tag of all bands.
        tags: Further metadata.
        legend: Classes whose colours become the colour table (one band of uint8 only).

    Returns:
        The path.

    Raises:
        ProductError: If it cannot be written.
    """
    stack = values[None] if values.ndim == 2 else values
    profile: dict[str, Any] = {
        "driver": "GTiff",
        **dict(zip(("count", "height", "width"), stack.shape, strict=True)),
        "dtype": stack.dtype.name,
        "crs": str(geobox.crs),
        "transform": geobox.transform,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 3 if stack.dtype.kind == "f" else 2,
    }
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as target:
        target.write(stack)
        if names:
            target.descriptions = tuple(names)
        if scale is not None:
            target.scales = (scale,) * stack.shape[0]
            target.offsets = (offset or 0.0,) * stack.shape[0]
        if tags:
            target.update_tags(**tags)
        if legend is not None:
            colours = {item.value: (*tuple(bytes.fromhex(item.colour[1:])), 255) for item in legend.classes}
            target.write_colormap(1, colours)
    return Path(path)


def _time(observation: Observation, solar_hour: float) -> str:
    """Return the time of acquisition in UTC, from local solar time and longitude."""
    box = observation.geobox.boundingbox
    to_degrees = Transformer.from_crs(CRS(str(observation.geobox.crs)), CRS(4326), always_xy=True)
    longitude = to_degrees.transform((box.left + box.right) / 2, (box.bottom + box.top) / 2)[0]
    minutes = round(60 * (solar_hour - longitude / 15.0))
    return f"{observation.date.astype('datetime64[m]') + np.timedelta64(minutes, 'm')}:00Z"


def _declare(path: Path, values: dict[str, Any]) -> None:
    write_text(path.with_name(f"{path.stem}.scene.yaml"), yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def scene_classification(observation: Observation) -> NDArray[np.uint8]:
    """Return a scene classification (SCL) with the codes of Sentinel-2 L2A, from the truth of clouds.

    3 shadow of a cloud, 8 and 9 cloud of medium and high probability; clear pixels are 6 water (normalised
    difference of green and near infrared above 0), 4 vegetation (NDVI above 0.4) or 5 bare.
    """
    truth = dict(zip(observation.bands, observation.truth, strict=True))
    green, red, nir = truth["B03"], truth["B04"], truth["B08"]
    clear = np.where(green > nir, 6, np.where((nir - red) > 0.4 * (nir + red), 4, 5))
    cloud = np.where(observation.cloud_thickness > 3.0, 9, 8)
    return np.where(observation.mask == 2, cloud, np.where(observation.mask == 1, 3, clear)).astype(np.uint8)


def _write_mask(observation: Observation, path: Path) -> dict[str, Any]:
    """Write the mask of clouds beside an image and return its declaration."""
    if observation.level == "L2A":
        mask = path.with_name(f"{path.stem}_SCL.tif")
        write_raster(mask, scene_classification(observation), observation.geobox, names=("SCL",), nodata=0)
        return {"file": mask.name, "kind": "scl"}
    mask = path.with_name(f"{path.stem}_clouds.tif")
    write_raster(mask, observation.mask, observation.geobox, names=("clouds",))
    return {"file": mask.name, "kind": "binary", "bad_values": [1, 2]}


def write_sentinel2(
    observation: Observation, path: Path | str, *, baseline: str = "05.09", with_mask: bool = True
) -> Path:
    """Write an optical observation as digital numbers: uint16, scale 1e-4, nodata 0.

    Since processing baseline 04.00 the numbers carry an offset of 1000, so that noise below zero
    survives; before, it was lost at 1.

    Args:
        observation: From `observe_sentinel2`.
        path: Target, `.tif`.
        baseline: Processing baseline that decides about the offset.
        with_mask: Write a mask beside it: `<name>_SCL.tif` for L2A, `<name>_clouds.tif` (0 clear, 1 shadow,
            2 cloud) for L1C, and declare it.

    Returns:
        The path.

    Raises:
        ConfigurationError: If the observation is no Sentinel-2 image, or the baseline is no number.
        ProductError: If a file cannot be written.
    """
    if observation.sensor != "sentinel-2":
        raise ConfigurationError(f"write_sentinel2 was given an image of {observation.sensor}; use its own writer.")
    try:
        offset = -0.1 if float(baseline) >= 4.0 else 0.0
    except ValueError as error:
        raise ConfigurationError(f"The processing baseline {baseline!r} is no number like 05.09.") from error
    path = Path(path)
    numbers = np.clip(np.rint((observation.image.astype(np.float64) - offset) / SCALE), 1, 65535).astype(np.uint16)
    time = _time(observation, 10.5)
    declared: dict[str, Any] = {
        "sensor": observation.sensor,
        "level": observation.level,
        "scale": SCALE,
        "offset": offset,
        "nodata": 0,
        "bands": list(observation.bands),
        "time": time,
        "licence": LICENCE,
        "id": path.stem,
    }
    if with_mask:
        declared["mask"] = _write_mask(observation, path)
    tags = {"PROCESSING_BASELINE": baseline, "TIFFTAG_DATETIME": time, "SIMULATED": "ecumene.simulate"}
    write_raster(
        path,
        numbers,
        observation.geobox,
        names=observation.bands,
        nodata=0,
        scale=SCALE,
        offset=offset,
        tags=tags,
    )
    _declare(path, declared)
    return path


def write_sentinel1(observation: Observation, path: Path | str) -> Path:
    """Write a radar observation: float32, sigma-nought in dB, nodata NaN, VV and VH.

    Raises:
        ConfigurationError: If the observation is no Sentinel-1 image.
        ProductError: If a file cannot be written.
    """
    if observation.sensor != "sentinel-1":
        raise ConfigurationError(f"write_sentinel1 was given an image of {observation.sensor}; use its own writer.")
    path = Path(path)
    time = _time(observation, 18.0)
    write_raster(
        path,
        observation.image,
        observation.geobox,
        names=observation.bands,
        nodata=float("nan"),
        tags={"TIFFTAG_DATETIME": time, "SIMULATED": "ecumene.simulate"},
    )
    _declare(
        path,
        {
            "sensor": observation.sensor,
            "level": observation.level,
            "unit": observation.unit,
            "scale": 1.0,
            "offset": 0.0,
            "bands": list(observation.bands),
            "time": time,
            "licence": LICENCE,
            "id": path.stem,
        },
    )
    return path


def write_truth(city: City, folder: Path | str, year: int | None = None) -> dict[str, Path]:
    """Write the truth of a year as GeoTIFFs on the 10 m grid.

    Args:
        city: The town.
        folder: Target folder.
        year: Year, None for the last.

    Returns:
        Paths of `land_cover` (uint8, coloured), `building_height` (m), `year_built` (0: none), `fractions`
        (six bands) and `elevation` (m).

    Raises:
        ConfigurationError: If the year is out of range.
        ProductError: If a file cannot be written.
    """
    folder = Path(folder)
    tags = {"SIMULATED": "ecumene.simulate"}
    cover = city.land_cover(year)
    layers: dict[str, dict[str, Any]] = {
        "land_cover": {"values": cover, "nodata": TRUTH_NODATA, "legend": city.legend, "names": ("land_cover",)},
        "building_height": {"values": city.building_height(year), "names": ("building_height",)},
        "year_built": {"values": city.year_built(year), "names": ("year_built",)},
        "fractions": {"values": city.fractions(year), "names": FRACTION_NAMES},
        "elevation": {"values": city.elevation, "names": ("elevation",)},
    }
    return {
        name: write_raster(folder / f"{name}.tif", layer.pop("values"), city.geobox, tags=tags, **layer)
        for name, layer in layers.items()
    }
