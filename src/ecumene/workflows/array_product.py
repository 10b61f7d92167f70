"""Writes arrays as a product like every other: COGs, styles, quick-look and a STAC Item, by mapping's writers."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene import __version__
from ecumene.core.errors import ProductError
from ecumene.core.files import ensure_writable_folder, multihash_of, write_json, write_text
from ecumene.mapping.checksums import InputFile, InputRecord
from ecumene.mapping.cog import class_table, write_category_names, write_cog
from ecumene.mapping.item import band_objects, file_asset, footprint, layer_asset, slug
from ecumene.mapping.plan import Plan, crs_text, plan_of_files
from ecumene.mapping.product import ITEM_NAME, PRODUCT_VERSION, Product, open_product
from ecumene.mapping.quicklook import write_quicklook
from ecumene.mapping.stac_models import EXTENSIONS, validate_item
from ecumene.mapping.statistics import BandStatistics, band_statistics
from ecumene.mapping.styles import paletted_style, ramp_style
from ecumene.mapping.tiles import TileStore, encode_tile
from ecumene.objectives.prediction import LayerSpec

_WORK = ".work"
_SHOWN_PERCENTILES = (1.0, 99.0)


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


@dataclass(frozen=True)
class ArrayProduct:
    """What is to be written.

    Attributes:
        name: Short name of the method.
        title: One line for readers.
        lineage: How the layers were made, one or two sentences.
        geobox: Grid of all layers.
        layers: Specification and physical values `[bands, H, W]` of each layer; the last one is `valid`.
        valid: Mapped pixels, `[H, W]`.
        inputs: Files that went in.
        start: First date of the data (RFC 3339), or None.
        end: Last date.
        parameters: Options of the method (JSON values), for provenance.
        results: Figures of the run (JSON values).
        files: Further files of the product by the key of their asset, listed in the Item with their checksums.
    """

    name: str
    title: str
    lineage: str
    geobox: GeoBox
    layers: Sequence[tuple[LayerSpec, NDArray[Any]]]
    valid: NDArray[np.bool_]
    inputs: tuple[InputRecord, ...]
    start: str | None
    end: str | None
    parameters: Mapping[str, Any]
    results: Mapping[str, Any]
    files: Mapping[str, ExtraFile] = field(default_factory=dict)


def input_record(identifier: str, sensor: str, files: Sequence[Path]) -> InputRecord:
    """Record files by name and checksum, never by path."""
    listed = tuple(InputFile(name=path.name, checksum=multihash_of(path)) for path in files)
    return InputRecord(id=identifier, sensor=sensor, level="", time=None, licence=None, files=listed)


def check_free(out: Path, overwrite: bool) -> Path:
    """Return the writable folder, or refuse one that holds a product already.

    Raises:
        ProductError: If it does and may not be replaced.
    """
    folder = ensure_writable_folder(out)
    if (folder / ITEM_NAME).exists() and not overwrite:
        raise ProductError(f"{out} already holds a product; use --overwrite to replace it, or another --out.")
    return folder


def write_array_product(out: Path, product: ArrayProduct) -> Product:
    """Write layers, styles and quick-look, and at last the Item that makes them a product.

    Args:
        out: Folder; a product in it is replaced.
        product: What to write.

    Raises:
        ProductError: If something cannot be written whole or is not valid.
    """
    (out / ITEM_NAME).unlink(missing_ok=True)  # from here on the folder holds no finished product
    plan = _plan(product)
    specs = tuple(spec for spec, _ in product.layers)
    store = TileStore(out / _WORK, plan, specs)
    try:
        statistics = _store_tile(product, plan, store)
        assets: dict[str, dict[str, Any]] = {}
        for spec in specs:
            path = out / f"{spec.name}.tif"
            write_cog(path, plan, spec, store, None)
            bands = band_objects(spec, None, statistics[spec.name], plan.shape[0] * plan.shape[1])
            assets[spec.name] = layer_asset(path, spec, None, bands)
    finally:
        shutil.rmtree(out / _WORK, ignore_errors=True)
    specs = tuple(_for_display(spec, values, product.valid) for spec, values in product.layers)
    for spec in specs:
        assets |= _style(out, spec, assets[spec.name])
    picture = out / "quicklook.png"
    write_quicklook(picture, {spec.name: (out / f"{spec.name}.tif", spec) for spec in specs}, None, product.title)
    assets["quicklook"] = file_asset(picture, "image/png", ["overview"], "quick-look")
    assets |= extra_assets(out, product.files, assets)
    write_product_item(out, product, plan, assets)
    return open_product(out)


def _plan(product: ArrayProduct) -> Plan:
    crs = product.geobox.crs
    if crs is None:
        raise ProductError("A product needs a coordinate system; declare the scene's with --crs.")
    specs = [spec for spec, _ in product.layers]
    return plan_of_files(product.geobox, crs_text(crs), specs, product.name, inputs=product.inputs)


def _store_tile(product: ArrayProduct, plan: Plan, store: TileStore) -> dict[str, tuple[BandStatistics, ...]]:
    tile = next(plan.tiles())
    files: dict[str, tuple[bytes, tuple[BandStatistics, ...]]] = {}
    for spec, values in product.layers:
        if values.shape != (spec.count, *plan.shape):
            raise ProductError(f"The layer {spec.name} has the shape {values.shape}, not {(spec.count, *plan.shape)}.")
        known = np.ones(plan.shape, bool) if spec.role == "valid" else product.valid
        stored = spec.encode(values, known)
        numbers = tuple(band_statistics(band, known, spec) for band in stored)
        files[spec.name] = (encode_tile(stored, spec, plan, tile), numbers)
    store.finish(tile, files)
    return {name: numbers for name, (_, numbers) in files.items()}


def _for_display(spec: LayerSpec, values: NDArray[Any], valid: NDArray[np.bool_]) -> LayerSpec:
    """Show the middle 98 % of a layer: a few bright pixels would leave the rest of it dark."""
    if spec.limits is not None or spec.categorical or spec.role not in {"value", "uncertainty"}:
        return spec
    shown = values[0][valid & np.isfinite(values[0])]
    if shown.size == 0:
        return spec
    low, high = (float(edge) for edge in np.percentile(shown, _SHOWN_PERCENTILES))
    return replace(spec, limits=(low, high)) if low < high else spec


def _style(out: Path, spec: LayerSpec, asset: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    result = {}
    table = class_table(spec, None)
    if table:
        names = out / f"{spec.name}.tif.aux.xml"
        write_category_names(names, table)
        result[f"{spec.name}-names"] = file_asset(names, "application/xml", ["metadata"], f"names of {spec.name}")
        text = paletted_style(table)
    elif spec.role in {"value", "uncertainty"}:
        measured = asset["bands"][0]["statistics"]
        low, high = spec.limits or (measured.get("minimum", 0.0), measured.get("maximum", 1.0))
        text = ramp_style(low, high, spec.unit)
    else:
        return result
    style = out / f"{spec.name}.qml"
    write_text(style, text)
    described = file_asset(style, "application/xml", ["metadata", "style"], f"QGIS style of {spec.name}")
    return result | {f"{spec.name}-style": described}


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
    """What an Item says of any product that no model made; `ArrayProduct` explains the parts."""

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
