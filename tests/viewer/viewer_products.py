"""Small products with known pixels, written by the same functions as real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from ecumene.legends import Legend
from ecumene.mapping.item import band_objects, file_asset, footprint_of, layer_asset
from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.mapping.product import ITEM_NAME
from ecumene.mapping.stac_models import EXTENSIONS, validate_item
from ecumene.mapping.statistics import band_statistics
from ecumene.objectives.prediction import LayerSpec

UTM = "EPSG:32633"
PIXELS = (
    'ENGCRS["radar geometry of the images",EDATUM["first pixel of the images"],CS[Cartesian,2],'
    'AXIS["column",east],AXIS["row",south],LENGTHUNIT["pixel",1]]'
)
LEGEND = Legend.from_names(["water", "forest", "built-up"])
SHAPE = (300, 260)
NAN = float("nan")


def write_product(folder, layers, *, legend=None, crs=UTM, transform=None, overviews=True, properties=None, card=None):
    """Write layers `(spec, physical [bands, H, W])` and an Item; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    height, width = layers[0][1].shape[-2:]
    on_earth = crs != PIXELS
    transform = transform or (Affine(10, 0, 500_000, 0, -10, 5_000_000) if on_earth else Affine.identity())
    valid = next((values[0] == 1 for spec, values in layers if spec.role == "valid"), np.ones((height, width), bool))
    assets = {}
    for spec, values in layers:
        known = np.ones_like(valid) if spec.role == "valid" else valid
        stored = spec.encode(values, known)
        path = folder / f"{spec.name}.tif"
        _write_raster(path, stored, spec, crs if on_earth else None, transform, overviews)
        numbers = tuple(band_statistics(band, known, spec) for band in stored)
        assets[spec.name] = layer_asset(path, spec, legend, band_objects(spec, legend, numbers, height * width))
    links = [{"rel": "derived_from", "href": "scene.tif", "title": "a scene", "file:checksum": "1220" + "0" * 64}]
    if card is not None:
        (folder / "model_card.md").write_text(card, encoding="utf-8")
        assets["model-card"] = file_asset(folder / "model_card.md", "text/markdown", ["metadata"], "model card")
    geometry, box = footprint_of(crs, tuple(transform)[:6], (height, width)) if on_earth else (None, None)
    body = {
        "datetime": "2024-06-01T10:00:00Z",
        "title": "A map",
        "created": "2024-06-02T00:00:00Z",
        "proj:code": crs if on_earth else None,
        "proj:shape": [height, width],
        "proj:transform": list(transform)[:6],
        "processing:lineage": "Made for a test.",
        "processing:software": {"ecumene": "0"},
        "processing:datetime": "2024-06-02T00:00:00Z",
        "ecumene:product_version": 1,
        "ecumene:channels": ["sentinel-2/B04"],
    }
    if not on_earth:
        body["proj:wkt2"] = crs
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": "test",
        "geometry": geometry,
        "properties": body | (properties or {}),
        "links": links,
        "assets": assets,
    }
    if box is not None:
        item["bbox"] = box
    validate_item(item)
    (folder / ITEM_NAME).write_text(json.dumps(item), encoding="utf-8")
    return folder


def _write_raster(path, stored, spec, crs, transform, overviews):
    profile = {
        "count": stored.shape[0], "height": stored.shape[1], "width": stored.shape[2], "dtype": stored.dtype,
        "transform": transform, "crs": None if crs is None else CRS.from_user_input(crs), "compress": "deflate",
        "driver": "COG" if overviews else "GTiff",
    }  # fmt: skip
    profile |= {"blocksize": 128} if overviews else {"tiled": True, "blockxsize": 128, "blockysize": 128}
    if spec.role != "valid":
        profile["nodata"] = spec.nodata
    with rasterio.open(path, "w", **profile) as target:
        target.write(stored)
        target.scales, target.offsets = [spec.scale] * len(stored), [spec.offset] * len(stored)


def class_layers(shape=SHAPE, seed=0):
    """Classes in vertical stripes, probabilities, entropy that grows downwards, one outlier, a hole, sets."""
    height, width = shape
    row, col = np.mgrid[:height, :width]
    index = col * 3 // width
    probability = np.full((3, *shape), 0.1)
    for k in range(3):
        probability[k][index == k] = 0.8
    value = np.choose(index, LEGEND.values)
    entropy = row / (height - 1)
    outlier = (row == 5) & (col == 7)
    valid = ~((row < 20) & (col > width - 30))
    sets = np.uint32(1) << index.astype(np.uint32)
    sets[row > height // 2] |= 1
    layers = [
        (LayerSpec("value", "uint8", 255, role="value", categorical=True, band_names=("class",),
                   description="class of the largest probability"), value[None]),
        (LayerSpec("uncertainty", "uint8", 255, scale=0.004, role="uncertainty", band_names=("entropy",),
                   description="predictive entropy"), entropy[None]),
        (OUTLIER, outlier[None].astype(np.uint8)),
        (VALID, valid[None].astype(np.uint8)),
        (LayerSpec("probability", "uint8", 255, scale=0.004, role="probability", band_names=LEGEND.names), probability),
        (LayerSpec("prediction_set", "uint32", 0, role="set", band_names=("classes",), statistics=False,
                   description="set of classes as a bit mask that aims to hold the true class with probability 0.9 "
                   "(bit 0: water)"), sets[None]),
    ]  # fmt: skip
    return layers, {"value": value, "probability": probability, "entropy": entropy, "valid": valid, "sets": sets}


def number_layers(shape=SHAPE):
    """Heights that grow to the right, an error bar of two metres, and 90 % intervals."""
    rise = np.broadcast_to(np.linspace(0, 50, shape[1]), shape)[None].copy()
    shared = {"dtype": "float32", "nodata": NAN, "unit": "m", "band_names": ("height",)}
    about = "end of the 90 % prediction interval"
    return [
        (LayerSpec("value", role="value", description="predicted mean", **shared), rise),
        (LayerSpec("uncertainty", role="uncertainty", description="one standard deviation", **shared),
         np.full_like(rise, 2.0)),
        (LayerSpec("lower", role="interval", description=f"lower {about}", **shared), rise - 3.29),
        (LayerSpec("upper", role="interval", description=f"upper {about}", **shared), rise + 3.29),
        (VALID, np.ones((1, *shape), np.uint8)),
    ]  # fmt: skip


def class_product(folder, **options):
    layers, truth = class_layers(options.pop("shape", SHAPE))
    return write_product(folder, layers, legend=LEGEND, card="# model\n", **options), truth


def number_product(folder, **options):
    return write_product(folder, number_layers(options.pop("shape", SHAPE)), **options)
