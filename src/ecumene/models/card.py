"""The model card: what a person wants to know before using a model (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ecumene.legends import Legend
from ecumene.models.contract import ModelSpec

_TASK_TAGS = {"segmentation": "image-segmentation", "scene-classification": "image-classification"}


def write_card(spec: ModelSpec, legend: Legend | None) -> str:
    """Return the card as Markdown with YAML front matter.

    Args:
        spec: The model.
        legend: Its classes, if it has classes.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(spec, legend), sort_keys=False, allow_unicode=True)}---\n",
        f"# {_inline(spec.name)}\n",
        _summary(spec),
        "## Input\n",
        _input_table(spec),
    ]
    if legend is not None:
        rows = [(item.value, item.name, item.colour, item.description) for item in legend.classes]
        parts += ["## Classes\n", _table(("code", "name", "colour", "description"), rows)]
    accuracy = spec.training.get("accuracy")
    parts += [
        "## Accuracy on held-out blocks\n" if spec.patch_size is None else "## Accuracy on test images\n",
        _accuracy(accuracy),
    ]
    parts += ["## Calibration\n", _tree(spec.calibration) or "Not calibrated.\n"]
    parts += ["## Outliers\n", _outlier(spec)]
    known = ("accuracy", "notes", "band_quantiles")
    parts += ["## Training\n", _tree({k: v for k, v in spec.training.items() if k not in known}) or "Not recorded.\n"]
    parts += ["## Limits\n", _limits(spec)]
    return "\n".join(parts)


def _front_matter(spec: ModelSpec, legend: Legend | None) -> dict[str, Any]:
    front: dict[str, Any] = {
        "license": "other" if spec.licence == "proprietary" else spec.licence,
        "library_name": "ecumene",
        "pipeline_tag": _TASK_TAGS.get(str(spec.objective.get("name")), "other"),
        "tags": ["remote-sensing", "earth-observation", *sorted({band.sensor for band in spec.inputs})],
        "model_name": spec.name,
        "architecture": str(spec.architecture.get("name", spec.kind)),
        "created": spec.created,
        "resolution_m": spec.resolution_m,
        "bands": [band.key for band in spec.inputs],
    }
    if legend is not None:
        front["classes"] = list(legend.names)
    return front


def _summary(spec: ModelSpec) -> str:
    reads = "a series of images" if spec.temporal else "one image"
    if spec.patch_size is not None:
        reads = f"images of {spec.patch_size} x {spec.patch_size} pixels, with one answer each,"
    sensors = ", ".join(sorted({f"{band.sensor} {band.level}" for band in spec.inputs}))
    return (
        f"A {spec.kind} ({_inline(spec.architecture.get('name', spec.kind))}) that reads {reads} of {sensors} at "
        f"{spec.resolution_m:g} m and was made on {spec.created}. Objective: {_inline(spec.objective.get('name'))}.\n"
    )


def _input_table(spec: ModelSpec) -> str:
    rows = [
        (
            band.key,
            band.level,
            band.unit,
            _number(band.center_wavelength_um),
            _number(band.ground_sampling_m),
            _number(band.mean),
            _number(band.std),
            f"{_number(band.minimum)} .. {_number(band.maximum)}",
        )
        for band in spec.inputs
    ]
    head = ("band", "level", "unit", "wavelength (µm)", "sampling (m)", "mean", "standard deviation", "0.1 % .. 99.9 %")
    first = (
        "The bands of a sensor are first brought to mean 0 and standard deviation 1 together, on each date by the "
        "scene's own pixels; the figures below are in these standard deviations.\n\n"
    )
    return (first if spec.standardised else "") + _table(head, rows)


def _accuracy(accuracy: Any) -> str:
    if not isinstance(accuracy, Mapping) or not accuracy:
        return "Not measured.\n"
    whole = "images" in accuracy
    what = ("Images of one place", "test images") if whole else ("Pixels of one polygon", "held-out blocks")
    text = f"{what[0]} are not independent: these figures describe the {what[1]}.\n\n"
    matrix = accuracy.get("confusion_matrix")
    names = accuracy.get("classes")
    rest = {key: value for key, value in accuracy.items() if key not in ("confusion_matrix", "classes")}
    text += _tree(rest)
    if isinstance(matrix, Mapping) and isinstance(names, list):
        rows = [(name, *row) for name, row in zip(names, matrix.get("counts", []), strict=False)]
        text += (
            f"\nConfusion matrix (rows: {_inline(matrix.get('rows'))}, columns: {_inline(matrix.get('columns'))}):\n\n"
        )
        text += _table(("", *names), rows)
    return text


def _outlier(spec: ModelSpec) -> str:
    if not spec.outlier:
        return "No outlier detector.\n"
    name, threshold = spec.outlier.get("name", "detector"), spec.outlier.get("threshold")
    what = "a pixel is flagged where" if spec.patch_size is None else "an image is flagged if"
    return f"Detector `{_inline(name)}`; {what} its score exceeds {_number(threshold)}.\n"


def _limits(spec: ModelSpec) -> str:
    lines = [
        "- Use it only on the sensor, level, unit and resolution above; other data are refused.",
        "- Pixels that the outlier layer flags look unlike the training data: do not trust their value.",
        "- Calibration and class sets hold for data like the held-out blocks, not for other regions or seasons.",
    ]
    notes = spec.training.get("notes")
    lines += [f"- {_inline(note)}" for note in notes] if isinstance(notes, list) else []
    return "\n".join(lines) + "\n"


def _tree(value: Mapping[str, Any], depth: int = 0) -> str:
    """Render nested settings as a list; long number lists are shortened."""
    lines = []
    for key, entry in value.items():
        indent = "  " * depth
        if isinstance(entry, Mapping):
            lines.append(f"{indent}- {_inline(key)}:\n{_tree(entry, depth + 1)}".rstrip("\n"))
        elif (
            isinstance(entry, list) and entry and all(isinstance(part, Mapping) for part in entry) and len(entry) <= 64
        ):
            lines.append(f"{indent}- {_inline(key)}:")
            lines += [
                f"{indent}  - " + ", ".join(f"{_inline(k)}: {_scalar(v)}" for k, v in part.items()) for part in entry
            ]
        else:
            lines.append(f"{indent}- {_inline(key)}: {_scalar(entry)}")
    return "\n".join(lines) + ("\n" if lines else "")


def _scalar(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = ", ".join(_scalar(part) for part in value[:12])
        return f"{shown}, ... ({len(value)} entries)" if len(value) > 12 else shown
    return _number(value) if isinstance(value, float) else _inline(value)


def _number(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.5g}" if isinstance(value, int | float) else _inline(value)


def _inline(value: Any) -> str:
    """Text on one line that cannot break a table or open an HTML tag."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    names = [_inline(name) for name in head]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_scalar(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
