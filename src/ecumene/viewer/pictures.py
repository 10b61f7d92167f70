"""Quick-look pictures of rasters as PNG, for pages that must travel as one file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LONGEST_SIDE = 700


def read_reduced(path: Path, band: int = 1, longest: int = LONGEST_SIDE) -> NDArray[np.float32]:
    """Read a raster's overview as physical float32 with NaN for nodata.

    Args:
        path: A raster file.
        band: 1-based band.
        longest: Longest side of the result in pixels.

    Returns:
        `[H, W]`.
    """
    import rasterio
    from rasterio.enums import Resampling

    with rasterio.open(path) as source:
        factor = max(1.0, max(source.shape) / longest)
        shape = (max(1, round(source.height / factor)), max(1, round(source.width / factor)))
        categorical = source.dtypes[band - 1] in {"uint8", "uint16", "uint32"} and source.scales[band - 1] == 1.0
        how = Resampling.nearest if categorical else Resampling.average
        stored = source.read(band, out_shape=shape, masked=True, resampling=how)
        values = stored.astype(np.float32).filled(np.nan)
        return np.asarray(values * source.scales[band - 1] + source.offsets[band - 1], np.float32)


def to_png(rgba: NDArray[np.uint8]) -> str:
    """Return an image `[H, W, 3 or 4]` as a base64 data URI."""
    from matplotlib import image

    stream = io.BytesIO()
    image.imsave(stream, np.ascontiguousarray(rgba), format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def ramp_picture(values: NDArray[np.float32], low: float, high: float, colours: str = "viridis") -> str:
    """Colour numbers by a perceptually even ramp between `low` and `high`; NaN is transparent."""
    import matplotlib

    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    rgba = (matplotlib.colormaps[colours](np.nan_to_num(scaled)) * 255).astype(np.uint8)
    rgba[~np.isfinite(values)] = 0
    return to_png(rgba)


def flag_picture(flags: NDArray[np.float32], colour: tuple[int, int, int] = (213, 94, 0)) -> str:
    """Show a 0/1 flag: 1 in colour, 0 in light grey, nodata transparent."""
    rgba = np.zeros((*flags.shape, 4), np.uint8)
    rgba[flags == 0] = (225, 225, 225, 255)
    rgba[flags == 1] = (*colour, 255)
    return to_png(rgba)


def composite_picture(bands: NDArray[np.float32]) -> str:
    """Show three bands `[3, H, W]` as red, green, blue, stretched between their 2 % and 98 % quantiles."""
    finite = np.isfinite(bands).all(axis=0)
    rgba = np.zeros((*finite.shape, 4), np.uint8)
    if finite.any():
        for channel in range(3):
            low, high = np.nanpercentile(bands[channel][finite], (2, 98))
            scaled = np.clip((bands[channel] - low) / max(high - low, 1e-9), 0, 1)
            rgba[..., channel] = np.nan_to_num(scaled * 255).astype(np.uint8)
    rgba[..., 3] = np.where(finite, 255, 0)
    return to_png(rgba)
