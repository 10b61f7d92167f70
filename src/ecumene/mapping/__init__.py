"""Models onto scenes of any size, and the products that come out of it.

The public names are imported on first use: `map_stack`, `MapOptions`, `Product`, `open_product`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecumene.mapping.engine import map_stack
    from ecumene.mapping.options import MapOptions
    from ecumene.mapping.product import Product, open_product

_PUBLIC = {
    "MapOptions": "ecumene.mapping.options",
    "Product": "ecumene.mapping.product",
    "map_stack": "ecumene.mapping.engine",
    "open_product": "ecumene.mapping.product",
}

__all__ = ["MapOptions", "Product", "map_stack", "open_product"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ecumene.mapping' has no attribute {name!r}")
