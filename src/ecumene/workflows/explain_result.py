"""What an explanation holds, and how it is said in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.models.bundle import plain
from ecumene.objectives.prediction import LayerSpec

NOTICEABLE = 0.02
"""A smaller effect on a probability is called none."""


@dataclass(frozen=True)
class Effect:
    """What one sensor, band or date does.

    Attributes:
        kind: `sensor`, `band` or `date`.
        name: Physical name.
        fall: How far the score falls when it is hidden; for a box the mean over its pixels.
        size: For a box the mean of the absolute fall, for a point its size.
        share: Of the sizes of all of its kind.
        changed: For a box of classes: share of pixels whose class changes. None for points and numbers.
        accuracy_drop: For a box with labels: fall of the overall accuracy.
        iou_drop: For a box with labels: fall of the mean IoU.
        gradient: Integrated gradient, summed over the window; None where it was not computed.
    """

    kind: str
    name: str
    fall: float
    size: float
    share: float
    changed: float | None = None
    accuracy_drop: float | None = None
    iou_drop: float | None = None
    gradient: float | None = None


@dataclass
class Explanation:
    """Why a model says what it says at a place.

    Attributes:
        target: Name of the explained class or number.
        unit: `probability` or the unit of the number.
        score: Score of the target at the point, or its mean over the box.
        place: In words.
        model: Name of the model.
        methods: What was computed.
        baseline: What hidden sensors and bands were replaced by.
        effects: Of every sensor, band and date.
        interactions: Of pairs of sensors: (one, other, interaction).
        attention: Attention to each date (name, share), for networks that have it.
        neurons: Best neurons, JSON values.
        layers: Maps over the view: specification and values `[bands, h, w]`.
        figures: Further figures (JSON values).
        notes: What was not possible, a sentence each.
    """

    target: str
    unit: str
    score: float
    place: str
    model: str
    baseline: str
    methods: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    interactions: list[tuple[str, str, float]] = field(default_factory=list)
    attention: list[tuple[str, float]] = field(default_factory=list)
    neurons: list[dict[str, Any]] = field(default_factory=list)
    layers: list[tuple[LayerSpec, NDArray[Any]]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_point: bool = True

    def of_kind(self, kind: str) -> list[Effect]:
        """Return the effects of one kind, the largest first."""
        return sorted((effect for effect in self.effects if effect.kind == kind), key=lambda effect: -effect.size)

    @property
    def sentence(self) -> str:
        """What decided, in words."""
        return explain_in_words(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the layers as JSON values."""
        result: dict[str, Any] = plain(
            {
                "place": self.place,
                "model": self.model,
                "target": self.target,
                "unit": self.unit,
                "score": self.score,
                "sentence": self.sentence,
                "methods": self.methods,
                "baseline": self.baseline,
                "effects": [vars(effect) for effect in self.effects],
                "interactions": [{"of": [one, other], "interaction": value} for one, other, value in self.interactions],
                "date_attention": [{"date": name, "share": share} for name, share in self.attention],
                "neurons": self.neurons,
                "figures": self.figures,
                "notes": self.notes,
            }
        )
        return result


def explain_in_words(explanation: Explanation) -> str:
    """Say which inputs decided, with numbers."""
    where = "At the point" if explanation.is_point else "Over the box"
    mean = "" if explanation.is_point else "mean "
    number = f"{mean}{explanation.unit} {explanation.score:.3g}"
    parts = [f"{where} the model gives {explanation.target!r} the {number}."]
    for kind in ("sensor", "band", "date"):
        found = explanation.of_kind(kind)
        if found:
            parts.append(_kind_in_words(found, explanation.unit, explanation.is_point))
    return " ".join(parts)


def _kind_in_words(effects: Sequence[Effect], unit: str, is_point: bool) -> str:
    kind, first = effects[0].kind, effects[0]
    limit = NOTICEABLE if unit == "probability" else 0.0
    if not np.isfinite(first.size) or first.size <= limit:
        return f"No single {kind} decides: hiding any one changes the {unit} by at most {first.size:.2g}."
    named = [effect for effect in effects[:3] if effect.size > max(limit, 0.25 * first.size)]
    texts = [f"{effect.name} ({_change(effect, is_point)})" for effect in named]
    verb = "matters" if len(named) == 1 else "matter"
    return f"Of the {kind}s {_listed(texts)} {verb} most."


def _change(effect: Effect, is_point: bool) -> str:
    if is_point:
        return f"hiding it {'lowers' if effect.fall > 0 else 'raises'} the score by {abs(effect.fall):.2g}"
    return f"hiding it changes the score by {effect.size:.2g} on average"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
