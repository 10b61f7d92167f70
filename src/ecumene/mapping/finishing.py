"""From finished tiles to a finished product; the Item comes last and makes it one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ProductError
from ecumene.core.files import write_text
from ecumene.core.progress import Progress
from ecumene.core.threads import available_threads
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.card import CARD_NAME, write_card
from ecumene.mapping.cog import class_table, write_category_names, write_cog
from ecumene.mapping.contract import MapModel
from ecumene.mapping.damage import merged
from ecumene.mapping.item import Statistics, band_objects, file_asset, layer_asset, write_item
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import Plan
from ecumene.mapping.product import ITEM_NAME
from ecumene.mapping.statistics import merge_statistics
from ecumene.mapping.styles import paletted_style, ramp_style
from ecumene.mapping.tiles import TileStore
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import Stack

QUICKLOOK_NAME = "quicklook.png"
POLYGONS_NAME = "polygons.parquet"
PRODUCT_FILES = (ITEM_NAME, "*.tif", "*.tif.aux.xml", "*.qml", QUICKLOOK_NAME, POLYGONS_NAME, CARD_NAME)
"""Name patterns of what a product consists of."""


def gather_statistics(store: TileStore) -> Statistics:
    """Merge the tiles' statistics, in the plan's order."""
    parts: dict[str, list[list[Any]]] = {spec.name: [[] for _ in range(spec.count)] for spec in store.specs}
    for _, record in store.records():
        for name, layer in record.layers.items():
            for band, numbers in enumerate(layer.statistics):
                parts[name][band].append(numbers)
    return {name: tuple(merge_statistics(band) for band in bands) for name, bands in parts.items()}


def damaged_windows(store: TileStore, plan: Plan) -> tuple[Window, ...]:
    """Return the parts of the product's grid whose input could not be decoded.

    Args:
        store: Tiles with their records.
        plan: The plan as the product sees it.
    """
    placed = {(tile.row, tile.col): tile.window for tile in plan.tiles()}
    cells = [
        Window(*cell).shift(placed[tile.row, tile.col].row, placed[tile.row, tile.col].col)
        for tile, record in store.records()
        if (tile.row, tile.col) in placed
        for cell in record.damaged
    ]
    return merged(cells, plan.shape)


def write_layers(
    paths: dict[str, Path],
    plan: Plan,
    specs: tuple[LayerSpec, ...],
    store: TileStore,
    legend: Legend | None,
    progress: Progress,
) -> None:
    """Write the layers that are not there yet, side by side: much of making a GeoTIFF runs in one thread only.

    Raises:
        ProductError: The first failure; layers that are whole stay.
    """
    missing = [spec for spec in specs if not paths[spec.name].exists()]
    done = len(specs) - len(missing)
    progress(done, len(specs), "layers")
    # The largest first, so that the last one does not keep a single thread busy.
    missing.sort(key=lambda spec: -spec.count * np.dtype(spec.dtype).itemsize)
    with ThreadPoolExecutor(max_workers=max(1, min(available_threads(), len(missing)))) as pool:
        running = [pool.submit(write_cog, paths[spec.name], plan, spec, store, legend) for spec in missing]
        try:
            for finished in as_completed(running):
                finished.result()
                done += 1
                progress(done, len(specs), "layers")
        except BaseException:
            for waiting in running:
                waiting.cancel()
            raise


def finish_product(
    out: Path,
    plan: Plan,
    specs: tuple[LayerSpec, ...],
    store: TileStore,
    model: MapModel,
    stack: Stack,
    options: MapOptions,
    progress: Progress,
) -> None:
    """Assemble layers, styles, pictures, polygons, and at last the Item.

    Layers that a killed run has finished are kept: they were whole and valid when they got their names.

    Raises:
        ProductError: If something cannot be written whole or is not valid.
    """
    legend = model.objective.legend
    statistics = gather_statistics(store)
    paths = {spec.name: out / f"{spec.name}.tif" for spec in specs}
    write_layers(paths, plan, specs, store, legend, progress)
    assets: dict[str, dict[str, Any]] = {}
    pixels = plan.shape[0] * plan.shape[1]
    for spec in specs:
        bands = band_objects(spec, legend, statistics[spec.name], pixels)
        assets[spec.name] = layer_asset(paths[spec.name], spec, legend, bands)
    assets |= write_styles(out, specs, legend, assets)
    layers = {spec.name: (paths[spec.name], spec) for spec in specs}
    if options.quicklook:
        assets |= _quicklook(out, layers, legend, plan)
    if plan.polygons and legend is not None:
        assets |= _polygons(out, layers, legend, plan)
    card = write_card(out, model)
    assets["model-card"] = file_asset(card, "text/markdown", ["metadata"], "model card")
    write_item(out, plan, model, stack, assets, card, damaged_windows(store, plan))


def write_styles(
    out: Path, specs: tuple[LayerSpec, ...], legend: Legend | None, assets: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Write QGIS styles and class names beside the rasters."""
    result = {}
    for spec in specs:
        table = class_table(spec, legend)
        if table:
            write_text(out / f"{spec.name}.qml", paletted_style(table))
            names = out / f"{spec.name}.tif.aux.xml"
            write_category_names(names, table)
            result[f"{spec.name}-names"] = file_asset(names, "application/xml", ["metadata"], f"names of {spec.name}")
        elif spec.role in {"value", "uncertainty"} and not spec.categorical:
            measured = assets[spec.name]["bands"][0]["statistics"]
            low, high = spec.limits or (measured.get("minimum", 0.0), measured.get("maximum", 1.0))
            write_text(out / f"{spec.name}.qml", ramp_style(low, high, spec.unit))
        else:
            continue
        style = file_asset(
            out / f"{spec.name}.qml", "application/xml", ["metadata", "style"], f"QGIS style of {spec.name}"
        )
        result[f"{spec.name}-style"] = style
    return result


def _quicklook(
    out: Path, layers: dict[str, tuple[Path, LayerSpec]], legend: Legend | None, plan: Plan
) -> dict[str, dict[str, Any]]:
    from ecumene.mapping.quicklook import write_quicklook

    path = out / QUICKLOOK_NAME
    write_quicklook(path, layers, legend, plan.model)
    return {"quicklook": file_asset(path, "image/png", ["overview"], "quick-look")}


def _polygons(
    out: Path, layers: dict[str, tuple[Path, LayerSpec]], legend: Legend, plan: Plan
) -> dict[str, dict[str, Any]]:
    from affine import Affine

    from ecumene.mapping.polygons import write_polygons

    value = next((path for path, spec in layers.values() if spec.role == "value"), None)
    if value is None:
        raise ProductError("Polygons need the value layer; do not leave it out.")
    probability = next((entry for entry in layers.values() if entry[1].role == "probability"), None)
    path = out / POLYGONS_NAME
    geobox = GeoBox(plan.shape, Affine(*plan.transform), plan.crs)
    write_polygons(path, value, probability, legend, geobox, plan.minimum_mapping_unit_m2)
    return {"polygons": file_asset(path, "application/vnd.apache.parquet", ["data"], "polygons of the classes")}
