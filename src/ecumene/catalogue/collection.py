"""What holds the tiles together: a STAC Collection, a GeoParquet table of its Items, mosaics."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecumene import __version__
from ecumene.catalogue.empty import EMPTY
from ecumene.catalogue.mosaic import mosaics
from ecumene.catalogue.plan import Settings
from ecumene.catalogue.store import TILES, Store
from ecumene.core.errors import ProductError
from ecumene.mapping.product import ITEM_NAME

COLLECTION_NAME = "collection.json"
INDEX_NAME = "items.parquet"


def write_collection(store: Store, settings: Settings, units: Sequence[str]) -> tuple[str, ...]:
    """Write index, mosaics and, last, the Collection of the units that are finished.

    Args:
        store: Where the products are.
        settings: What they have in common.
        units: Names of all units; those without product are left out.

    Returns:
        Notes for the user, one sentence each.

    Raises:
        ProductError: If nothing is finished, or something cannot be written.
    """
    items = {unit: item for unit in units if (item := store.item(unit)) is not None}
    if not items:
        raise ProductError("No tile was finished, so there is no collection to write.")
    notes = []
    if importlib.util.find_spec("stac_geoparquet") is None:
        notes.append(f"{INDEX_NAME} was not written: pip install 'ecumene[index]' and run the same command again.")
    else:
        _write_index(store, items)
    for name, text in mosaics(items).items():
        store.write_text(name, text)
        style = store.read_text(_style_of(name, items))
        if style is not None:
            store.write_text(name.removesuffix(".vrt") + ".qml", style)
    body = collection(settings, items)
    _validate(body)
    store.write_text(COLLECTION_NAME, json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return tuple(notes)


def _style_of(mosaic: str, items: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the place of the QGIS style of the first tile that has one for this layer."""
    layer = mosaic.removesuffix(".vrt").partition("-")[0]
    for unit, item in items.items():
        if f"{layer}-style" in item["assets"]:
            return f"{TILES}/{unit}/{layer}.qml"
    return f"{TILES}/{next(iter(items))}/{layer}.qml"


def _write_index(store: Store, items: Mapping[str, Mapping[str, Any]]) -> None:
    from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

    rows = []
    for unit, item in items.items():
        assets = {key: asset | {"href": _relative(unit, asset["href"])} for key, asset in item["assets"].items()}
        links = [{"rel": "self", "href": f"./{TILES}/{unit}/{ITEM_NAME}", "type": "application/geo+json"}]
        rows.append({**item, "assets": assets, "links": links})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / INDEX_NAME
        to_parquet(parse_stac_items_to_arrow(rows), path)
        store.add_file(INDEX_NAME, path)


def _relative(unit: str, href: str) -> str:
    return f"./{TILES}/{unit}/{href.removeprefix('./')}"


def collection(settings: Settings, items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the STAC Collection of finished units.

    Args:
        settings: What they have in common.
        items: Their Items by unit.
    """
    boxes = [item["bbox"] for item in items.values()]
    times = sorted(time for item in items.values() for time in _times(item))
    licences = sorted(
        {str(item["properties"]["license"]) for item in items.values() if "license" in item["properties"]}
    )
    codes = sorted({item["properties"]["proj:code"] for item in items.values() if item["properties"].get("proj:code")})
    empty = sum(1 for item in items.values() if item["properties"].get(EMPTY))
    west_over_east = any(box[0] > box[2] for box in boxes)
    extent = [
        -180.0 if west_over_east else min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        180.0 if west_over_east else max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    ]
    links = [{"rel": "root", "href": f"./{COLLECTION_NAME}", "type": "application/json"}]
    links += [
        {"rel": "item", "href": f"./{TILES}/{unit}/{ITEM_NAME}", "type": "application/geo+json", "title": unit}
        for unit in sorted(items)
    ]
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": settings.collection_id,
        "title": f"Map by {settings.model}",
        "description": (
            f"{len(items)} products of the model {settings.model} on the grid {settings.grid}, composite "
            f"{settings.composite}, made by ecumene {__version__}; {empty} of them have no data."
        ),
        "license": licences[0] if len(licences) == 1 else "other",
        "extent": {
            "spatial": {"bbox": [extent]},
            "temporal": {"interval": [[times[0] if times else None, times[-1] if times else None]]},
        },
        "summaries": {"proj:code": codes, "ecumene:composite": [settings.composite]},
        "links": links,
        "assets": {
            "index": {
                "href": f"./{INDEX_NAME}",
                "type": "application/vnd.apache.parquet",
                "roles": ["collection-mirror"],
            }
        }
        if importlib.util.find_spec("stac_geoparquet") is not None
        else {},
        "ecumene:model": {"name": settings.model, "checksum": settings.model_checksum},
        "ecumene:settings": settings.model_dump(mode="json"),
    }


def _times(item: Mapping[str, Any]) -> list[str]:
    properties = item["properties"]
    if properties.get(EMPTY) and "start_datetime" not in properties:
        return []
    return [str(properties[key]) for key in ("datetime", "start_datetime", "end_datetime") if properties.get(key)]


def _validate(body: dict[str, Any]) -> None:
    import pystac
    from pystac.errors import STACValidationError
    from pystac.validation import JsonSchemaSTACValidator

    try:
        JsonSchemaSTACValidator().validate_core(body, pystac.STACObjectType.COLLECTION, "1.1.0")
    except STACValidationError as error:
        raise ProductError(f"The STAC Collection is not valid, so it was not written: {error}.") from error
