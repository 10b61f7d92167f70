"""Writes a product whose layers are computed tile by tile, so that memory does not depend on the size of the scenes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ProductError
from ecumene.core.files import write_text
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.checksums import InputRecord
from ecumene.mapping.cog import class_table, write_category_names, write_cog
from ecumene.mapping.item import band_objects, file_asset, layer_asset
from ecumene.mapping.plan import Plan, crs_text, plan_of_files
from ecumene.mapping.product import ITEM_NAME, Product, open_product
from ecumene.mapping.quicklook import write_quicklook
from ecumene.mapping.statistics import BandStatistics, band_statistics, merge_statistics
from ecumene.mapping.styles import paletted_style, ramp_style
from ecumene.mapping.tiles import TileStore, encode_tile
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.charts import CHARTS_PROPERTY, Chart
from ecumene.workflows.product_files import ExtraFile, extra_assets, write_product_item

TILE = 1024
"""Edge of a tile in pixels."""
_WORK = ".work"

Tile = Mapping[str, NDArray[Any]]
"""Physical values `[bands, h, w]` of every layer by name; `valid` is `[1, h, w]` of 0 and 1."""
Drawing = Callable[[Path, Mapping[str, tuple[Path, LayerSpec]]], None]
"""Draws a quick-look into a file from the layers' files and specifications."""


@dataclass(frozen=True)
class StreamedProduct:
    """What is to be written.

    Attributes:
        name: Short name of the method.
        title: One line for readers.
        lineage: How the layers were made, one or two sentences.
        geobox: Grid of all layers.
        layers: Specifications; the one with the role `value` comes first, the one named `valid` must be there.
        tile: Computes all layers of a window inside the grid; called once a tile, in reading order.
        inputs: Files that went in.
        start: First date of the data (RFC 3339), or None.
        end: Last date.
        parameters: Options of the method (JSON values), for provenance.
        legends: Classes of categorical layers by name.
        edge: Edge of a tile in pixels.
        results: Figures of the run (JSON values); filled in after the tiles by `summary`.
        everywhere: Layers that have values where `valid` is 0 too, as a state or an error bar may.
    """

    name: str
    title: str
    lineage: str
    geobox: GeoBox
    layers: tuple[LayerSpec, ...]
    tile: Callable[[Window], Tile]
    inputs: tuple[InputRecord, ...]
    start: str | None
    end: str | None
    parameters: Mapping[str, Any]
    legends: Mapping[str, Legend] = field(default_factory=dict)
    edge: int = TILE
    results: Mapping[str, Any] = field(default_factory=dict)
    everywhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Afterwards:
    """What is known and drawn once all tiles are there.

    Attributes:
        results: Figures of the run (JSON values).
        charts: Charts of the product's own.
        files: Further files, already written into the folder.
    """

    results: Mapping[str, Any] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    files: Mapping[str, ExtraFile] = field(default_factory=dict)


def write_streamed_product(
    out: Path,
    product: StreamedProduct,
    *,
    afterwards: Callable[[Mapping[str, tuple[Path, LayerSpec]]], Afterwards] | None = None,
    draw: Drawing | None = None,
    progress: Progress = silent,
) -> Product:
    """Write layers tile by tile, styles and quick-look, and at last the Item that makes them a product.

    Args:
        out: Folder; a product in it is replaced.
        product: What to write.
        afterwards: Called with the finished layers; gives results, charts and further files.
        draw: Draws the quick-look; None: value, uncertainty and outliers side by side.
        progress: Called with (tiles done, tiles, what).

    Raises:
        ProductError: If something cannot be written whole or is not valid.
    """
    if product.geobox.crs is None:
        raise ProductError("A product needs a coordinate system; declare the scene's with --crs.")
    (out / ITEM_NAME).unlink(missing_ok=True)  # from here on the folder holds no finished product
    plan = plan_of_files(
        product.geobox,
        crs_text(product.geobox.crs),
        product.layers,
        product.name,
        window=(product.edge, product.edge),
        inputs=product.inputs,
    )
    store = TileStore(out / _WORK, plan, product.layers)
    try:
        statistics = _store_tiles(product, plan, store, progress)
        assets: dict[str, dict[str, Any]] = {}
        for spec in product.layers:
            path = out / f"{spec.name}.tif"
            write_cog(path, plan, spec, store, product.legends.get(spec.name))
            assets[spec.name] = _asset(path, spec, product.legends.get(spec.name), statistics[spec.name], plan)
    finally:
        shutil.rmtree(out / _WORK, ignore_errors=True)
    files = {spec.name: (out / f"{spec.name}.tif", spec) for spec in product.layers}
    for spec in product.layers:
        assets |= _style(out, spec, product.legends.get(spec.name), assets[spec.name])
    found = afterwards(files) if afterwards is not None else Afterwards()
    picture = out / "quicklook.png"
    if draw is None:
        value = next((product.legends.get(spec.name) for spec in product.layers if spec.role == "value"), None)
        write_quicklook(picture, files, value, product.title)
    else:
        draw(picture, files)
    assets["quicklook"] = file_asset(picture, "image/png", ["overview"], "quick-look")
    assets |= extra_assets(out, found.files, assets)
    charts = [chart.model_dump(mode="json") for chart in found.charts]
    finished = replace(product, results={**product.results, **found.results})
    write_product_item(out, finished, plan, assets, {CHARTS_PROPERTY: charts} if charts else None)
    return open_product(out)


