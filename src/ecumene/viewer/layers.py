"""What a page shows of a product: the one description that web map, static site and report share.

A description is plain JSON. It is made from the product's Item and the headers of its files; pixels are read, much
reduced, only where a layer has no statistics.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ecumene import __version__
from ecumene.mapping.product import Product
from ecumene.viewer.colours import COLORMAPS, hex_ramp
from ecumene.viewer.layer_kinds import describe_layer, link_layers
from ecumene.viewer.places import describe_place
from ecumene.viewer.rasters import HeaderFacts, header_of
from ecumene.viewer.relief import describe_relief
from ecumene.viewer.vectors import describe_vectors

DESCRIPTION_VERSION = 1
_LARGE = 1024  # pixels of the longer side from which overviews matter


def describe_product(product: Product, *, identifier: str = "product") -> dict[str, Any]:
    """Describe a product for a page.

    Args:
        product: An opened product.
        identifier: Its name in addresses: letters, digits, `-`, `_`.

    Returns:
        JSON-able: title, place, dates, legend, layers, vectors, model, provenance and warnings.

    Raises:
        ProductError: If a layer's file cannot be read.
    """
    base = f"api/products/{identifier}"
    headers = {name: header_of(product.folder, layer.path) for name, layer in product.layers.items()}
    layers = [describe_layer(product, layer, headers[layer.name], base) for layer in product.layers.values()]
    link_layers(layers)
    place = describe_place(product.geobox)
    card = card_name(product)
    properties = product.properties
    described = {
        "id": identifier,
        "title": str(properties.get("title") or product.folder.resolve().name),
        "name": product.folder.resolve().name,
        "group": group_of(layers),
        "kind": "product",
        "tiles_number": 1,
        **place,
        "dates": describe_dates(properties),
        "legend": _legend(product),
        "layers": layers,
        "vectors": describe_vectors(product, base),
        "relief": describe_relief(layers, place["georeferenced"], base),
        "damaged_windows": len(product.damaged),
        "warnings": _warnings(product, place, headers),
        "quicklook": f"{base}/quicklook.png" if product.quicklook is not None else None,
        "card": f"{base}/card" if card else None,
        "model": _model(properties),
        "method": properties.get("ecumene:method"),
        "results": properties.get("ecumene:results") or {},
        "provenance": provenance(product.item),
    }
    return dict(plain(described))


def plain(value: Any) -> Any:
    """Return a JSON value with numbers that are not finite made None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_site(
    products: Sequence[Mapping[str, Any]],
    *,
    total: int | None = None,
    basemap: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything that a page needs at its start.

    Args:
        products: Descriptions by `describe_product`.
        total: How many there are, if not all are listed.
        basemap: `tiles` (address with {z}, {x}, {y}) and `attribution`, or None.
        extensions: What further parts of the page need, by their name.
    """
    return {
        "version": DESCRIPTION_VERSION,
        "software": {"ecumene": __version__},
        "basemap": dict(basemap) if basemap else None,
        "colormaps": {name: hex_ramp(name) for name in COLORMAPS},
        "extensions": dict(extensions or {}),
        "products": [dict(product) for product in products],
        "products_total": len(products) if total is None else total,
        "products_truncated": total is not None and total > len(products),
    }


def card_name(product: Product) -> str | None:
    """Return the key of the asset that is the model card, or None."""
    for key, asset in product.item.get("assets", {}).items():
        if key == "model-card" and str(asset.get("type", "")).startswith("text/markdown"):
            return str(key)
    return None


def group_of(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return a text that is equal for products with the same layers, so that they can be compared."""
    alike = [[part["name"], part["role"], part["kind"], part["unit"], part["classes"]] for part in layers]
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:12]


def describe_dates(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return first and last date of the inputs, a label, and when the product was made.

    Args:
        properties: Properties of an Item.
    """
    processing = str(properties.get("ecumene:datetime_is", "")).startswith("processing")
    start = properties.get("start_datetime") or properties.get("datetime")
    end = properties.get("end_datetime") or properties.get("datetime")
    first, last = str(start or "")[:10], str(end or "")[:10]
    label = "undated" if processing or not first else first if first == last else f"{first} to {last}"
    return {
        "start": None if processing else start,
        "end": None if processing else end,
        "label": label,
        "created": properties.get("created"),
        "is_processing_time": processing,
    }


def provenance(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a product was made, from its Item: inputs and files with checksums, software, licence."""
    properties = item["properties"]
    inputs = [
        {
            "title": str(link.get("title") or link.get("href")),
            "name": str(link.get("href")),
            "checksum": link.get("file:checksum"),
        }
        for link in item.get("links", [])
        if isinstance(link, Mapping) and link.get("rel") == "derived_from"
    ]
    files = [
        {
            "name": str(asset.get("href", "")).removeprefix("./"),
            "checksum": asset.get("file:checksum"),
            "size": asset.get("file:size"),
        }
        for asset in item.get("assets", {}).values()
    ]
    return {
        "lineage": str(properties.get("processing:lineage", "")),
        "software": properties.get("processing:software") or {},
        "created": properties.get("created"),
        "licence": properties.get("license"),
        "execution": properties.get("ecumene:execution") or {},
        "channels": list(properties.get("ecumene:channels") or []),
        "inputs": inputs,
        "files": sorted(files, key=lambda entry: str(entry["name"])),
    }


def _legend(product: Product) -> dict[str, Any] | None:
    if product.legend is None:
        return None
    total = sum(product.class_pixels.values())
    classes = []
    for entry in product.legend.classes:
        pixels = product.class_pixels.get(entry.value, 0)
        classes.append(
            {
                "value": entry.value,
                "name": entry.name,
                "colour": entry.colour,
                "description": entry.description,
                "pixels": pixels if total else None,
                "share": pixels / total if total else None,
            }
        )
    return {"name": product.legend.name, "classes": classes}


def _model(properties: Mapping[str, Any]) -> dict[str, Any] | None:
    model = properties.get("ecumene:model")
    if not isinstance(model, Mapping):
        return None
    return {key: model.get(key) for key in ("name", "kind", "created", "licence", "checksum")}


def _warnings(product: Product, place: Mapping[str, Any], headers: Mapping[str, HeaderFacts]) -> list[str]:
    said = []
    if not place["georeferenced"]:
        said.append("This product has no place on the Earth; coordinates are columns and rows of its pixels.")
    if max(product.geobox.shape) > _LARGE:
        slow = [name for name, facts in headers.items() if not facts.overviews]
        if slow:
            said.append(f"{', '.join(slow)}: without overviews, so far-out views are slow; map again to have them.")
    if product.damaged:
        said.append(
            f"{len(product.damaged)} part(s) of the input could not be decoded; no pixel of them is valid in this map."
        )
    if product.properties.get("ecumene:empty"):
        said.append("This tile has no data.")
    return said
