"""A collection in a static site: its products, and an index from which a browser learns which of them a view touches.

Nothing that a browser loads grows with the collection, except for a list of the index's parts, one line for
`PART_UNITS` products. Products of a part lie close together, because parts are cut from a curve that fills the plane.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ecumene.core.errors import ProductError
from ecumene.viewer.layers import describe_product
from ecumene.viewer.server.collection import FOOTPRINTS, MOST_SOURCES, CollectionEntry
from ecumene.viewer.site_files import copy_product, without_server, write_json
from ecumene.viewer.vectors import Box

PART_UNITS = 256
"""Products of one part of the index."""

_CURVE_BITS = 16
_PLACE = ("georeferenced", "bounds", "transform", "shape", "proj4", "pixel_grid")


def write_collection(fresh: Path, entry: CollectionEntry, told: Callable[[str], None]) -> dict[str, Any]:
    """Copy the products of a collection, write their index, and return the collection's description for the page.

    Args:
        fresh: Folder of the site.
        entry: One day of a collection, or all of it.
        told: Called with the name of every product before it is copied.

    Raises:
        ProductError: If a product cannot be read.
        OSError: If the site cannot be written.
    """
    data = fresh / "data" / entry.identifier
    data.mkdir(parents=True)
    number, lacking, parts = 0, 0, list[dict[str, Any]]()
    for part in _parts(sorted(entry.boxes(), key=lambda unit: _on_curve(unit[1]))):
        units = []
        for name, box in part:
            told(name)
            record = _write_unit(fresh, entry, name, box)
            units += [record] if record is not None else []
            lacking += record is None
        if units:
            file = f"part-{len(parts):05d}.json"
            write_json(data / file, {"units": units})
            parts.append({"file": file, "number": len(units), "box": _around([unit["box"] for unit in units])})
            number += len(units)
    if not number:
        raise ProductError(f"The collection {entry.store.folder} holds no product with the layers of its first one.")
    write_json(data / "index.json", {"most_sources": MOST_SOURCES, "number": number, "parts": parts})
    write_json(data / "charts.json", {"charts": entry.charts()})
    card = entry.file("card")
    if card is not None:
        shutil.copyfile(card, data / "card.txt")  # as text, which browsers show
    about = without_server(entry.description) | {"quicklook": None, "tiles_number": number}
    about["card"] = f"data/{entry.identifier}/card.txt" if card is not None else None
    if lacking:
        left = f"{lacking} of {lacking + number} products of {entry.title} lack a layer of the first one"
        about["warnings"] = [*about["warnings"], f"{left}, and are not in the site; map them again."]
    about["vectors"] = [dict(vector) | {"url": ""} for vector in about["vectors"] if vector["name"] == FOOTPRINTS]
    return about


def _write_unit(fresh: Path, entry: CollectionEntry, name: str, box: Box) -> dict[str, Any] | None:
    """Copy one product and return what the index says of it; None where it lacks a layer of the collection."""
    product = entry.store.product(name)
    common = {layer["name"]: layer["file"] for layer in entry.description["layers"]}
    if not common.keys() <= product.layers.keys():
        return None
    copy_product(product, fresh / "products" / entry.identifier / name)
    about = without_server(describe_product(product, identifier=entry.identifier))
    about |= {"vectors": [], "quicklook": None, "card": None}
    write_json(fresh / "data" / entry.identifier / "units" / f"{name}.json", about)
    record = {"name": name, "box": list(box)} | {key: about[key] for key in _PLACE}
    own = {layer["name"]: str(layer["file"]) for layer in about["layers"] if layer["name"] in common}
    return record | ({} if own == common else {"files": own})


def _parts(units: Sequence[tuple[str, Box]]) -> Iterator[list[tuple[str, Box]]]:
    left = iter(units)
    while part := list(islice(left, PART_UNITS)):
        yield part


def _on_curve(box: Box) -> int:
    """Return the place of a box's centre on Morton's curve."""
    west, south, east, north = box
    across = ((west + east) / 2 if west <= east else west) / 360 + 0.5
    up = (south + north) / 2 / 180 + 0.5
    most = (1 << _CURVE_BITS) - 1
    column, row = (int(min(max(share, 0.0), 1.0) * most) for share in (across, up))
    return sum(((column >> bit & 1) << 2 * bit) | ((row >> bit & 1) << 2 * bit + 1) for bit in range(_CURVE_BITS))


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return a box around others; all longitudes where one crosses the antimeridian."""
    crossing = any(box[0] > box[2] for box in boxes)
    west = -180.0 if crossing else min(box[0] for box in boxes)
    east = 180.0 if crossing else max(box[2] for box in boxes)
    return [west, min(box[1] for box in boxes), east, max(box[3] for box in boxes)]
