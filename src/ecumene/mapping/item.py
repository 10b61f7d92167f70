"""The STAC Item of a product: what it shows, how it was made, and from what."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ecumene import __version__
from ecumene.core.errors import ProductError
from ecumene.core.files import multihash_of, write_json
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.mapping.checksums import InputRecord, time_text
from ecumene.mapping.cog import class_table
from ecumene.mapping.contract import MapModel
from ecumene.mapping.plan import Plan
from ecumene.mapping.product import ITEM_NAME, PRODUCT_VERSION, RESIDUALS_PROPERTY
from ecumene.mapping.stac_models import EXTENSIONS, validate_item
from ecumene.mapping.statistics import BandStatistics, stac_statistics
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import Stack

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

Statistics = Mapping[str, tuple[BandStatistics, ...]]


def slug(text: str) -> str:
    """Return a text as letters, digits, `-` and `_` only."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", text).strip("-") or "x"


def class_entries(spec: LayerSpec, legend: Legend | None, statistics: BandStatistics) -> list[dict[str, Any]] | None:
    """Return `classification:classes` of a categorical layer, with counts, or None."""
    table = class_table(spec, legend)
    if not table:
        return None
    about = (
        {} if legend is None or spec.role != "value" else {entry.value: entry.description for entry in legend.classes}
    )
    used: set[str] = set()
    entries: list[dict[str, Any]] = []
    for code, name, colour in table:
        short = slug(name)
        short = short if short not in used else f"{short}-{code}"
        used.add(short)
        count = statistics.histogram.get(code, 0)
        entry = {"value": code, "name": short, "title": name, "color_hint": colour[1:].upper(), "count": count}
        entry["percentage"] = round(100.0 * count / statistics.count, 6) if statistics.count else 0.0
        if about.get(code):
            entry["description"] = about[code]
        entries.append(entry)
    if spec.role == "value":
        entries.append({"value": int(spec.nodata), "name": "nodata", "nodata": True})
    return entries


def band_objects(
    spec: LayerSpec, legend: Legend | None, statistics: tuple[BandStatistics, ...], pixels: int
) -> list[dict[str, Any]]:
    """Return the `bands` of a layer's asset (STAC 1.1 common band fields)."""
    bands = []
    for name, numbers in zip(spec.band_names, statistics, strict=True):
        band: dict[str, Any] = {"name": name or spec.name, "data_type": spec.dtype}
        if spec.role != "valid":
            band["nodata"] = "nan" if math.isnan(float(spec.nodata)) else spec.nodata
        if spec.unit not in {"", "1"}:
            band["unit"] = spec.unit
        if spec.scale != 1.0 or spec.offset != 0.0:
            band |= {"raster:scale": spec.scale, "raster:offset": spec.offset}
        band["raster:sampling"] = "area"
        band["statistics"] = stac_statistics(numbers, spec, pixels)
        classes = class_entries(spec, legend, numbers)
        if classes:
            band["classification:classes"] = classes
        bands.append(band)
    return bands


