"""From stored values to colours: one function for tiles of the web map and pictures of the report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.viewer.colours import LEVELS, ramp, rgb


def physical(layer: Mapping[str, Any], stored: NDArray[Any]) -> NDArray[np.float64]:
    """Return stored * scale + offset of a layer as float64; nodata is NaN."""
    values = stored.astype(np.float64)
    gone = missing(layer, stored)
    if layer["scale"] != 1.0 or layer["offset"] != 0.0:
        values = values * layer["scale"] + layer["offset"]
    values[gone] = np.nan
    return values


def missing(layer: Mapping[str, Any], stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a layer's stored values are nodata."""
    gone = np.zeros(stored.shape, bool)
    if np.issubdtype(stored.dtype, np.floating):
        gone |= ~np.isfinite(stored)
    nodata = layer["nodata"]
    if isinstance(nodata, int | float):
        gone |= stored == nodata
    return gone


def paint(
    layer: Mapping[str, Any],
    stored: NDArray[Any],
    *,
    band: int = 1,
    colormap: str | None = None,
    limits: tuple[float, float] | None = None,
    hide: Collection[int] = (),
    fade: float = 0.0,
    uncertainty: NDArray[np.float64] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Colour a layer.

    Args:
        layer: Its description, see `layers.describe_product`.
        stored: Stored values of one band `[H, W]`.
        band: 1-based, for the limits of the ramp.
        colormap: Another ramp than the layer's own.
        limits: Other values of the ramp's ends, physical.
        hide: Codes of classes that are not drawn.
        fade: 0 to 1; what is most uncertain loses this share of its opacity.
        uncertainty: Physical error bar `[H, W]`, NaN where unknown; needed where `fade` > 0.
        mask: True where nothing is drawn (outside of the grid).

    Returns:
        Red, green, blue, opacity: uint8 `[H, W, 4]`.

    Raises:
        ConfigurationError: If there is no such ramp.
    """
    index, palette = levels(layer, stored, band=band, colormap=colormap, limits=limits, hide=hide)
    rgba = colours_of(index, palette)
    gone = missing(layer, stored)
    if mask is not None:
        gone |= mask
    rgba[gone] = 0
    if fade > 0 and uncertainty is not None and layer["uncertainty"] is not None:
        kept = 1.0 - fade * unsure_share(layer, uncertainty)
        rgba[..., 3] = np.round(rgba[..., 3] * kept).astype(np.uint8)
    return rgba


def colours_of(index: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `palette[index]` as `[H, W, 4]`."""
    words = np.take(np.ascontiguousarray(palette).view(np.uint32).ravel(), index)
    return words.view(np.uint8).reshape(*index.shape, 4)


def unsure_share(layer: Mapping[str, Any], uncertainty: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 where a pixel is as certain as the layer's scale says, 1 where as uncertain; unknown counts as 1."""
    low, high = layer["uncertainty"]["low"], layer["uncertainty"]["high"]
    share = np.clip((uncertainty - low) / max(high - low, 1e-12), 0.0, 1.0)
    return np.where(np.isfinite(uncertainty), share, 1.0)


def levels(
    layer: Mapping[str, Any],
    stored: NDArray[Any],
    *,
    band: int = 1,
    colormap: str | None = None,
    limits: tuple[float, float] | None = None,
    hide: Collection[int] = (),
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return which of 256 colours each pixel has, and the colours; arguments as of `paint`.

    Returns:
        Index `[H, W]` and palette `[256, 4]`; what pixels without data get is arbitrary.

    Raises:
        ConfigurationError: If there is no such ramp.
    """
    if layer["kind"] in {"classes", "flag"}:
        palette = np.zeros((LEVELS, 4), np.uint8)
        for entry in layer["classes"]:
            if entry["value"] not in hide and 0 <= entry["value"] < LEVELS:
                palette[entry["value"]] = (*rgb(entry["colour"]), 255)
        return _byte_codes(stored), palette
    palette = np.full((LEVELS, 4), 255, np.uint8)
    palette[:, :3] = ramp(colormap or layer["colormap"] or "viridis")
    ends = limits if limits is not None else layer["bands"][band - 1]["limits"]
    if stored.dtype == np.uint8:  # a table of all values is quicker than every pixel
        table = _ramp_levels(layer, np.arange(LEVELS, dtype=np.uint8), ends)
        return np.take(table, stored), palette
    return _ramp_levels(layer, stored, ends), palette


def _byte_codes(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return codes as bytes; what is no code of a byte becomes 255, the code of no class."""
    if stored.dtype == np.uint8:
        return stored
    codes = np.nan_to_num(stored, nan=255.0) if np.issubdtype(stored.dtype, np.floating) else stored
    return np.where((codes >= 0) & (codes <= 255), codes, 255).astype(np.uint8)


def _ramp_levels(layer: Mapping[str, Any], stored: NDArray[Any], ends: Sequence[float]) -> NDArray[np.uint8]:
    values = np.bitwise_count(stored).astype(np.float64) if layer["kind"] == "set" else physical(layer, stored)
    low, high = ends
    span = high - low if abs(high - low) > 1e-300 else 1e-300
    share = np.clip(np.nan_to_num((values - low) / span), 0.0, 1.0)
    return np.floor(share * (LEVELS - 1) + 0.5).astype(np.uint8)


def to_png(rgba: NDArray[np.uint8]) -> bytes:
    """Return a picture `[H, W, 3]` or `[H, W, 4]` as PNG: lossless, quick, the same picture gives the same bytes."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(rgba).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def to_palette_png(index: NDArray[np.uint8], palette: NDArray[np.uint8], gone: NDArray[np.bool_]) -> bytes:
    """Return a picture of at most 256 colours as PNG: a quarter of the size, and of the time.

    Args:
        index: `[H, W]`.
        palette: `[256, 4]`.
        gone: Where the picture is transparent.
    """
    import io

    from PIL import Image

    if gone.any():
        used = np.bincount(index[~gone], minlength=LEVELS)
        clear = np.flatnonzero((used == 0) | (palette[:, 3] == 0))
        if clear.size == 0:
            rgba = colours_of(index, palette)
            rgba[gone] = 0
            return to_png(rgba)
        index, palette = np.where(gone, np.uint8(clear[0]), index), palette.copy()
        palette[clear[0]] = 0
    picture = Image.fromarray(np.ascontiguousarray(index))
    picture.putpalette(palette[:, :3].tobytes(), "RGB")
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1, transparency=palette[:, 3].tobytes())
    return stream.getvalue()
