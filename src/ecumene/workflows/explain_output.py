"""Writes an explanation: georeferenced layers with their Item, JSON, and a page with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.files import write_json
from ecumene.explanation.scores import Scores
from ecumene.mapping.checksums import input_records, time_text
from ecumene.mapping.layers import VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.contract import Stack
from ecumene.scenes.grid import window_geobox
from ecumene.viewer import pictures as draw
from ecumene.viewer.report import Picture, Report, Table, write_report
from ecumene.workflows.array_product import ArrayProduct, write_array_product
from ecumene.workflows.explain_place import Place
from ecumene.workflows.explain_result import Explanation

_DISPLAY = (("B04", "B03", "B02"), ("B4", "B3", "B2"), ("B3", "B2", "B1"), ("red", "green", "blue"))
_SHOWN = 4
EXPLANATION_NAME = "explanation.json"
REPORT_NAME = "report.html"


def write_explanation(folder: Path, explanation: Explanation, stack: Stack, place: Place, scores: Scores) -> None:
    """Write everything into a folder; the Item comes last.

    Args:
        folder: Writable, without a product.
        explanation: What to write.
        stack: The matched scenes, for provenance and the natural-colour picture.
        place: The view that the layers cover.
        scores: Knows the model.
    """
    valid = np.isfinite(explanation.layers[0][1]).any(axis=0)
    specs = [(spec, np.asarray(values, np.float32)) for spec, values in explanation.layers]
    specs[0] = (_as_value(specs[0][0]), specs[0][1])
    write_json(folder / EXPLANATION_NAME, explanation.to_dict())
    write_page(folder / REPORT_NAME, explanation, stack, place)
    write_array_product(
        folder,
        ArrayProduct(
            name="explanation",
            title=f"Explanation of {explanation.target} by {', '.join(explanation.methods)}",
            lineage=f"Model {scores.model.spec.name} explained at {explanation.place}. {explanation.sentence}",
            geobox=window_geobox(stack.geobox, place.view),
            layers=[*specs, (VALID, valid[None].astype(np.uint8))],
            valid=valid,
            inputs=input_records(stack.sources),
            start=time_text(stack.times[0]),
            end=time_text(stack.times[-1]),
            parameters={"methods": list(explanation.methods), "baseline": explanation.baseline},
            results={"target": explanation.target, "score": round(explanation.score, 6)},
        ),
    )


def _as_value(spec: LayerSpec) -> LayerSpec:
    """The first layer is what the quick-look shows."""
    fields = {**vars(spec), "role": "value"}
    return LayerSpec(**fields)


def write_page(path: Path, explanation: Explanation, stack: Stack, place: Place) -> None:
    """Write the page with sentence, tables and pictures."""
    shown = scene_pictures(stack, place)
    for spec, values in explanation.layers:
        shown += layer_pictures(spec, np.asarray(values, np.float32))
    facts = [
        ("model", explanation.model),
        ("place", explanation.place),
        ("methods", ", ".join(explanation.methods)),
        ("hidden inputs become", explanation.baseline),
    ]
    report = Report(
        title=f"Why {explanation.target}?",
        subtitle=explanation.sentence,
        pictures=shown,
        tables=explanation_tables(explanation),
        provenance=facts,
        notices=explanation.notes,
    )
    write_report(report, path)


def explanation_tables(explanation: Explanation) -> list[Table]:
    """Return the tables of an explanation as text: sensors, bands, dates, pairs of sensors, attention, neurons."""
    tables = [_effects_table(explanation, kind) for kind in ("sensor", "band", "date") if explanation.of_kind(kind)]
    if explanation.interactions:
        rows = [[one, other, f"{value:+.3f}"] for one, other, value in explanation.interactions]
        text = "Negative: either suffices; positive: they are needed together."
        tables.append(Table("Pairs of sensors", ("sensor", "and", "interaction"), rows, text))
    if explanation.attention:
        rows = [[name, f"{share:.1%}"] for name, share in explanation.attention]
        text = "Where the network looked, the mean over its heads; what decided is in the table of dates."
        tables.append(Table("Attention to dates", ("date", "attention"), rows, text))
    if explanation.neurons:
        rows = [
            [
                f"{n['layer']}[{n['channel']}]",
                "active" if n["sign"] > 0 else "silent",
                f"{n['auroc']:.3f}",
                f"{n['iou']:.3f}",
            ]
            for n in explanation.neurons
        ]
        text = f"Channels that tell {explanation.target} from the rest, measured where they were not chosen."
        tables.append(Table("Neurons", ("neuron", "on the class", "AUROC", "IoU"), rows, text))
    return tables


def _effects_table(explanation: Explanation, kind: str) -> Table:
    effects = explanation.of_kind(kind)
    columns = [kind, "fall when hidden" if explanation.is_point else "mean fall", "share"]
    rows = [[effect.name, f"{effect.fall:+.3f}", f"{effect.share:.0%}"] for effect in effects]
    if any(effect.changed is not None for effect in effects):
        columns.append("class changes")
        for row, effect in zip(rows, effects, strict=True):
            row.append("-" if effect.changed is None else f"{effect.changed:.1%}")
    for title, drops in (
        ("accuracy falls", [effect.accuracy_drop for effect in effects]),
        ("mean IoU falls", [effect.iou_drop for effect in effects]),
    ):
        if any(drop is not None for drop in drops):
            columns.append(title)
            for row, drop in zip(rows, drops, strict=True):
                row.append("-" if drop is None else f"{drop:+.3f}")
    if any(effect.gradient is not None for effect in effects):
        columns.append("gradient")
        for row, effect in zip(rows, effects, strict=True):
            row.append("-" if effect.gradient is None else f"{effect.gradient:+.3f}")
    caption = (
        f"{explanation.unit} of {explanation.target}: how far it falls when the {kind} is hidden "
        f"({'missing' if kind == 'date' else explanation.baseline}); share of the absolute falls of all {kind}s."
    )
    return Table(f"By {kind}", tuple(columns), rows, caption)


def scene_pictures(stack: Stack, place: Place) -> list[Picture]:
    """Show the view in natural colours, if the scene has them."""
    names = {channel.band: position for position, channel in enumerate(stack.channels)}
    triple = next((bands for bands in _DISPLAY if set(bands) <= set(names)), None)
    image = stack.read(place.view).image
    finite = [np.isfinite(frame).all(axis=0).sum() for frame in image]
    frame = image[int(np.argmax(finite))]
    if triple is None:
        return []
    colours = np.stack([frame[names[band]] for band in triple])
    mark = ""
    if place.pixel is not None:
        mark = " The explained pixel is in the middle, unless the border of the scene is near."
    return [Picture("Scene", draw.composite_picture(colours), f"{', '.join(triple)}, stretched.{mark}")]


def layer_pictures(spec: LayerSpec, values: NDArray[Any]) -> list[Picture]:
    """Show the bands of a layer that have the largest values, at most four."""
    size = np.nanmean(np.abs(values), axis=(1, 2)) if np.isfinite(values).any() else np.zeros(len(values))
    chosen = sorted(np.argsort(-np.nan_to_num(size), kind="stable")[:_SHOWN])
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.percentile(finite, 99)) if finite.size else 1.0
    top = max(top, 1e-6)
    pictures = []
    for band in chosen:
        name = spec.band_names[band] or spec.name
        if spec.name == "attention":
            uri = draw.ramp_picture(values[band], 0.0, 1.0, "magma")
            caption = f"{spec.description}; bright: much."
        else:
            uri = draw.ramp_picture(values[band], -top, top, "PuOr")
            caption = f"{spec.description}; violet: +{top:.2g}, orange: -{top:.2g}."
        pictures.append(Picture(f"{spec.name.replace('_', ' ')}: {name}", uri, caption))
    return pictures
