"""Quick-look pictures of a product's layers with their legends, from the description that the web map shows."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.viewer.colours import ramp
from ecumene.viewer.layer_kinds import epoch_of
from ecumene.viewer.painting import missing, paint, to_png
from ecumene.viewer.report import Picture, Ramp, Swatch

LONGEST_SIDE = 800
_MOST_BANDS = 6


def png_uri(rgba: NDArray[np.uint8]) -> str:
    """Return an image `[H, W, 4]` as data URI."""
    return "data:image/png;base64," + base64.b64encode(to_png(rgba)).decode("ascii")


def ramp_uri(colormap: str) -> str:
    """Return a colour bar from low (left) to high as data URI."""
    bar = np.full((1, 256, 4), 255, np.uint8)
    bar[0, :, :3] = ramp(colormap)
    return png_uri(bar)


def read_stored(path: Path, band: int, *, average: bool, longest: int = LONGEST_SIDE) -> NDArray[Any]:
    """Read stored values, reduced through the overviews.

    Args:
        path: A raster file.
        band: 1-based band.
        average: Average numbers of the pixels that become one (nodata left out); else take one of them.
        longest: Longest side of the result in pixels.

    Returns:
        `[H, W]` in the type of the file.
    """
    import rasterio
    from rasterio.enums import Resampling

    with rasterio.open(path) as source:
        factor = max(1.0, max(source.shape) / longest)
        shape = (max(1, round(source.height / factor)), max(1, round(source.width / factor)))
        how = Resampling.average if average else Resampling.nearest
        stored: NDArray[Any] = source.read(band, out_shape=shape, resampling=how)
        return stored


def number_text(layer: Mapping[str, Any], value: float) -> str:
    """Return a physical value as text with its unit, or as a date."""
    day = epoch_of(layer["unit"])
    if day is not None:
        return str(np.datetime64(day, "D") + round(value))
    unit = layer["unit"]
    return f"{value:.4g}" if unit in {"", "calendar year", "decimal year"} else f"{value:.3g} {unit}"


def product_pictures(folder: Path, description: Mapping[str, Any]) -> list[Picture]:
    """Return pictures of value, uncertainty, outlier flag and what else the task has to show.

    Flags that are the same everywhere, probabilities, intervals and parts of the error bar are left to the web map.

    Args:
        folder: The product's folder.
        description: Of `layers.describe_product`.
    """
    rank = {"value": 0, "uncertainty": 1, "outlier": 2, "set": 3, "extra": 4, "valid": 5}
    shown = [layer for layer in description["layers"] if layer["role"] in rank and _wanted(layer)]
    pictures = []
    for layer in sorted(shown, key=lambda layer: rank[layer["role"]]):
        bands = layer["bands"][:_MOST_BANDS] if layer["role"] in {"value", "uncertainty"} else layer["bands"][:1]
        pictures += [layer_picture(folder, layer, band["index"], description) for band in bands]
    return pictures


def _wanted(layer: Mapping[str, Any]) -> bool:
    if layer["role"] == "extra":
        return bool(layer["kind"] == "date")
    if layer["role"] == "valid":
        statistics = layer["bands"][0]["statistics"] if layer["bands"] else {}
        return bool(statistics.get("minimum", 1) != statistics.get("maximum", 1))
    return True


def layer_picture(folder: Path, layer: Mapping[str, Any], band: int, description: Mapping[str, Any]) -> Picture:
    """Return the picture of one band with legend, caption and alternative text."""
    numbers = layer["kind"] in {"numbers", "date"}
    stored = read_stored(folder / layer["file"], band, average=numbers)
    uri = png_uri(paint(layer, stored, band=band))
    several = len(layer["bands"]) > 1
    name = layer["bands"][band - 1]["name"]
    title = f"{layer['title']}: {name}" if several else str(layer["title"])
    about = str(layer["description"])
    if layer["kind"] == "set":  # how the set is stored is for machines
        about = about.partition(" (bit 0")[0].replace(" as a bit mask", "")
    about = f"{about[:1].upper()}{about[1:]}." if about and not about.endswith(".") else about
    if layer["kind"] in {"classes", "flag"}:
        swatches = _swatches(layer, stored, description)
        alt = f"{title}. " + ", ".join(f"{part.name} {part.note}".strip() for part in swatches)
        return Picture(title, uri, about, alt, swatches=swatches)
    low, high = layer["bands"][band - 1]["limits"]
    ends = (f"{low:.0f} class", f"{high:.0f} classes") if layer["kind"] == "set" else ()
    low_text, high_text = ends or (number_text(layer, low), number_text(layer, high))
    mean = layer["bands"][band - 1]["statistics"].get("mean")
    said = f"{about} Mean {number_text(layer, mean)}." if mean is not None and layer["kind"] != "set" else about
    alt = f"{title}, from {low_text} to {high_text}. {said}"
    return Picture(title, uri, said.strip(), alt, ramp=Ramp(ramp_uri(layer["colormap"]), low_text, high_text))


def _swatches(layer: Mapping[str, Any], stored: NDArray[Any], description: Mapping[str, Any]) -> Sequence[Swatch]:
    """Return the legend with shares of the mapped pixels, from the Item where it has them, else of the picture."""
    stated = {entry["value"]: entry["share"] for entry in (description["legend"] or {"classes": ()})["classes"]}
    seen = stored[~missing(layer, stored)]
    swatches = []
    for entry in layer["classes"]:
        share = stated.get(entry["value"]) if layer["role"] == "value" else None
        if share is None:
            share = float(np.mean(seen == entry["value"])) if seen.size else 0.0
        swatches.append(Swatch(entry["colour"], entry["name"], f"{share:.1%}"))
    return swatches
