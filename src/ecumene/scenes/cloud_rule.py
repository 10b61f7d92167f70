"""A cloud and cloud-shadow mask from the scene's own reflectances, for scenes without a provider's mask.

It is the part of Fmask that looks at one pixel at a time, so that a window's mask does not depend on the
rest of the scene (Zhu and Woodcock 2012, Remote Sensing of Environment 118, 83-94, equations 1 to 4;
cirrus: Zhu, Wang and Woodcock 2015, RSE 159, 269-277). With reflectances (TOA or BOA) a pixel is cloud if

- HOT = blue - 0.5 red > 0.08 (haze-optimised transform: clouds and haze scatter blue), and
- whiteness, the summed relative deviation of blue, green and red from their mean, < 0.7, and
- where the bands exist: NDVI < 0.8; swir22 > 0.03; NDSI < 0.4 or nir < 0.11 (snow is kept: Hall,
  Riggs and Salomonson 1995, RSE 54, 127-140); nir / swir16 > 0.75 (bright rock and bare soil reflect
  more in the short-wave infrared); brightness temperature < 300 K;

or if the cirrus band is > 0.01. Single pixels (roofs) are removed by an opening with 3 x 3 pixels, and
clouds grow by 60 m (at least 1 pixel). A pixel is cloud shadow if it lies within 1 km (at most 128
pixels) of a cloud and is dark in nir (< 0.12) and, where there is one, swir16 (< 0.08), and is not water
(nir > green). The rule overlooks haze, thin cirrus without a cirrus band, and shadows on water; it takes
large white roofs, salt and, without a short-wave infrared band, snow for clouds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from ecumene.core.errors import ContractError
from ecumene.core.window import Window
from ecumene.scenes.common_names import require_common
from ecumene.scenes.contract import SceneSource
from ecumene.scenes.grid import full_window, ground_sampling_m, window_geobox
from ecumene.scenes.reading import read_bands

GROW_M = 60.0
SHADOW_REACH_M = 1000.0
MAX_HALO = 128

NEEDED = ("blue", "green", "red", "nir")
USED = ("swir16", "swir22", "cirrus", "lwir11")

Bands = dict[str, NDArray[np.float32]]


def cloud_pixels(bands: Bands) -> NDArray[np.bool_]:
    """Apply the spectral rule for clouds.

    Args:
        bands: float32 arrays of one shape by common name: blue, green, red, nir in reflectance 0..1;
            optionally swir16, swir22, cirrus (reflectance) and lwir11 (kelvin). NaN is never cloud.

    Returns:
        bool, same shape.
    """
    blue, green, red, nir = (bands[name] for name in NEEDED)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (blue + green + red) / 3
        whiteness = (abs(blue - mean) + abs(green - mean) + abs(red - mean)) / mean
        cloud = (blue - 0.5 * red > 0.08) & (whiteness < 0.7) & (nir - red < 0.8 * (nir + red))
        if "swir22" in bands:
            cloud &= bands["swir22"] > 0.03
        if "swir16" in bands:
            swir16 = bands["swir16"]
            snow = (green - swir16 >= 0.4 * (green + swir16)) & (nir >= 0.11)
            cloud &= ~snow & (nir > 0.75 * swir16)
        if "lwir11" in bands:
            cloud &= bands["lwir11"] < 300.0
        if "cirrus" in bands:
            cloud |= bands["cirrus"] > 0.01
    return cloud


def dark_land(bands: Bands) -> NDArray[np.bool_]:
    """Return what is dark enough to be a cloud's shadow on land; same arguments as `cloud_pixels`."""
    dark = (bands["nir"] < 0.12) & (bands["nir"] > bands["green"])
    if "swir16" in bands:
        dark &= bands["swir16"] < 0.08
    return dark


def bad_by_rule(bands: Bands, pixel_m: float) -> NDArray[np.bool_]:
    """Return clouds, grown, and their shadows.

    Args:
        bands: As for `cloud_pixels`, `[H, W]`.
        pixel_m: Pixel size in metres.

    Returns:
        bool `[H, W]`.
    """
    cloud = ndimage.binary_opening(cloud_pixels(bands), np.ones((3, 3), bool))
    if not cloud.any():
        return np.zeros(cloud.shape, bool)
    distance = ndimage.distance_transform_edt(~cloud)
    grow, reach = _reaches(pixel_m)
    bad: NDArray[np.bool_] = (distance <= grow) | ((distance <= reach) & dark_land(bands))
    return bad


def _reaches(pixel_m: float) -> tuple[int, int]:
    """Return (growth, shadow search) in whole pixels."""
    grow = min(MAX_HALO, max(1, math.ceil(GROW_M / pixel_m)))
    return grow, min(MAX_HALO, max(grow, math.ceil(SHADOW_REACH_M / pixel_m)))


def clear_by_rule(source: SceneSource, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return where a scene is free of clouds and cloud shadows by the rule.

    The scene is read with a halo as wide as the rule reaches, so that every window of a grid gives the
    same mask as that part of the whole grid.

    Args:
        source: An optical scene in reflectance with blue, green, red and nir.
        geobox: The grid wanted.

    Returns:
        bool `[H, W]`; True also where the scene has no data.

    Raises:
        ContractError: If the scene is not in reflectance, or lacks one of the four bands.
    """
    if source.quantity != "reflectance":
        raise ContractError(
            f"The rule-based cloud mask needs reflectance, but scene {source.id} is {source.quantity}; declare "
            "its level, or do without the mask."
        )
    found = require_common(source, NEEDED, "The rule-based cloud mask")
    names = {common: found[common] for common in (*NEEDED, *USED) if common in found}
    units = {band.name: band.unit for band in source.bands}
    if "lwir11" in names and units[names["lwir11"]] != "K":
        del names["lwir11"]
    pixel_m = ground_sampling_m(geobox)
    halo = _reaches(pixel_m)[1] + 2
    window: Window = full_window(geobox).pad(halo)
    values = read_bands(source, list(names.values()), window_geobox(geobox, window))
    bad = bad_by_rule(dict(zip(names, values, strict=True)), pixel_m)
    return ~bad[halo:-halo, halo:-halo]
