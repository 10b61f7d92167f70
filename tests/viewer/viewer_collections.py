"""Small collections of products side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affine import Affine
from viewer_products import LEGEND, class_layers, write_product

SIDE = 64


def make_collection(folder, columns, rows, days=("",), index=True):
    """Write a collection of products side by side; the class of a tile is its number modulo three."""
    for day in days:
        for k in range(columns * rows):
            unit = f"x{k % columns:02d}y{k // columns:02d}" + (f"_{day}" if day else "")
            layers, _ = class_layers((SIDE, SIDE))
            number = (k + days.index(day)) % 3
            layers = [layers[0], layers[3]]
            layers[0] = (layers[0][0], np.full((1, SIDE, SIDE), LEGEND.values[number]))
            layers[1] = (layers[1][0], np.ones((1, SIDE, SIDE), np.uint8))
            transform = Affine(10, 0, 500_000 + 640 * (k % columns), 0, -10, 5_000_000 - 640 * (k // columns))
            write_product(folder / "tiles" / unit, layers, legend=LEGEND, transform=transform)
    body = {"type": "Collection", "title": "Map of a land", "ecumene:settings": {}, "links": []}
    (folder / "collection.json").write_text(json.dumps(body))
    if index:
        write_index(folder)
    return folder


def write_index(folder):
    stac = pytest.importorskip("stac_geoparquet.arrow", reason="needs the extra index")
    rows = []
    for path in sorted(folder.glob("tiles/*/item.json")):
        item = json.loads(path.read_text())
        href = f"./tiles/{path.parent.name}/item.json"
        rows.append(item | {"links": [{"rel": "self", "href": href, "type": "application/geo+json"}]})
    stac.to_parquet(stac.parse_stac_items_to_arrow(rows), folder / "items.parquet")
