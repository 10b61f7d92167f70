"""The product of a tile without a single pixel of data: an Item and a layer that says so.

Continents have many such tiles (sea, night, no acquisition), so they must cost next to nothing: the layer is a sparse
file without blocks, which reads as 0 everywhere, and no model is executed for it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from ecumene import __version__
from ecumene.catalogue.plan import Settings, Unit
from ecumene.core.files import atomic_path, write_json
from ecumene.mapping.blocks import block_layout
from ecumene.mapping.item import COG_TYPE, file_asset, footprint_of
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import ITEM_NAME, PRODUCT_VERSION
from ecumene.mapping.stac_models import EXTENSIONS, ItemFields

EMPTY = "ecumene:empty"
"""Property of the Item of a tile that has no data."""


def write_empty_product(
    folder: Path,
    unit: Unit,
    settings: Settings,
    properties: Mapping[str, Any],
    fields: Mapping[str, Any],
    blocksize: int = 512,
) -> dict[str, Any]:
    """Write the product of a tile without data; the Item comes last.

    Args:
        folder: An empty folder.
        unit: The tile.
        settings: What the collection's tiles have in common.
        properties: What the Item says besides.
        fields: Further fields of the Item, such as its links.
        blocksize: Block size of the layer.

    Returns:
        The Item.

    Raises:
        ProductError: If it cannot be written.
    """
    geobox = unit.tile.geobox
    shape = (int(geobox.shape[0]), int(geobox.shape[1]))
    valid = folder / f"{VALID.name}.tif"
    with atomic_path(valid) as path:
        path.write_bytes(_sparse_layer(geobox, shape, block_layout(shape, blocksize)[0]))
    asset = file_asset(valid, COG_TYPE, ["metadata", VALID.role], VALID.name, VALID.description)
    statistics = {"valid_percent": 100.0, "minimum": 0.0, "maximum": 0.0}
    bands = [{"name": VALID.name, "data_type": VALID.dtype, "raster:sampling": "area", "statistics": statistics}]
    item = _item(unit, settings, asset | {"bands": bands, "ecumene:role": VALID.role, "ecumene:categorical": True})
    item["properties"] |= properties
    item |= fields
    ItemFields.model_validate(item)
    write_json(folder / ITEM_NAME, item)
    return item


def _sparse_layer(geobox: GeoBox, shape: tuple[int, int], block: int) -> bytes:
    from rasterio.io import MemoryFile

    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": VALID.dtype,
        "count": 1,
        "height": shape[0],
        "width": shape[1],
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "compress": "zstd",
        "SPARSE_OK": "TRUE",
    }
    with MemoryFile() as memory:
        with memory.open(**profile):
            pass
        return bytes(memory.getbuffer())


def _item(unit: Unit, settings: Settings, asset: dict[str, Any]) -> dict[str, Any]:
    geobox = unit.tile.geobox
    height, width = (int(size) for size in geobox.shape)
    affine, bounds = geobox.affine, geobox.boundingbox
    transform = (affine.a, affine.b, affine.c, affine.d, affine.e, affine.f)
    geometry, bbox = footprint_of(str(geobox.crs), transform, (height, width))
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    properties: dict[str, Any] = {
        "datetime": now,
        "title": f"No data for {settings.model}",
        "created": now,
        "proj:code": str(geobox.crs),
        "proj:shape": [height, width],
        "proj:transform": list(transform),
        "proj:bbox": [bounds.left, bounds.bottom, bounds.right, bounds.top],
        "processing:lineage": f"Examined by ecumene {__version__}: none of {len(unit.sources)} scene(s) has data here.",
        "processing:software": {"ecumene": __version__},
        "processing:datetime": now,
        "ecumene:product_version": PRODUCT_VERSION,
        "ecumene:model": {"name": settings.model, "checksum": settings.model_checksum},
        EMPTY: True,
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": unit.id,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "links": [],
        "assets": {VALID.name: asset},
    }
