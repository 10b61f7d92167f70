"""What the benchmarks measured with a system, as packaged beside it; how it was trained stands in the protocol."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict


class MeasuredFigure(BaseModel):
    """One figure of ours.

    Attributes:
        system: Name of the system.
        data_set: On which it was measured.
        kind: `real` or `simulated` data.
        protocol: Name of the `BenchProtocol`, or how else it was measured.
        metric: As `indicators.scene_accuracy` names it.
        mean: Over the draws.
        standard_deviation: Of the draws; None of a single one.
        draws: How many.
        source: File in `benchmarks/results` that holds it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    data_set: str
    kind: str
    protocol: str
    metric: str
    mean: float
    standard_deviation: float | None
    draws: int
    source: str


@cache
def measured_figures() -> tuple[MeasuredFigure, ...]:
    """Return all packaged figures; empty where none was measured."""
    text = resources.files("ecumene.systems").joinpath("data/measured.json").read_text(encoding="utf-8")
    return tuple(MeasuredFigure.model_validate(entry) for entry in json.loads(text))


def measured_of(system: str) -> tuple[MeasuredFigure, ...]:
    """Return the packaged figures of one system."""
    return tuple(figure for figure in measured_figures() if figure.system == system)
