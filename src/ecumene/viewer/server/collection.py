"""Collections: many products shown as one map. DuckDB finds the tiles that a view touches; no database server.

Where every day was mapped by itself, each day is an entry of its own, so that a page can slide through time.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ProductError
from ecumene.core.optional import require
from ecumene.mapping.product import ITEM_NAME, Product, open_product
from ecumene.viewer.layer_kinds import describe_layer
from ecumene.viewer.layers import describe_product
from ecumene.viewer.pixel import read_pixel
from ecumene.viewer.rasters import header_of
from ecumene.viewer.server.library import identifier_for, product_file
from ecumene.viewer.server.memory import OPEN_PRODUCTS

if TYPE_CHECKING:
    from ecumene.viewer.server.tiles import Source
    from ecumene.viewer.vectors import Box

COLLECTION_NAME = "collection.json"
INDEX_NAME = "items.parquet"
TILES = "tiles"
EMPTY = "ecumene:empty"
FOOTPRINTS = "footprints"

MOST_SOURCES = 24
"""So many products may be read for one tile of the page; farther out only the footprints are shown."""

_UNIT = re.compile(r"\./tiles/([0-9A-Za-z_-]+)/item\.json")
_MOST_JSON = 256 << 20


class CollectionIndex:
    """The boxes of a collection's units in a table of DuckDB, in memory."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        duckdb = require("duckdb")
        self._table = duckdb.connect(":memory:", config={"threads": 1, "autoinstall_known_extensions": False})
        rows = _rows_of_parquet(self._table, folder) if (folder / INDEX_NAME).is_file() else _rows_of_items(folder)
        # From here on the data base can reach no file, whatever a query says.
        self._table.execute("SET enable_external_access = false")
        self._table.execute(
            "CREATE TABLE units (unit VARCHAR, day VARCHAR, west DOUBLE, south DOUBLE, east DOUBLE, north DOUBLE)"
        )
        if rows:
            self._table.executemany("INSERT INTO units VALUES (?, ?, ?, ?, ?, ?)", rows)

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; values go in as parameters."""
        with self._lock:
            return list(self._table.execute(query, list(values)).fetchall())

    def days(self) -> list[str]:
        """Return the days that were mapped by themselves, in order; `""` where all days make one map."""
        return [row[0] for row in self.ask("SELECT DISTINCT day FROM units ORDER BY day")]

    def units(self, day: str, box: Box | None, limit: int) -> list[str]:
        """Return names of units that touch a box in degrees, at most `limit`."""
        where, values = _touching(day, box)
        return [row[0] for row in self.ask(f"SELECT unit FROM units WHERE {where} ORDER BY unit LIMIT ?",  # noqa: S608
                                           [*values, limit])]  # fmt: skip

    def count(self, day: str, box: Box | None = None) -> int:
        """Return how many units touch a box."""
        where, values = _touching(day, box)
        return int(self.ask(f"SELECT count(*) FROM units WHERE {where}", values)[0][0])  # noqa: S608

    def boxes(self, day: str, box: Box | None, limit: int) -> list[tuple[Any, ...]]:
        """Return (unit, west, south, east, north) of units that touch a box."""
        where, values = _touching(day, box)
        query = f"SELECT unit, west, south, east, north FROM units WHERE {where} ORDER BY unit LIMIT ?"  # noqa: S608
        return self.ask(query, [*values, limit])

    def extent(self, day: str) -> tuple[float, float, float, float, float]:
        """Return west, south, east, north, and the largest side of a unit in degrees; the world over 180 degrees."""
        row = self.ask(
            "SELECT min(west), min(south), max(east), max(north), max(greatest(east - west, north - south)), "
            "max(CAST(west > east AS INTEGER)) FROM units WHERE day = ?",
            [day],
        )[0]
        west, east = (-180.0, 180.0) if row[5] else (row[0], row[2])
        return west, row[1], east, row[3], max(row[4], 1e-6)


def _touching(day: str, box: Box | None) -> tuple[str, list[Any]]:
    """Return the condition of a query; its text holds no value."""
    if box is None:
        return "day = ?", [day]
    west, south, east, north = box
    where = (
        "day = ? AND north >= ? AND south <= ? AND "
        "CASE WHEN west <= east THEN east >= ? AND west <= ? ELSE east >= ? OR west <= ? END"
    )
    return where, [day, south, north, west, east, west, east]


def _row(href: str, west: float, south: float, east: float, north: float) -> tuple[Any, ...]:
    found = _UNIT.fullmatch(href)
    if found is None or not all(math.isfinite(side) for side in (west, south, east, north)):
        raise ProductError(f"The collection's index points to {href[:80]!r}, which is no product of it; index it anew.")
    unit = found.group(1)
    return unit, unit.partition("_")[2], west, south, east, north


def _rows_of_parquet(table: Any, folder: Path) -> list[tuple[Any, ...]]:
    duckdb = require("duckdb")
    try:
        found = table.execute(
            "SELECT links[1].href, bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax FROM read_parquet(?)",
            [str((folder / INDEX_NAME).resolve())],
        ).fetchall()
    except duckdb.Error as error:
        raise ProductError(f"{folder / INDEX_NAME} cannot be read; run the same ecumene map again.") from error
    return [_row(str(href), *map(float, sides)) for href, *sides in found if None not in sides]


def _rows_of_items(folder: Path) -> list[tuple[Any, ...]]:
    """Return rows from the Items themselves, where the collection has no index."""
    rows = []
    for path in sorted((folder / TILES).glob(f"*/{ITEM_NAME}")):
        box = open_product(path.parent).item.get("bbox")
        if isinstance(box, list) and len(box) == 4:
            rows.append(_row(f"./{TILES}/{path.parent.name}/{ITEM_NAME}", *map(float, box)))
    return rows


def open_collection(folder: Path, taken: Mapping[str, Any]) -> dict[str, CollectionEntry]:
    """Return the entries of a collection, one a day.

    Args:
        folder: With `collection.json`.
        taken: Identifiers that are used already.

    Raises:
        ProductError: If it is damaged or holds no product with data.
    """
    path = folder / COLLECTION_NAME
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError("it is too large")
        body = json.loads(path.read_text(encoding="utf-8"))
        title, known = str(body.get("title") or folder.name), "ecumene:settings" in body
    except (OSError, ValueError, AttributeError) as error:
        raise ProductError(f"{path} is not the description of a collection.") from error
    if not known:
        raise ProductError(f"{path} is not a collection that ecumene made.")
    index = CollectionIndex(folder)
    store = _Store(folder, index)
    entries: dict[str, CollectionEntry] = {}
    for day in index.days():
        name = identifier_for(f"{folder.resolve().name}-{day}" if day else folder.resolve().name, {**taken, **entries})
        entry = CollectionEntry(store, name, day, f"{title}, {day}" if day else title)
        _ = entry.description
        entries[name] = entry
    if not entries:
        raise ProductError(f"The collection {folder} holds no finished product.")
    return entries


@dataclass
class _Store:
    """A collection's products, the last ones kept open."""

    folder: Path
    index: CollectionIndex
    _open: OrderedDict[str, Source] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def product(self, unit: str) -> Product:
        """Open the product of a unit.

        Raises:
            ProductError: If it leads out of the collection, or is damaged.
        """
        folder = self.folder / TILES / unit
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise ProductError(f"The tile {unit} leads out of its collection; it is not opened.")
        return open_product(folder)

    def source(self, unit: str) -> Source:
        """Return the product of a unit with its layers' descriptions."""
        from ecumene.viewer.server.tiles import Source

        with self._lock:
            if unit in self._open:
                self._open.move_to_end(unit)
                return self._open[unit]
        product = self.product(unit)
        layers = {
            name: describe_layer(product, layer, header_of(product.folder, layer.path), "")
            for name, layer in product.layers.items()
        }
        found = Source(product, layers)
        with self._lock:
            self._open[unit] = found
            while len(self._open) > OPEN_PRODUCTS:
                self._open.popitem(last=False)
        return found


