"""What a product says at one pixel, in numbers and in words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.viewer.layer_kinds import epoch_of
from ecumene.viewer.painting import missing, physical
from ecumene.viewer.places import is_georeferenced, lonlat_to_mercator, mercator_to_lonlat
from ecumene.viewer.rasters import open_raster, safe_environment

if TYPE_CHECKING:
    from ecumene.mapping.product import Product

Stored = Mapping[str, NDArray[Any]]

_MOST_SAID = 4  # bands in a sentence


def read_pixel(
    product: Product,
    description: Mapping[str, Any],
    *,
    lon: float | None = None,
    lat: float | None = None,
    col: int | None = None,
    row: int | None = None,
) -> dict[str, Any]:
    """Read every layer at a pixel.

    Args:
        product: The product.
        description: By `layers.describe_product`.
        lon: Longitude in degrees; give either `lon` and `lat`, or `col` and `row`.
        lat: Latitude in degrees.
        col: Column, 0 at the left.
        row: Row, 0 at the top.

    Returns:
        JSON-able: value with interval, class set, probabilities, flags, all layers, and where all of it came from.
        Outside of the grid `inside` is False and nothing else is said.

    Raises:
        ConfigurationError: If neither way of naming a pixel is complete.
        ProductError: If a file cannot be read.
    """
    place = _place(product, lon, lat, col, row)
    height, width = product.geobox.shape
    inside = 0 <= place.row < height and 0 <= place.col < width
    answer: dict[str, Any] = {"product": description["id"], "inside": inside, "valid": False, **asdict(place)}
    answer |= {"value": None, "uncertainty": None, "set": None, "probabilities": None, "flags": [], "layers": []}
    answer |= {"dates": description["dates"], "channels": description["provenance"]["channels"]}
    answer |= {"inputs": description["provenance"]["inputs"]}
    answer |= {"card": description["card"], "model": description["model"], "text": "Outside of the map."}
    if not inside:
        return answer
    stored = _read(product, place.row, place.col)
    layers = {layer["name"]: layer for layer in description["layers"] if layer["name"] in stored}
    shown = _Pixel(description, layers, stored)
    answer |= {
        "valid": shown.valid,
        "value": shown.value(),
        "uncertainty": shown.uncertainty(),
        "set": shown.class_set(),
        "probabilities": shown.probabilities(),
        "flags": shown.flags(),
        "layers": shown.all_layers(),
    }
    return answer | {"text": _sentence(answer)}


@dataclass(frozen=True)
class _Place:
    """A pixel in degrees, in the product's coordinates and in the grid; column and row are -1 where there are none."""

    lon: float | None
    lat: float | None
    x: float | None
    y: float | None
    col: int
    row: int


def _place(product: Product, lon: float | None, lat: float | None, col: int | None, row: int | None) -> _Place:
    if col is not None and row is not None:
        return _place_of_pixel(product, col, row)
    if lon is None or lat is None:
        raise ConfigurationError("A pixel is named by lon and lat, or by col and row.")
    affine, (height, width) = product.geobox.affine, product.geobox.shape
    if is_georeferenced(product.geobox):
        x, y = _transformer(product).transform(lon, lat, direction="INVERSE")
        if not (math.isfinite(x) and math.isfinite(y)):
            return _Place(lon, lat, None, None, -1, -1)
        inverse = ~affine
        across = inverse.a * x + inverse.b * y + inverse.c
        down = inverse.d * x + inverse.e * y + inverse.f
    else:
        mx, my = lonlat_to_mercator(lon, lat)
        across, down = mx + width / 2, height / 2 - my
        x, y = across, down
    return _Place(lon, lat, x, y, math.floor(across), math.floor(down))


def _place_of_pixel(product: Product, col: int, row: int) -> _Place:
    affine, (height, width) = product.geobox.affine, product.geobox.shape
    across, down = col + 0.5, row + 0.5
    if not is_georeferenced(product.geobox):
        lon, lat = mercator_to_lonlat(across - width / 2, height / 2 - down)
        return _Place(lon, lat, across, down, col, row)
    x = affine.a * across + affine.b * down + affine.c
    y = affine.d * across + affine.e * down + affine.f
    lon, lat = _transformer(product).transform(x, y)
    return _Place(_finite(lon), _finite(lat), x, y, col, row)


