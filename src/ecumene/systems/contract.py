"""A system: which network, objective and training protocol together make a published (or house) method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class PublishedFigure(BaseModel):
    """One figure of a paper, with the protocol that it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_set: str
    metric: str
    value: float
    protocol: str
    verified: bool = Field(description="False: quoted from memory or from second hand; no target.")


class System(BaseModel):
    """One way of getting from scenes and labels to a model, as data.

    Attributes:
        name: What `--system` takes.
        title: One line for people.
        task: Kind of output.
        reads: `image`: one date at a time, windows; `series`: all dates, per pixel; `pixel`: the bands
            (of all dates) of one pixel.
        kind: Who learns: a network, a forest, boosting.
        network: Name in the network registry (networks only).
        network_arguments: Its arguments but for channels and outputs.
        objective: Name in the objective registry.
        objective_arguments: Its arguments but for the legend.
        training: Overrides of `TrainingOptions` (networks; `max_steps` bounds the epochs of large sets) or
            arguments of the tree fit.
        patch_size: Side of training windows in pixels (1 for per-pixel systems).
        paper: Where the method was published.
        figures: What was published, with protocol.
        deviations: What differs from the publication.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    task: Literal["segmentation", "regression", "scene-classification", "multi-label"]
    reads: Literal["image", "series", "pixel"]
    kind: Literal["network", "forest", "boosting"]
    network: str | None = None
    network_arguments: dict[str, Any] = Field(default_factory=dict)
    objective: str = "segmentation"
    objective_arguments: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    patch_size: int = 1
    paper: str = ""
    figures: tuple[PublishedFigure, ...] = ()
    deviations: str = ""
