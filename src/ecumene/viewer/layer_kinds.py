"""What kind of thing a raster layer shows, and how it is shown: classes, flags, numbers, dates or sets of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ecumene.mapping.layers import FLAG_NAMES
from ecumene.mapping.product import Product, ProductLayer
from ecumene.viewer.rasters import HeaderFacts, robust_range

_FLAG_COLOURS = {"outlier": ("#d9d9d9", "#d55e00"), "valid": ("#5b5b5b", "#f0f0f0")}
_LABEL_COLOURS = ("#d9d9d9", "#0072b2")
_TITLES = {
    "value": "Value",
    "uncertainty": "Uncertainty",
    "outlier": "Outlier flag",
    "valid": "Mapped or not",
    "probability": "Probability",
    "set": "Class set",
}
_DAYS_SINCE = re.compile(r"days since (\d{4}-\d{2}-\d{2})")
_SPREAD = 2.0  # standard deviations about the mean that a ramp covers


def epoch_of(unit: str) -> str | None:
    """Return the day of a unit `days since YYYY-MM-DD`, or None."""
    found = _DAYS_SINCE.fullmatch(unit)
    return found.group(1) if found else None


def kind_of(layer: ProductLayer, classes: Sequence[Mapping[str, Any]] | None) -> str:
    """Return `classes`, `flag`, `set`, `date` or `numbers`.

    A categorical layer of several bands without classes holds labels that are present (1) or absent (0).
    """
    if layer.name in FLAG_NAMES and layer.categorical:
        return "flag"
    if classes:
        return "classes"
    if layer.role == "set" and layer.dtype == "uint32":
        return "set"
    if layer.categorical and layer.role == "value" and len(layer.band_names) > 1:
        return "flag"
    if epoch_of(layer.unit) or layer.unit in {"calendar year", "decimal year"}:
        return "date"
    return "numbers"


def _item_classes(product: Product, layer: ProductLayer) -> list[dict[str, Any]] | None:
    """Return the classes that the Item states for a layer, value's or another's."""
    bands = product.item["assets"][layer.name].get("bands") or [{}]
    found = bands[0].get("classification:classes") or ()
    shown = [
        {
            "value": int(entry["value"]),
            "name": str(entry.get("title") or entry["name"]),
            "colour": "#" + str(entry.get("color_hint") or "888888").lower(),
        }
        for entry in found
        if not entry.get("nodata")
    ]
    return shown or None


def _flag_classes(layer: ProductLayer) -> list[dict[str, Any]]:
    names = FLAG_NAMES.get(layer.name, ("absent", "present"))
    colours = _FLAG_COLOURS.get(layer.name, _LABEL_COLOURS)
    return [
        {"value": code, "name": name, "colour": colour}
        for code, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]


def _limits(product: Product, layer: ProductLayer, kind: str, numbers: Mapping[str, float], index: int) -> list[float]:
    """Return the values of a ramp's ends, from what the layer means, its statistics, or else its pixels reduced."""
    if kind in {"classes", "flag"}:
        return [0.0, 1.0]
    if kind == "set":
        return [1.0, float(max(2, len(product.legend or ())))]
    if layer.role == "probability" or (layer.role == "uncertainty" and product.legend is not None):
        return [0.0, 1.0]
    low, high = numbers.get("minimum"), numbers.get("maximum")
    if low is None and high is None:
        low, high = robust_range(product.folder, layer.path, index)
        low, high = low * layer.scale + layer.offset, high * layer.scale + layer.offset
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    mean, spread = numbers.get("mean"), numbers.get("stddev")
    if mean is not None and spread is not None and spread > 0:
        low, high = max(low, mean - _SPREAD * spread), min(high, mean + _SPREAD * spread)
    if layer.role == "uncertainty":
        low = 0.0
    return [float(low), float(high)] if high > low else [float(low), float(low) + 1.0]


def _bands(product: Product, layer: ProductLayer, kind: str, facts: HeaderFacts) -> list[dict[str, Any]]:
    values = [entry.value for entry in product.legend.classes] if product.legend is not None else []
    per_class = layer.role == "probability" and len(values) == len(layer.band_names)
    bands = []
    for index in range(min(len(layer.band_names), facts.count)):
        numbers = layer.statistics[index] if index < len(layer.statistics) else {}
        bands.append(
            {
                "index": index + 1,
                "name": layer.band_names[index] or layer.name,
                "limits": _limits(product, layer, kind, numbers, index + 1),
                "statistics": {key: value for key, value in numbers.items() if math.isfinite(value)},
                "class_value": values[index] if per_class else None,
            }
        )
    if kind in {"numbers", "date"} and len(bands) > 1:
        _share_limits(bands)
    return bands