def _store_tiles(
    product: StreamedProduct, plan: Plan, store: TileStore, progress: Progress
) -> dict[str, tuple[BandStatistics, ...]]:
    """Compute and keep all tiles; return the statistics of all bands of all layers."""
    sums: dict[str, list[tuple[BandStatistics, ...]]] = {spec.name: [] for spec in product.layers}
    tiles = list(plan.tiles())
    for number, tile in enumerate(tiles):
        progress(number, len(tiles), "tiles")
        values = product.tile(tile.window)
        valid = np.asarray(values["valid"][0] > 0)
        files: dict[str, tuple[bytes, tuple[BandStatistics, ...]]] = {}
        for spec in product.layers:
            shape = (spec.count, tile.window.height, tile.window.width)
            if values[spec.name].shape != shape:
                raise ProductError(f"The layer {spec.name} has the shape {values[spec.name].shape}, not {shape}.")
            known = np.ones_like(valid) if spec.role == "valid" or spec.name in product.everywhere else valid
            stored = spec.encode(values[spec.name], known)
            numbers = tuple(band_statistics(band, known, spec) for band in stored)
            files[spec.name] = (encode_tile(stored, spec, plan, tile), numbers)
            sums[spec.name].append(numbers)
        store.finish(tile, files)
    progress(len(tiles), len(tiles), "tiles")
    return {name: tuple(merge_statistics(parts) for parts in zip(*found, strict=True)) for name, found in sums.items()}


def _asset(
    path: Path, spec: LayerSpec, legend: Legend | None, statistics: tuple[BandStatistics, ...], plan: Plan
) -> dict[str, Any]:
    """Return a layer's asset; classes are listed for any categorical layer with a legend."""
    shown = replace(spec, role="value") if legend is not None else spec
    bands = band_objects(shown, legend, statistics, plan.shape[0] * plan.shape[1])
    return layer_asset(path, spec, legend, bands)


def _style(out: Path, spec: LayerSpec, legend: Legend | None, asset: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Write names of classes and the QGIS style of a layer; return their assets."""
    result = {}
    table = class_table(replace(spec, role="value") if legend is not None else spec, legend)
    if table:
        names = out / f"{spec.name}.tif.aux.xml"
        write_category_names(names, table)
        result[f"{spec.name}-names"] = file_asset(names, "application/xml", ["metadata"], f"names of {spec.name}")
        text = paletted_style(table)
    elif not spec.categorical and spec.role != "valid":
        measured = asset["bands"][0]["statistics"]
        low, high = spec.limits or (measured.get("minimum", 0.0), measured.get("maximum", 1.0))
        text = ramp_style(low, high, spec.unit)
    else:
        return result
    style = out / f"{spec.name}.qml"
    write_text(style, text)
    described = file_asset(style, "application/xml", ["metadata", "style"], f"QGIS style of {spec.name}")
    return result | {f"{spec.name}-style": described}