def _transformer(product: Product) -> Any:
    from pyproj import Transformer

    assert product.geobox.crs is not None
    return Transformer.from_crs(product.geobox.crs.proj, "OGC:CRS84", always_xy=True)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _read(product: Product, row: int, col: int) -> dict[str, NDArray[Any]]:
    """Return stored values `[bands]` of each layer."""
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window

    found = {}
    with safe_environment():
        for name, layer in product.layers.items():
            with open_raster(product.folder, layer.path) as source:
                if not (row < source.height and col < source.width):
                    continue
                try:
                    found[name] = source.read(window=Window(col, row, 1, 1))[:, 0, 0]
                except RasterioIOError as error:
                    raise ProductError(
                        f"{layer.path.name} of {product.folder.name} cannot be decoded here; map again."
                    ) from error
    return found


def number_text(value: float | None, unit: str = "") -> str:
    """Return a number with four digits and its unit, a date for `days since`, or `no data`."""
    if value is None or not math.isfinite(value):
        return "no data"
    since = epoch_of(unit)
    if since is not None:
        return (dt.date.fromisoformat(since) + dt.timedelta(days=round(value))).isoformat()
    if unit == "calendar year":
        return f"{value:.0f}"
    text = f"{value:.4g}"
    return f"{float(text):g} {unit}".strip() if abs(value) < 1e6 else f"{value:.4g} {unit}".strip()


def with_bar(value: float, bar: float, unit: str = "") -> str:
    """Return `value ± error bar unit`, both to the second digit of the error bar."""
    if epoch_of(unit) is not None:
        return f"{number_text(value, unit)} ± {bar:.2g} days"
    if not bar > 0 or unit == "calendar year":
        return f"{number_text(value, unit)} ± {bar:.2g}"
    digits = max(0, 1 - math.floor(math.log10(bar)))
    return f"{value:.{digits}f} ± {bar:.{digits}f} {unit}".strip()


