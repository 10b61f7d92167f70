"""The urban functional boundary: where built-up land is dense within walking distance, as one area without holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from ecumene.core.errors import ConfigurationError

RURAL, SUBURBAN, CORE = 0, 1, 2
"""Codes of `urban_zones`."""
_EIGHT = np.ones((3, 3), np.int8)


def disc(radius_m: float, pixel_m: tuple[float, float]) -> NDArray[np.float64]:
    """Return a disc of ones on the pixels (height, width in metres) whose centres lie within the radius.

    Raises:
        ConfigurationError: If the radius is shorter than a pixel.
    """
    if not radius_m >= max(pixel_m):
        raise ConfigurationError(
            f"A disc of {radius_m:g} m is smaller than a pixel of {max(pixel_m):g} m; choose a larger radius."
        )
    rows, cols = (int(radius_m // side) for side in pixel_m)
    y, x = np.mgrid[-rows : rows + 1, -cols : cols + 1]
    inside = (y * pixel_m[0]) ** 2 + (x * pixel_m[1]) ** 2 <= radius_m**2
    return np.asarray(inside, np.float64)


def built_up_density(
    built: NDArray[np.floating], known: NDArray[np.floating], pixel_m: tuple[float, float], radius_m: float = 1000.0
) -> NDArray[np.float64]:
    """Return the share of built-up land among the known land of a disc around each pixel.

    Args:
        built: Built-up share of each pixel, 0..1, `[rows, cols]`; 0 where unknown.
        known: Share of each pixel that is known, 0..1.
        pixel_m: Height and width of a pixel in metres.
        radius_m: Of the disc.

    Returns:
        Density 0..1, `[rows, cols]`; NaN where nothing in the disc is known.
    """
    kernel = disc(radius_m, pixel_m)
    sums, seen = (signal.fftconvolve(np.asarray(part, np.float64), kernel, mode="same") for part in (built, known))
    # Rounding of the transform leaves tiny numbers where there is nothing.
    some = seen > 1e-6 * kernel.sum()
    return np.where(some, np.clip(sums / np.where(some, seen, 1.0), 0.0, 1.0), np.nan)


def urban_zones(
    density: NDArray[np.floating], *, core: float = 0.5, suburban: float = 0.25, least_core_pixels: int = 1
) -> NDArray[np.uint8]:
    """Divide land into urban cores, the suburbs that hang together with them, and the rest.

    Core: density of at least `core`, in patches (over eight neighbours) of a least size. Suburban: density of at least
    `suburban`, in patches that touch a core. Holes that cores and suburbs enclose become suburban: parks and
    lakes within a town belong to it. The thresholds are a choice, and so is the disc; state them with the result.

    Args:
        density: From `built_up_density`.
        core: Least density of the core.
        suburban: Least density of the suburbs.
        least_core_pixels: Smaller patches are no core.

    Returns:
        `RURAL`, `SUBURBAN` or `CORE` of each pixel, uint8 `[rows, cols]`.

    Raises:
        ConfigurationError: If the thresholds are not 0 < suburban < core <= 1.
    """
    if not 0.0 < suburban < core <= 1.0 or least_core_pixels < 1:
        raise ConfigurationError("Densities must be 0 < suburban < core <= 1, and a core at least one pixel.")
    dense = np.nan_to_num(np.asarray(density, np.float64))
    patches, number = ndimage.label(dense >= core, _EIGHT)
    sizes = np.bincount(patches.ravel(), minlength=number + 1)
    centre = (sizes >= least_core_pixels)[patches] & (patches > 0)
    wide, number = ndimage.label((dense >= suburban) | centre, _EIGHT)
    joined = np.zeros(number + 1, bool)
    joined[np.unique(wide[centre])] = True
    joined[0] = False
    town = ndimage.binary_fill_holes(joined[wide])
    zones = np.where(town, SUBURBAN, RURAL).astype(np.uint8)
    zones[centre] = CORE
    return zones