def _share_limits(bands: list[dict[str, Any]]) -> None:
    """Give all bands one ramp, so that dates or materials can be compared; bands that are constant have no say."""
    telling = [
        band["limits"]
        for band in bands
        if band["statistics"].get("minimum") is None or band["statistics"]["minimum"] < band["statistics"]["maximum"]
    ]
    if telling:
        low, high = min(ends[0] for ends in telling), max(ends[1] for ends in telling)
        for band in bands:
            band["limits"] = [low, high]


def _title(product: Product, layer: ProductLayer, kind: str) -> str:
    if layer.name == "value" and kind == "classes":
        return "Class"
    title = _TITLES.get(layer.role if layer.role == layer.name or layer.role == "probability" else "", "")
    if layer.role == "set":
        title = "Class set" if kind == "set" else "Size of the class set"
    return title or layer.name.replace("_", " ").replace("-", " ").capitalize()


def describe_layer(product: Product, layer: ProductLayer, facts: HeaderFacts, base: str) -> dict[str, Any]:
    """Describe one raster layer.

    Args:
        product: The product.
        layer: One of its layers.
        facts: What the header of its file says.
        base: Relative address of the product.
    """
    classes = _item_classes(product, layer)
    kind = kind_of(layer, classes)
    if kind == "flag":
        classes = _flag_classes(layer)
    colormap = None if kind in {"classes", "flag"} else "cividis" if layer.role == "uncertainty" else "viridis"
    nodata: float | int | str | None = layer.nodata
    if isinstance(nodata, float) and not math.isfinite(nodata):
        nodata = str(nodata)
    return {
        "name": layer.name,
        "title": _title(product, layer, kind),
        "role": layer.role,
        "description": layer.description,
        "kind": kind,
        "unit": "" if layer.unit == "1" else layer.unit,
        "dtype": layer.dtype,
        "nodata": nodata,
        "scale": layer.scale,
        "offset": layer.offset,
        "file": layer.path.name,
        "bands": _bands(product, layer, kind, facts),
        "default_band": 1,
        "colormap": colormap,
        "classes": classes,
        "visible": False,
        "uncertainty": None,
        "interval": None,
        "has_overviews": bool(facts.overviews),
        "block": list(facts.block),
        "tiles": f"{base}/tiles/{layer.name}/{{z}}/{{x}}/{{y}}.png",
    }


def link_layers(layers: list[dict[str, Any]]) -> None:
    """Join every value with its error bar and its interval, and choose what is shown first; changes `layers`."""
    named = {layer["name"]: layer for layer in layers}
    values = [layer for layer in layers if layer["role"] == "value"]
    bars = [layer for layer in layers if layer["role"] == "uncertainty"]
    for layer in layers:
        candidates = [f"{layer['name']}{end}" for end in ("_uncertainty", "-uncertainty", "_deviation", "-deviation")]
        found = next((named[name] for name in candidates if name in named), None)
        if found is None and layer["role"] == "value" and len(bars) == 1 and len(values) == 1:
            found = bars[0]
        if found is not None:
            layer["uncertainty"] = _fade(layer, found)
        if layer["role"] == "value" and len(values) == 1 and {"lower", "upper"} <= set(named):
            about = str(named["lower"]["description"]).partition(" end of the ")[2]
            layer["interval"] = {"lower": "lower", "upper": "upper", "text": about or "interval"}
            for end in ("lower", "upper"):
                for band, own in zip(named[end]["bands"], layer["bands"], strict=False):
                    band["limits"] = list(own["limits"])
    for layer in layers:
        if layer["role"] == "probability" and values and values[0]["uncertainty"] is not None:
            layer["uncertainty"] = _fade(layer, named[values[0]["uncertainty"]["layer"]])
    first = values[0] if values else layers[0] if layers else None
    if first is not None:
        first["visible"] = True


def _fade(layer: Mapping[str, Any], bar: Mapping[str, Any]) -> dict[str, Any]:
    """Return which band of `bar` is the error bar of each band of `layer`, and what is fully certain and uncertain."""
    same = len(layer["bands"]) == len(bar["bands"])
    low, high = bar["bands"][0]["limits"] if bar["bands"] else (0.0, 1.0)
    return {
        "layer": bar["name"],
        "band_for": [band["index"] if same else 1 for band in layer["bands"]],
        "low": low,
        "high": high,
    }
