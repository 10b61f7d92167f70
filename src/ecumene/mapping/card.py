"""The model card that goes with a product, so that a map can be judged without its model at hand."""

from __future__ import annotations

from pathlib import Path

from ecumene.core.files import write_text
from ecumene.mapping.contract import MapModel
from ecumene.mapping.layers import outlier_threshold
from ecumene.mapping.plan import Plan

CARD_NAME = "model_card.md"


def card_text(model: MapModel, plan: Plan) -> str:
    """Return the model's own card where it has one, else one written from what the model states."""
    own = getattr(model, "card", None)
    if callable(own):
        own = own()
    if isinstance(own, str) and own.strip():
        return own
    spec = model.spec
    legend = model.objective.legend
    threshold = outlier_threshold(model)
    takes = "series of images" if spec.temporal else "single images"
    lines = [
        f"# {spec.name}",
        "",
        f"A {spec.kind} made on {spec.created}; licence {spec.licence}; SHA-256 {plan.model_checksum}.",
        "",
        f"Takes {takes} at {spec.resolution_m:g} m with these bands:",
        "",
        "| sensor | level | band | unit | mean | standard deviation |",
        "| --- | --- | --- | --- | --- | --- |",
        *(f"| {b.sensor} | {b.level} | {b.band} | {b.unit} | {b.mean:.6g} | {b.std:.6g} |" for b in spec.inputs),
        "",
        f"Objective: {model.objective.name}.",
    ]
    if legend is not None:
        lines += ["", "| code | class | description |", "| --- | --- | --- |"]
        lines += [f"| {entry.value} | {entry.name} | {entry.description} |" for entry in legend.classes]
    flag = "has no outlier detector" if threshold is None else f"flags pixels with a score above {threshold:.6g}"
    return "\n".join([*lines, "", f"The model {flag}.", ""])


def write_card(out: Path, model: MapModel, plan: Plan) -> Path:
    """Write the card beside the product's Item."""
    path = out / CARD_NAME
    write_text(path, card_text(model, plan))
    return path
