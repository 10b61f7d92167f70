"""Files of a static site that products and collections have in common."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecumene.mapping.product import ITEM_NAME, Product
from ecumene.viewer.rasters import checked_path


def copy_product(product: Product, target: Path) -> None:
    """Copy a product's Item and assets into a folder, so that the copy is a product.

    Raises:
        ProductError: If a file is gone or leads out of the product.
        OSError: If it cannot be written.
    """
    for href in sorted({ITEM_NAME, *(str(asset["href"]) for asset in product.item["assets"].values())}):
        copied = target / href
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checked_path(product.folder, product.folder / href), copied)


def write_json(path: Path, value: Any) -> None:
    """Write JSON as short as it can be, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def without_server(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description whose rasters are read from files instead of being asked for."""
    found = dict(description)
    found["layers"] = [dict(layer) | {"tiles": ""} for layer in found["layers"]]
    if found["relief"] is not None:
        found["relief"] = dict(found["relief"]) | {"url": ""}
    return found
