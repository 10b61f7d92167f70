"""Heights that the page raises: which layer of a product holds them, and its tiles as map libraries read ground.

A tile holds metres above the layer's lowest value in the three bytes that Mapzen's Terrarium format gives a height:
red * 256 + green + blue / 256 - 32768. What has no height lies on the lowest level.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.viewer.painting import physical

_WORDS = re.compile(r"\b(heights?|elevations?|dem|dsm|dtm|ndsm)\b", re.IGNORECASE)
_METRES = frozenset({"m", "metre", "metres", "meter", "meters"})
_ZERO = 32768.0
_HIGHEST = 32767.0


def describe_relief(layers: Sequence[Mapping[str, Any]], georeferenced: bool, base: str) -> dict[str, Any] | None:
    """Return which layer is a height that the ground can be raised by, or None.

    It has metres as its unit and calls itself a height or an elevation; values come before other layers, and error
    bars and ends of intervals are none. Where pixels have no size in metres nothing can be raised.

    Args:
        layers: Descriptions by `layer_kinds.describe_layer`.
        georeferenced: Whether the product has a place on the Earth.
        base: Relative address of the product.

    Returns:
        `layer`, `band`, `title`, `lowest` (metres that are drawn as level 0) and `url`.
    """
    found = [layer for layer in layers if georeferenced and _said_to_be_height(layer)]
    if not found:
        return None
    layer = min(found, key=lambda entry: entry["role"] != "value")
    band = layer["bands"][0]
    lowest = band["statistics"].get("minimum", band["limits"][0])
    return {
        "layer": layer["name"],
        "band": band["index"],
        "title": _said_to_be_height(layer),
        "lowest": float(lowest),
        "url": f"{base}/relief/{{z}}/{{x}}/{{y}}.png",
    }


def _said_to_be_height(layer: Mapping[str, Any]) -> str:
    """Return what of a layer's texts calls it a height, `""` where it is none."""
    if layer["kind"] != "numbers" or layer["unit"] not in _METRES or not layer["bands"]:
        return ""
    if layer["role"] in {"uncertainty", "interval"} or layer["name"].endswith(("_uncertainty", "_deviation")):
        return ""
    texts = (str(text).replace("_", " ") for text in (layer["description"], layer["bands"][0]["name"], layer["name"]))
    return next((text for text in texts if _WORDS.search(text)), "")


def heights_of(layer: Mapping[str, Any], stored: NDArray[Any], lowest: float) -> NDArray[np.float64]:
    """Return metres above the lowest level `[H, W]`, NaN where there is no height.

    Args:
        layer: Description of the layer.
        stored: Stored values of its band.
        lowest: See `describe_relief`.
    """
    return np.clip(physical(layer, stored) - lowest, 0.0, _HIGHEST)


def terrarium(heights: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return metres `[H, W]` as red, green, blue `[H, W, 3]`, in steps of 1/256 m; NaN becomes 0 m."""
    steps = np.round((np.nan_to_num(heights) + _ZERO) * 256.0).astype(np.uint32)
    steps = np.minimum(steps, np.uint32(2**24 - 1))
    return np.stack([steps >> 16, (steps >> 8) & 255, steps & 255], axis=-1).astype(np.uint8)