@dataclass(frozen=True)
class CollectionEntry:
    """One day of a collection, or all of it, as one map.

    Attributes:
        store: Its products.
        identifier: Its name in addresses.
        day: `""` where days are not apart.
        title: For readers.
    """

    store: _Store
    identifier: str
    day: str
    title: str

    @cached_property
    def _model(self) -> Product:
        """The first product with data: its layers are those of all."""
        for unit in self.store.index.units(self.day, None, 10_000):
            product = self.store.source(unit).product
            if not product.properties.get(EMPTY):
                return product
        raise ProductError(f"The collection {self.store.folder} holds no product with data.")

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """As `layers.describe_product` gives it, with the collection's place."""
        west, south, east, north, side = self.store.index.extent(self.day)
        number = self.number()
        about = dict(describe_product(self._model, identifier=self.identifier))
        # A tile of the page is 360 / 2^z degrees wide: it may touch this many units of `side` degrees.
        across = max(1.0, math.sqrt(MOST_SOURCES) - 1.0)
        closest = math.ceil(math.log2(360.0 / (side * across)))
        least = 0 if number <= MOST_SOURCES else min(max(closest, 0), about["zoom"]["max"])
        warnings = [text for text in about["warnings"] if "overviews" in text]
        if least:
            warnings.append(f"The map has {number} tiles; farther out than zoom {least} only their outlines are shown.")
        if about["relief"] is not None:  # the lowest of one tile need not be that of all
            about["relief"] = about["relief"] | {"lowest": min(about["relief"]["lowest"], 0.0)}
        legend = about["legend"]
        if legend is not None:
            legend = legend | {"classes": [entry | {"pixels": None, "share": None} for entry in legend["classes"]]}
        about |= {
            "title": self.title,
            "name": self.store.folder.resolve().name,
            "kind": "collection",
            "tiles_number": number,
            "transform": None,
            "shape": None,
            "bounds": [west, south, east, north],
            "zoom": {"min": least, "max": about["zoom"]["max"]},
            "legend": legend,
            "vectors": [self._footprints_description(number)],
            "warnings": warnings,
            "results": {},
        }
        return about

    def _footprints_description(self, number: int) -> dict[str, Any]:
        return {
            "name": FOOTPRINTS,
            "title": "tiles of the collection",
            "geometry": "polygon",
            "number": number,
            "columns": [{"name": "tile", "kind": "text", "minimum": None, "maximum": None}],
            "colour_by": None,
            "limits": None,
            "colormap": None,
            "height": None,
            "url": f"api/products/{self.identifier}/vectors/{FOOTPRINTS}",
        }

    def number(self) -> int:
        """Return how many products there are."""
        return self.store.index.count(self.day)

    def boxes(self) -> list[tuple[str, Box]]:
        """Return every product's name and box in degrees; west is larger than east across the antimeridian."""
        rows = self.store.index.boxes(self.day, None, self.number())
        return [(unit, (west, south, east, north)) for unit, west, south, east, north in rows]

    @cached_property
    def _linked(self) -> dict[str, Mapping[str, Any]]:
        return {layer["name"]: layer for layer in self.description["layers"]}

    def sources(self, layer: str, box: Box) -> Sequence[Source]:
        """Return the products of a box; none where there are too many.

        Raises:
            ProductError: If there is no such layer, or a product is damaged.
        """
        from ecumene.viewer.server.tiles import Source

        self._model.path(layer)
        units = self.store.index.units(self.day, box, MOST_SOURCES + 1)
        if len(units) > MOST_SOURCES:
            return []
        found = [self.store.source(unit) for unit in units]
        # Ramps and error bars are those of the whole collection, so that tiles do not differ in colour.
        return [Source(source.product, self._linked) for source in found if set(self._linked) <= set(source.layers)]

    def pixel(self, **place: Any) -> dict[str, Any]:
        """Return what `pixel.read_pixel` says at a place of the first product that has it.

        Raises:
            ProductError: If a product is damaged, or the place is not named by longitude and latitude.
        """
        lon, lat = place.get("lon"), place.get("lat")
        if lon is None or lat is None:
            raise ProductError("A collection has no columns and rows; ask by lon and lat.")
        answer: dict[str, Any] | None = None
        for unit in self.store.index.units(self.day, (lon, lat, lon, lat), MOST_SOURCES):
            source = self.store.source(unit)
            found = read_pixel(source.product, self._description_of(source), lon=lon, lat=lat)
            if found["inside"] and found["valid"]:
                return found
            answer = found if found["inside"] else answer
        return answer or read_pixel(self._model, self.description, lon=lon, lat=lat)

    def _description_of(self, source: Source) -> dict[str, Any]:
        own = describe_product(source.product, identifier=self.identifier)
        return own | {"card": self.description["card"]}

    def charts(self) -> list[dict[str, Any]]:
        """Return no charts: figures belong to single products."""
        return []

    def features(self, name: str, box: Box | None, limit: int) -> dict[str, Any]:
        """Return the outlines of the collection's products.

        Raises:
            ProductError: If another layer is asked for.
        """
        if name != FOOTPRINTS:
            raise ProductError(f"The collection has no vector layer {name[:80]!r}.")
        rows = self.store.index.boxes(self.day, box, limit + 1)
        features = [
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]],
                },
                "properties": {"tile": unit},
            }
            for unit, w, s, e, n in rows[:limit]
            if w <= e
        ]
        return {
            "type": "FeatureCollection",
            "features": features,
            "total": self.number(),
            "returned": len(features),
            "truncated": len(rows) > limit,
        }

    def file(self, what: str) -> Path | None:
        """Return the model card of the first product; a collection has no quick-look."""
        return product_file(self._model, what) if what == "card" else None
