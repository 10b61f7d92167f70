"""What a report says about a product's making: facts, provenance and files, from its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecumene.models.bundle import Model
from ecumene.viewer.layer_pictures import number_text
from ecumene.viewer.report import Table

_SHA256_PREFIX = "1220"  # multihash: SHA-256, 32 bytes
_MOST_CHANNELS = 30


def facts(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the product is, in short: dates, place, grid, model."""
    rows, cols = description["shape"]
    found = [("date", str(description["dates"]["label"]))]
    if description["georeferenced"]:
        west, south, east, north = description["bounds"]
        found += [
            ("longitude", f"{west:.4f}° to {east:.4f}°"),
            ("latitude", f"{south:.4f}° to {north:.4f}°"),
            ("coordinate system", _system(description["crs"])),
        ]
    unit, size = description["resolution_unit"], f"{description['resolution']:.7f}".rstrip("0").rstrip(".")
    found.append(("grid", f"{cols} x {rows} pixels" + (f" of {size} {unit}" if description["georeferenced"] else "")))
    if description["model"]:
        found.append(("model", f"{description['model']['name']} ({description['model']['kind']})"))
    if description["method"]:
        found.append(("method", str(description["method"].get("name"))))
    if description["provenance"]["licence"]:
        found.append(("licence", str(description["provenance"]["licence"])))
    return found


def _system(crs: Mapping[str, Any]) -> str:
    return f"{crs['name']} ({crs['code']})" if crs["code"] else str(crs["name"])


def layer_table(description: Mapping[str, Any]) -> Table:
    """Return what the layers are, with the range of the first band."""
    rows = []
    for layer in description["layers"]:
        numbers = layer["bands"][0]["statistics"] if layer["bands"] else {}
        ends = [numbers.get(key) for key in ("minimum", "mean", "maximum")]
        plain = layer["kind"] in {"classes", "flag", "set"}
        shown = ["-" if plain or end is None else number_text(layer, float(end)) for end in ends]
        rows.append([layer["name"], layer["title"], str(len(layer["bands"])), *shown])
    caption = "Range of the first band of each layer of numbers."
    return Table("Layers", ("layer", "what", "bands", "minimum", "mean", "maximum"), rows, caption)


def provenance_rows(description: Mapping[str, Any], model: Model | None) -> list[tuple[str, str]]:
    """Return how the product was made: software, plan, parameters, results, model and its training."""
    origin = description["provenance"]
    rows = [("product", str(description["name"])), ("made", str(origin["created"] or ""))]
    rows += [("how", str(origin["lineage"]))]
    rows += [("software", ", ".join(f"{name} {version}" for name, version in origin["software"].items()))]
    if origin["channels"]:
        rest = len(origin["channels"]) - _MOST_CHANNELS
        text = ", ".join(origin["channels"][:_MOST_CHANNELS])
        rows.append(("bands", text + (f" and {rest} more" if rest > 0 else "")))
    rows += [("plan: " + name, text) for name, text in _flat(origin["execution"])]
    if description["method"]:
        rows += [("parameter: " + name, text) for name, text in _flat(description["method"].get("parameters") or {})]
    rows += [("result: " + name, text) for name, text in _flat(description["results"])]
    stated = description["model"]
    if stated:
        rows.append(("model", f"{stated['name']}, {stated['kind']}, licence {stated['licence'] or 'not stated'}"))
        rows.append(("model's sha256", str(stated["checksum"])))
        rows.append(("model made", str(stated["created"])))
    if model is not None:
        rows += _training_rows(model)
    return [(name, text) for name, text in rows if text]


def _training_rows(model: Model) -> list[tuple[str, str]]:
    training = model.spec.training
    return [
        ("trained", f"{training.get('system', model.spec.kind)}, seed {training.get('seed')}"),
        ("inputs of the model", ", ".join(band.key for band in model.spec.inputs)),
        ("software of the training", ", ".join(f"{name} {v}" for name, v in training.get("versions", {}).items())),
    ]


def _flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return a nested JSON value as (dotted name, text); lists of plain values as one line."""
    if isinstance(values, Mapping):
        return [row for key, value in values.items() for row in _flat(value, f"{prefix}.{key}" if prefix else str(key))]
    if values is None:
        return []
    if isinstance(values, list):
        if any(isinstance(entry, Mapping | list) for entry in values):
            return [row for number, entry in enumerate(values, 1) for row in _flat(entry, f"{prefix}.{number}")]
        return [(prefix, ", ".join(_text(entry) for entry in values))]
    return [(prefix, _text(values))]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _digest(multihash: Any) -> str:
    text = str(multihash or "")
    return text.removeprefix(_SHA256_PREFIX) if len(text) == 68 else text or "not stated"


def file_tables(description: Mapping[str, Any], model: Model | None) -> list[Table]:
    """Return inputs, the product's files and the training's scenes, each with its SHA-256."""
    origin = description["provenance"]
    tables = []
    if origin["inputs"]:
        rows = [[entry["title"], entry["name"], _digest(entry["checksum"])] for entry in origin["inputs"]]
        tables.append(Table("Inputs", ("scene", "file", "sha256"), rows))
    rows = [[entry["name"], f"{entry['size'] or 0:,}", _digest(entry["checksum"])] for entry in origin["files"]]
    tables.append(Table("Files of the product", ("file", "bytes", "sha256"), rows))
    scenes = model.spec.training.get("scenes", []) if model is not None else []
    trained = [[str(name), str(digest)] for scene in scenes for name, digest in scene.get("files", {}).items()]
    if trained:
        tables.append(Table("Scenes of the training", ("file", "sha256"), trained))
    return tables
