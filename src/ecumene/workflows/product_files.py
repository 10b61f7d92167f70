"""What every product that no model makes has beside its layers: further files, provenance, the STAC Item."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from odc.geo.geobox import GeoBox

from ecumene import __version__
from ecumene.core.errors import ProductError
from ecumene.core.files import ensure_writable_folder, multihash_of, write_json
from ecumene.mapping.checksums import InputFile, InputRecord
from ecumene.mapping.item import file_asset, footprint, slug
from ecumene.mapping.plan import Plan
from ecumene.mapping.product import ITEM_NAME, PRODUCT_VERSION
from ecumene.mapping.stac_models import EXTENSIONS, validate_item


@dataclass(frozen=True)
class ExtraFile:
    """A file beside the layers, already written into the product's folder.

    Attributes:
        path: The file; its name must differ from those of the layers.
        media: Media type.
        title: One line for readers.
        description: What is in it.
        roles: STAC roles of the asset.
    """

    path: Path
    media: str
    title: str
    description: str = ""
    roles: tuple[str, ...] = ("data",)


def input_record(identifier: str, sensor: str, files: Sequence[Path]) -> InputRecord:
    """Record files by name and checksum, never by path."""
    listed = tuple(InputFile(name=path.name, checksum=multihash_of(path)) for path in files)
    return InputRecord(id=identifier, sensor=sensor, level="", time=None, licence=None, files=listed)


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a product already, before anything is made.

    Raises:
        ProductError: If it does and may not be replaced.
    """
    if (out / ITEM_NAME).exists() and not overwrite:
        raise ProductError(f"{out} already holds a product; use --overwrite to replace it, or another --out.")


def check_free(out: Path, overwrite: bool) -> Path:
    """Return the writable folder, or refuse one that holds a product already.

    Raises:
        ProductError: If it does and may not be replaced.
    """
    folder = ensure_writable_folder(out)
    refuse_existing(folder, overwrite)
    return folder


def extra_assets(
    out: Path, files: Mapping[str, ExtraFile], taken: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the assets of further files in a product's folder.

    Raises:
        ProductError: If one is not there, lies elsewhere, or its key is taken.
    """
    result = {}
    for key, file in files.items():
        if key in taken or file.path.resolve().parent != out.resolve() or not file.path.is_file():
            raise ProductError(f"The file {file.path.name} ({key}) cannot be part of the product in {out}.")
        result[key] = file_asset(file.path, file.media, list(file.roles), file.title, file.description)
    return result


class Described(Protocol):
    """What an Item says of any product that no model made; `StreamedProduct` explains the parts."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def lineage(self) -> str: ...  # noqa: D102
    @property
    def geobox(self) -> GeoBox: ...  # noqa: D102
    @property
    def inputs(self) -> tuple[InputRecord, ...]: ...  # noqa: D102
    @property
    def start(self) -> str | None: ...  # noqa: D102
    @property
    def end(self) -> str | None: ...  # noqa: D102
    @property
    def parameters(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def results(self) -> Mapping[str, Any]: ...  # noqa: D102


def _properties(product: Described, plan: Plan) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bounds = product.geobox.extent.boundingbox
    epsg = plan.crs if plan.crs.startswith("EPSG:") else None
    result: dict[str, Any] = {"datetime": now, "ecumene:datetime_is": "processing, because no file states its time"}
    if product.start is not None and product.end is not None:
        result = {"datetime": None, "start_datetime": product.start, "end_datetime": product.end}
    result |= {
        "title": product.title,
        "created": now,
        "proj:code": epsg,
        "proj:shape": list(plan.shape),
        "proj:transform": list(plan.transform),
        "proj:bbox": [bounds.left, bounds.bottom, bounds.right, bounds.top],
        "processing:lineage": product.lineage,
        "processing:software": {"ecumene": __version__},
        "processing:datetime": now,
        "ecumene:product_version": PRODUCT_VERSION,
        "ecumene:method": {"name": product.name, "parameters": dict(product.parameters)},
        "ecumene:results": dict(product.results),
    }
    if epsg is None:
        result["proj:wkt2"] = plan.crs
    return result


def write_product_item(
    out: Path,
    product: Described,
    plan: Plan,
    assets: dict[str, dict[str, Any]],
    further: Mapping[str, Any] | None = None,
) -> None:
    """Write the Item, validated; the last file of a product.

    Args:
        out: The product's folder.
        product: What it is.
        plan: Of its files.
        assets: Of its files, by key.
        further: More properties, such as charts.

    Raises:
        ProductError: If the Item is not valid.
    """
    from pydantic import ValidationError
    from pystac.errors import STACValidationError

    geometry, bbox = footprint(plan)
    links = [
        {"rel": "derived_from", "href": file.name, "title": record.id, "file:checksum": file.checksum}
        for record in product.inputs
        for file in record.files
    ]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": slug(f"{product.name}-{(product.end or '')[:10]}"),
        "geometry": geometry,
        "bbox": bbox,
        "properties": _properties(product, plan) | dict(further or {}),
        "links": links,
        "assets": assets,
    }
    try:
        validate_item(item)
    except (STACValidationError, ValidationError) as error:
        raise ProductError(f"The product's STAC Item is not valid, so it was not written: {error}.") from error
    write_json(out / ITEM_NAME, item)