def layer_asset(path: Path, spec: LayerSpec, legend: Legend | None, bands: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a layer's asset."""
    roles = ["data"] if spec.role == "value" else ["metadata", spec.role]
    asset = file_asset(path, COG_TYPE, roles, spec.name, spec.description) | {"bands": bands, "ecumene:role": spec.role}
    if spec.categorical:
        asset["ecumene:categorical"] = True
    if spec.role == "value" and legend is not None:
        asset["ecumene:legend"] = legend.name
    return asset


def file_asset(path: Path, media: str, roles: list[str], title: str, description: str = "") -> dict[str, Any]:
    """Return an asset of a file that lies beside the Item."""
    asset: dict[str, Any] = {"href": f"./{path.name}", "type": media, "roles": roles, "title": title}
    if description:
        asset["description"] = description
    return asset | {"file:checksum": multihash_of(path), "file:size": path.stat().st_size}


def footprint(plan: Plan) -> tuple[dict[str, Any], list[float]]:
    """Return (GeoJSON geometry in WGS 84, its bounding box) of the plan's grid."""
    return footprint_of(plan.crs, plan.transform, plan.shape)


def footprint_of(crs: str, transform: tuple[float, ...], shape: tuple[int, int]) -> tuple[dict[str, Any], list[float]]:
    """Return (GeoJSON geometry in WGS 84, its bounding box) of a grid; cut at the antimeridian."""
    from rasterio.warp import transform_geom

    a, b, c, d, e, f = transform
    height, width = shape
    steps = [k / 20 for k in range(20)]
    pixels = [(s * width, 0.0) for s in steps] + [(width, s * height) for s in steps]
    pixels += [(width - s * width, height) for s in steps] + [(0.0, height - s * height) for s in steps]
    ring = [(a * x + b * y + c, d * x + e * y + f) for x, y in [*pixels, pixels[0]]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    moved = transform_geom(crs, "EPSG:4326", polygon, antimeridian_cutting=True)
    parts = [moved["coordinates"]] if moved["type"] == "Polygon" else moved["coordinates"]
    geometry = {
        "type": moved["type"],
        "coordinates": [[[[round(x, 7), round(y, 7)] for x, y in ring] for ring in part] for part in parts],
    }
    if moved["type"] == "Polygon":
        geometry["coordinates"] = geometry["coordinates"][0]
    boxes = []
    for part in parts:
        xs, ys = [point[0] for point in part[0]], [point[1] for point in part[0]]
        boxes.append((min(xs), min(ys), max(xs), max(ys)))
    west, east = min(box[0] for box in boxes), max(box[2] for box in boxes)
    if len(boxes) > 1 and west <= -179.9 and east >= 179.9:  # RFC 7946, section 5.2: west may exceed east
        west = min(box[0] for box in boxes if box[0] > 0)
        east = max(box[2] for box in boxes if box[2] < 0)
    bounds = [west, min(box[1] for box in boxes), east, max(box[3] for box in boxes)]
    return geometry, [round(value, 7) for value in bounds]


def _times(stack: Stack, now: str) -> dict[str, Any]:
    times = sorted(time for time in stack.times if time is not None)
    if not times:
        return {"datetime": now, "ecumene:datetime_is": "processing, because no scene states its time"}
    if times[0] == times[-1]:
        return {"datetime": time_text(times[0])}
    return {"datetime": None, "start_datetime": time_text(times[0]), "end_datetime": time_text(times[-1])}


def _licence(inputs: tuple[InputRecord, ...]) -> dict[str, Any]:
    licences = {record.id: record.licence for record in inputs}
    stated = sorted({licence for licence in licences.values() if licence})
    if not stated:
        return {}
    single = len(stated) == 1 and None not in licences.values() and re.fullmatch(r"[\w.+-]+", stated[0])
    return {"license": stated[0] if single else "other", "ecumene:input_licences": licences}


def _lineage(plan: Plan, model: MapModel) -> str:
    return (
        f"Mapped by ecumene {plan.software} with the model {plan.model} ({model.spec.kind}) from "
        f"{len(plan.inputs)} scene(s): windows of {plan.window[0]} x {plan.window[1]} pixels that share "
        f"{plan.overlap}, blended by a partition of unity; executed by {plan.backend} in {plan.precision}."
    )


def properties(plan: Plan, model: MapModel, stack: Stack) -> dict[str, Any]:
    """Return the Item's properties."""
    a, b, c, d, e, f = plan.transform
    height, width = plan.shape
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    xs = [a * x + b * y + c for x in (0, width) for y in (0, height)]
    ys = [d * x + e * y + f for x in (0, width) for y in (0, height)]
    epsg = plan.crs if plan.crs.startswith("EPSG:") else None
    result = _times(stack, now) | _licence(plan.inputs)
    result |= {
        "title": f"Map by {plan.model}",
        "created": now,
        "proj:code": epsg,
        "proj:shape": [height, width],
        "proj:transform": [a, b, c, d, e, f],
        "proj:bbox": [min(xs), min(ys), max(xs), max(ys)],
        "processing:lineage": _lineage(plan, model),
        "processing:software": {"ecumene": __version__},
        "processing:datetime": now,
        "ecumene:product_version": PRODUCT_VERSION,
        "ecumene:model": {
            "name": plan.model,
            "checksum": plan.model_checksum,
            "kind": model.spec.kind,
            "created": model.spec.created,
            "licence": model.spec.licence,
        },
        "ecumene:execution": {
            "backend": plan.backend,
            "precision": plan.precision,
            "threads": plan.threads,
            "window": list(plan.window),
            "overlap": plan.overlap,
            "executed_over_mapped_pixels": round(plan.extra_pixels, 4),
            "choice": None if plan.execution is None else plan.execution.model_dump(mode="json"),
        },
        "ecumene:channels": list(plan.channels),
        "ecumene:inputs": sorted({f"{record.sensor} {record.level}".strip() for record in plan.inputs}),
    }
    if model.cells is not None:
        result["ecumene:cells"] = dict(model.cells)
    calibration = model.calibration
    if calibration is not None and calibration.residuals is not None:
        result[RESIDUALS_PROPERTY] = calibration.residuals.to_config()
    if epsg is None:
        result["proj:wkt2"] = plan.crs
    if plan.clip_checksum:
        result["ecumene:clip_sha256"] = plan.clip_checksum
    return result


def links(plan: Plan, card: Path) -> list[dict[str, Any]]:
    """Return `derived_from` links (file names and checksums, no private paths) and the model card's."""
    result = []
    for record in plan.inputs:
        for file in record.files or ():
            link = {"rel": "derived_from", "href": file.name, "title": record.id}
            if file.checksum:
                link["file:checksum"] = file.checksum
            result.append(link)
        if not record.files:
            result.append({"rel": "derived_from", "href": f"urn:ecumene:scene:{slug(record.id)}", "title": record.id})
    result.append({"rel": "describedby", "href": f"./{card.name}", "type": "text/markdown", "title": "model card"})
    return result


def write_item(
    out: Path,
    plan: Plan,
    model: MapModel,
    stack: Stack,
    assets: dict[str, dict[str, Any]],
    card: Path,
    damaged: Iterable[Window] = (),
) -> None:
    """Write the Item, validated offline; the last file of a product.

    `damaged` are the parts of the grid whose input could not be decoded; they are listed and not valid.

    Raises:
        ProductError: If it is not valid.
    """
    from pydantic import ValidationError
    from pystac.errors import STACValidationError

    geometry, bbox = footprint(plan)
    body = properties(plan, model, stack)
    listed = [[part.row, part.col, part.height, part.width] for part in damaged]
    if listed:
        body["ecumene:damaged_windows"] = listed
    when = (body["datetime"] or body["start_datetime"] or "")[:10]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": slug(f"{plan.model}-{when}-{plan.model_checksum[:8]}"),
        "geometry": geometry,
        "bbox": bbox,
        "properties": body,
        "links": links(plan, card),
        "assets": assets,
    }
    try:
        validate_item(item)
    except (STACValidationError, ValidationError) as error:
        raise ProductError(f"The product's STAC Item is not valid, so it was not written: {error}.") from error
    write_json(out / ITEM_NAME, item)