def _either(names: Sequence[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


class _Pixel:
    """One pixel's stored values with their meaning."""

    def __init__(self, description: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]], stored: Stored) -> None:
        self._description = description
        self._layers = layers
        self._stored = stored
        self._numbers = {name: physical(layer, stored[name]) for name, layer in layers.items()}
        self._missing = {name: missing(layer, stored[name]) for name, layer in layers.items()}

    @property
    def valid(self) -> bool:
        """Whether the pixel was mapped: by the layer `valid`, or where a value is present."""
        if "valid" in self._layers:
            return bool(self._stored["valid"][0] == 1)
        first = next((name for name, layer in self._layers.items() if layer["role"] == "value"), None)
        return first is not None and not bool(self._missing[first].all())

    def _first(self, *, role: str, kind: str | None = None) -> Mapping[str, Any] | None:
        fits = (
            layer
            for layer in self._layers.values()
            if layer["role"] == role and (kind is None or layer["kind"] == kind)
        )
        return next(fits, None)

    def _number(self, layer: str, band: int) -> float | None:
        values = self._numbers[layer]
        value = float(values[band]) if band < values.size else math.nan
        return float(f"{value:.9g}") if math.isfinite(value) else None

    def value(self) -> dict[str, Any] | None:
        """Return the value with its error bar."""
        layer = self._first(role="value")
        if layer is None or bool(self._missing[layer["name"]].all()):
            return None
        return self._class_value(layer) if layer["kind"] == "classes" else self._number_value(layer)

    def _class_value(self, layer: Mapping[str, Any]) -> dict[str, Any]:
        code = int(self._stored[layer["name"]][0])
        entry = next((entry for entry in layer["classes"] if entry["value"] == code), None)
        name = entry["name"] if entry else f"code {code}"
        share = next((e["probability"] for e in self.probabilities() or () if e["value"] == code), None)
        text = name if share is None else f"{name}, probability {share:.2f}"
        return {
            "layer": layer["name"],
            "kind": "classes",
            "code": code,
            "class": name,
            "colour": entry["colour"] if entry else None,
            "probability": share,
            "text": text,
        }

    def _number_value(self, layer: Mapping[str, Any]) -> dict[str, Any]:
        bands = [self._number_band(layer, index) for index in range(len(layer["bands"]))]
        said = [f"{band['name']}: {band['text']}" if len(bands) > 1 else band["text"] for band in bands]
        if len(said) > _MOST_SAID:
            said = [*said[:_MOST_SAID], f"and {len(said) - _MOST_SAID} more"]
        return {"layer": layer["name"], "kind": layer["kind"], "bands": bands, "text": "; ".join(said)}

    def _number_band(self, layer: Mapping[str, Any], index: int) -> dict[str, Any]:
        unit, value = layer["unit"], self._number(layer["name"], index)
        bar, ends, about = None, None, None
        if layer["uncertainty"] is not None and layer["uncertainty"]["layer"] in self._layers:
            bar = self._number(layer["uncertainty"]["layer"], layer["uncertainty"]["band_for"][index] - 1)
        interval = layer["interval"]
        if interval is not None and interval["lower"] in self._layers and interval["upper"] in self._layers:
            low, high = (self._number(interval[end], index) for end in ("lower", "upper"))
            if low is not None and high is not None:
                ends, about = [low, high], interval["text"]
        if layer["kind"] == "flag":
            name = next((e["name"] for e in layer["classes"] if e["value"] == value), "no data")
            text = name
        else:
            text = number_text(value, unit) if value is None or bar is None else with_bar(value, bar, unit)
            if value is not None and ends is not None:
                text += f" ({about}: {number_text(ends[0], unit)} to {number_text(ends[1], unit)})"
        return {
            "name": layer["bands"][index]["name"],
            "value": value,
            "unit": unit,
            "uncertainty": bar,
            "interval": ends,
            "interval_text": about,
            "text": text,
        }

    def uncertainty(self) -> dict[str, Any] | None:
        """Return the first error bar."""
        layer = self._first(role="uncertainty")
        value = None if layer is None else self._number(layer["name"], 0)
        if layer is None or value is None:
            return None
        text = f"{number_text(value, layer['unit'])} ({layer['description']})".replace(" ()", "")
        return {"value": value, "unit": layer["unit"], "text": text}

    def class_set(self) -> dict[str, Any] | None:
        """Return the set of classes that the bit mask holds; bit i is class i of the legend."""
        layer, legend = self._first(role="set", kind="set"), self._description["legend"]
        if layer is None or legend is None or bool(self._missing[layer["name"]][0]):
            return None
        bits = int(self._stored[layer["name"]][0])
        classes = [entry for index, entry in enumerate(legend["classes"]) if bits >> index & 1]
        about = str(layer["description"]).partition(" (bit 0")[0].replace(" as a bit mask", "")
        names = [entry["name"] for entry in classes]
        return {
            "classes": [{key: entry[key] for key in ("value", "name", "colour")} for entry in classes],
            "text": f"{_either(names)} ({about})" if about else _either(names),
        }

    def probabilities(self) -> list[dict[str, Any]] | None:
        """Return the probability of each class, in the legend's order."""
        layer, legend = self._first(role="probability"), self._description["legend"]
        if layer is None or legend is None or len(layer["bands"]) != len(legend["classes"]):
            return None
        if bool(self._missing[layer["name"]].all()):
            return None
        return [
            {
                "value": entry["value"],
                "name": entry["name"],
                "colour": entry["colour"],
                "probability": self._number(layer["name"], index),
            }
            for index, entry in enumerate(legend["classes"])
        ]

    def flags(self) -> list[dict[str, Any]]:
        """Return the flags in words."""
        said = []
        for layer in self._layers.values():
            if layer["kind"] != "flag" or layer["role"] not in {"outlier", "valid"}:
                continue
            code = int(self._stored[layer["name"]][0])
            entry = next((entry for entry in layer["classes"] if entry["value"] == code), None)
            if entry is None or (layer["name"] == "outlier" and bool(self._missing["outlier"][0])):
                continue
            alarming = code == (1 if layer["role"] == "outlier" else 0)
            one, _, zero = str(layer["description"]).removeprefix("1 where ").partition(", 0 where ")
            about = (one if code else zero) if alarming else ""
            text = f"{entry['name']}: {about}" if about else entry["name"]
            said.append(
                {"layer": layer["name"], "code": code, "name": entry["name"], "text": text, "alarming": alarming}
            )
        return said

    def all_layers(self) -> list[dict[str, Any]]:
        """Return every band of every layer."""
        return [
            {"name": layer["name"], "title": layer["title"], "bands": self._bands(layer)}
            for layer in self._layers.values()
        ]

    def _bands(self, layer: Mapping[str, Any]) -> list[dict[str, Any]]:
        bands = []
        for index, band in enumerate(layer["bands"]):
            value = self._number(layer["name"], index)
            text = number_text(value, layer["unit"])
            if layer["classes"] is not None and value is not None:
                text = next((e["name"] for e in layer["classes"] if e["value"] == int(value)), text)
            elif layer["kind"] == "set" and value is not None:
                text = f"{int(np.bitwise_count(np.uint32(value)))} classes"
            bands.append({"name": band["name"], "value": value, "unit": layer["unit"], "text": text})
        return bands


def _sentence(answer: Mapping[str, Any]) -> str:
    """Return one line for readers who hear the page."""
    if not answer["valid"]:
        return "Not mapped here."
    parts = [answer["value"]["text"]] if answer["value"] else ["no value"]
    if answer["set"]:
        parts.append(f"class set {answer['set']['text'].partition(' (')[0]}")
    parts += [flag["name"] for flag in answer["flags"] if flag["alarming"]]
    return "; ".join(parts) + "."
