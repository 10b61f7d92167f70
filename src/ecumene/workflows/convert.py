"""The verb `convert`: a class map in another legend, with its probabilities, error bars and class sets.

Classes that become one have their probabilities summed, so that the value is again the class of the largest
probability and the uncertainty its entropy. Without the layer of probabilities the codes are exchanged; the entropy of
the finer legend then bounds that of the coarser one from above, because merging classes cannot add entropy.
"""

from __future__ import annotations

import datetime as dt
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from ecumene import __version__
from ecumene.core.errors import ProductError
from ecumene.core.files import multihash_of, write_json
from ecumene.core.progress import Progress, silent
from ecumene.legends import Legend
from ecumene.legends.crosswalk import Crosswalk
from ecumene.mapping.finishing import QUICKLOOK_NAME, gather_statistics, write_layers, write_styles
from ecumene.mapping.item import band_objects, file_asset, layer_asset, slug
from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.mapping.plan import Plan, plan_of_files
from ecumene.mapping.product import ITEM_NAME, Product, ProductLayer, open_product
from ecumene.mapping.quicklook import write_quicklook
from ecumene.mapping.stac_models import validate_item
from ecumene.mapping.statistics import band_statistics
from ecumene.mapping.tiles import TileStore, encode_tile
from ecumene.objectives.classification import Segmentation
from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.array_product import check_free
from ecumene.workflows.crosswalk_choice import find_crosswalk

_WORK = "work"
_TILE = 1024  # pixels on a side that are in memory at a time
_BOUND = "upper bound of the predictive entropy over ln K: that of the finer legend, which merging classes cannot raise"

Stored = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Conversion:
    """What becomes of a product's layers."""

    crosswalk: Crosswalk
    specs: tuple[LayerSpec, ...]
    from_probability: bool
    left_out: tuple[str, ...]


def convert_product(
    product: str | Path | Product,
    out: str | Path,
    *,
    legend: str | None = None,
    source_legend: str | None = None,
    crosswalk: str | Path | None = None,
    shares: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Product:
    """Write a class map in another legend as a product of its own.

    Args:
        product: A product, or its folder.
        out: Folder of the new one.
        legend: Name of a published legend to go to; not needed with a crosswalk of one's own.
        source_legend: Published legend whose class names the product uses, where its own name does not say so.
        crosswalk: A file of one's own instead of the published crosswalk; see `legends.crosswalk.read_crosswalk`.
        shares: Let a class that is several classes of the target share its probability among them. Needs the layer of
            probabilities; the shares are rounded estimates and hold on average, not for each pixel.
        overwrite: Replace a product in `out`.
        progress: Called with (tiles done, tiles, what).

    Raises:
        EcumeneError: In one sentence, if the product has no classes, there is no crosswalk, a class has no counterpart
            in it or several, or the folder cannot be written.
    """
    given = product if isinstance(product, Product) else open_product(product, verify=True)
    if given.legend is None:
        raise ProductError(f"{given.folder} is a map of numbers; only maps of classes have a legend to convert.")
    walk = find_crosswalk(given.legend, legend, crosswalk, source_legend, "--from")
    conversion = _plan_layers(given, walk, shares)
    folder = Path(out)
    if folder.resolve() == given.folder.resolve():
        raise ProductError(f"{out} is the product itself; choose another folder with --out.")
    folder = check_free(folder, overwrite)
    (folder / ITEM_NAME).unlink(missing_ok=True)
    plan = _grid_plan(given, conversion)
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    store = TileStore(folder / _WORK, plan, conversion.specs)
    try:
        _convert_tiles(given, conversion, plan, store, progress)
        assets = _write_files(folder, given, conversion, plan, store, progress)
    finally:
        shutil.rmtree(folder / _WORK, ignore_errors=True)
    _write_item(folder, given, conversion, assets)
    return open_product(folder)


def _plan_layers(product: Product, walk: Crosswalk, shares: bool) -> _Conversion:
    """Decide which layers the converted product has."""
    objective = Segmentation(walk.target)
    value, uncertainty, probability = objective.layer_specs()
    layers = product.layers
    given = "probability" in layers
    if shares and not given:
        raise ProductError("Shares need the layer probability, which the product has not; map with --probability.")
    if not shares:
        walk.require_single()
    specs = [value]
    # What is left after a class is lost may be less sure than the whole was: no bound then.
    if "uncertainty" in layers and (given or not walk.without):
        specs.append(uncertainty if given else replace(uncertainty, description=_BOUND))
    if given:
        specs.append(probability)
    if max(len(walk.target), len(walk.source)) <= 32:
        sets = ("prediction_set", "set_size") if "prediction_set" in layers else ()
        specs += [_set_spec(layers[name], walk.target) for name in sets if name in layers]
    specs += [spec for spec in (OUTLIER, VALID) if spec.name in layers]
    kept = {spec.name for spec in specs}
    left = [name for name in layers if name not in kept] + (["polygons"] if product.polygons else [])
    return _Conversion(walk, tuple(specs), given, tuple(left))


def _set_spec(layer: ProductLayer, target: Legend) -> LayerSpec:
    listed = ", ".join(f"bit {bit}: {name}" for bit, name in enumerate(target.names))
    if layer.name == "set_size":
        return LayerSpec(
            "set_size",
            "uint8",
            255,
            role="set",
            description=layer.description,
            band_names=("size",),
            limits=(1.0, float(len(target))),
        )
    promise = layer.description.split(" (bit 0")[0]
    return LayerSpec(
        "prediction_set",
        "uint32",
        0,
        role="set",
        description=f"{promise} ({listed})",
        band_names=("classes",),
        statistics=False,
    )


def _grid_plan(product: Product, conversion: _Conversion) -> Plan:
    crs = product.properties.get("proj:code") or product.properties["proj:wkt2"]
    rows, columns = (min(_TILE, int(size)) for size in product.geobox.shape)
    return plan_of_files(product.geobox, str(crs), conversion.specs, str(product.item["id"]), window=(rows, columns))


def _convert_tiles(product: Product, conversion: _Conversion, plan: Plan, store: TileStore, progress: Progress) -> None:
    tiles = list(plan.tiles())
    wanted = {spec.name for spec in conversion.specs} | {"value"}
    sources = {name: rasterio.open(product.path(name)) for name in wanted if name in product.layers}
    try:
        for done, tile in enumerate(tiles):
            w = tile.window
            window = rasterio.windows.Window(w.col, w.row, w.width, w.height)
            stored = {name: source.read(window=window) for name, source in sources.items()}
            converted, known = _convert(stored, product, conversion)
            files = {}
            for spec in conversion.specs:
                mask = np.ones_like(known) if spec.role == "valid" else known
                values = spec.encode(converted[spec.name], mask)
                numbers = tuple(band_statistics(band, mask, spec) for band in values)
                files[spec.name] = (encode_tile(values, spec, plan, tile), numbers)
            store.finish(tile, files)
            progress(done + 1, len(tiles), "tiles")
    finally:
        for source in sources.values():
            source.close()


def _convert(
    stored: Stored, product: Product, conversion: _Conversion
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return the physical values of a tile's new layers `[bands, H, W]`, and where there is a value."""
    walk = conversion.crosswalk
    known = stored["value"][0] != product.layers["value"].nodata
    converted: dict[str, NDArray[Any]] = {}
    if conversion.from_probability:
        converted, known = _from_probability(stored, product, walk, known)
    else:
        codes = walk.codes(stored["value"][0])
        known = known & (codes != 255)
        converted["value"] = codes[None]
        if any(spec.name == "uncertainty" for spec in conversion.specs):
            layer = product.layers["uncertainty"]
            entropy = (stored["uncertainty"] * layer.scale + layer.offset) * math.log(len(walk.source))
            converted["uncertainty"] = np.clip(entropy / math.log(len(walk.target)), 0.0, 1.0)
    if "prediction_set" in stored:
        converted["prediction_set"] = walk.sets(stored["prediction_set"])
        converted["set_size"] = np.bitwise_count(converted["prediction_set"])
    if "outlier" in stored:
        converted["outlier"] = stored["outlier"]
    if "valid" in stored:
        converted["valid"] = (stored["valid"] == 1) & known[None]
    return converted, known


def _from_probability(
    stored: Stored, product: Product, walk: Crosswalk, known: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    layer = product.layers["probability"]
    given = stored["probability"].astype(np.float32) * layer.scale + layer.offset
    total = given.sum(axis=0)
    # Stored in steps of a byte, they sum to 1 but for rounding.
    given = np.divide(given, total, out=np.zeros_like(given), where=total > 0)
    probability, lost = walk.probabilities(given)
    prediction = Segmentation(walk.target).from_moments(probability[None])
    # No data where "no counterpart" is what the map finds most likely.
    known = known & (total > 0) & (lost <= probability.max(axis=0) * (1.0 - lost)) & (lost < 1.0)
    return {name: np.asarray(values)[0] for name, values in prediction.layers.items()}, known


def _write_files(
    folder: Path, product: Product, conversion: _Conversion, plan: Plan, store: TileStore, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Write rasters, styles, quick-look and the model card, and return their assets."""
    legend, specs = conversion.crosswalk.target, conversion.specs
    statistics = gather_statistics(store)
    paths = {spec.name: folder / f"{spec.name}.tif" for spec in specs}
    for path in paths.values():
        path.unlink(missing_ok=True)
    write_layers(paths, plan, specs, store, legend, progress)
    pixels = plan.shape[0] * plan.shape[1]
    assets: dict[str, dict[str, Any]] = {}
    for spec in specs:
        bands = band_objects(spec, legend, statistics[spec.name], pixels)
        assets[spec.name] = layer_asset(paths[spec.name], spec, legend, bands)
    assets |= write_styles(folder, specs, legend, assets)
    picture = folder / QUICKLOOK_NAME
    write_quicklook(picture, {spec.name: (paths[spec.name], spec) for spec in specs}, legend, plan.model)
    assets["quicklook"] = file_asset(picture, "image/png", ["overview"], "quick-look")
    card = product.item["assets"].get("model-card")
    if card is not None:
        target = folder / Path(card["href"]).name
        shutil.copyfile(product.folder / card["href"], target)
        assets["model-card"] = file_asset(target, "text/markdown", ["metadata"], "model card")
    return assets


def _write_item(
    folder: Path, product: Product, conversion: _Conversion, assets: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the Item: that of the product, with what was done to it."""
    from pydantic import ValidationError
    from pystac.errors import STACValidationError

    walk = conversion.crosswalk
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    how = "summed probabilities" if conversion.from_probability else "exchanged codes"
    properties = dict(product.properties)
    before = properties.get("processing:lineage", "")
    added = f"Then converted from {walk.source.name} to {walk.target.name} by {how}."
    properties |= {
        "title": f"{properties.get('title', product.item['id'])} in the legend {walk.target.name}",
        "created": now,
        "processing:datetime": now,
        "processing:software": {"ecumene": __version__},
        "processing:lineage": f"{before} {added}".strip(),
        "ecumene:converted": {
            "from": walk.source.name,
            "to": walk.target.name,
            "crosswalk": walk.origin,
            "by": how,
            "split_classes": list(walk.split),
            "classes_without_counterpart": list(walk.without),
            "layers_left_out": list(conversion.left_out),
        },
    }
    original = {
        "rel": "derived_from",
        "href": f"urn:ecumene:product:{slug(str(product.item['id']))}",
        "title": str(product.item["id"]),
        "file:checksum": multihash_of(product.item_path),
    }
    item = dict(product.item) | {
        "id": slug(f"{product.item['id']}-{walk.target.name}"),
        "properties": properties,
        "links": [*product.item.get("links", []), original],
        "assets": dict(assets),
    }
    try:
        validate_item(item)
    except (STACValidationError, ValidationError) as error:
        raise ProductError(f"The product's STAC Item is not valid, so it was not written: {error}.") from error
    write_json(folder / ITEM_NAME, item)
