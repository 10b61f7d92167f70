"""A system: which network, objective and training protocol together make a published (or house) method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SITES = "growth-sites"
"""Entry of `System.data_sets` of what learns from places at several dates."""


class PublishedFigure(BaseModel):
    """One figure of a paper, with the protocol that it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_set: str
    metric: str = Field(description="As `scene_metrics` names it, so that ours can stand beside it; else free text.")
    value: float
    protocol: str
    verified: bool = Field(description="False: quoted from memory or from second hand; no target.")
    bench: str = Field(default="", description="Name of the `BenchProtocol` that it belongs to; empty: of none.")


class BenchProtocol(BaseModel):
    """How `ecumene bench` divides the data, trains and measures.

    Attributes:
        name: Short and unique in a system, such as `random-80`.
        split: `official`: a split that the data set's files give; `random`: a share of the images of each class;
            `spatial`: the same, but images of one group (place) stay together.
        official: Name of the official split; empty: the data set's first.
        train_share: Share of the images that learns (of `random` and `spatial` splits); the rest is the test part.
        draws: Repetitions with different seeds.
        epochs: Of the training; None: the system's.
        metrics: What is shown, in this order; empty: all of the task.
        data_options: Overrides the system's `data_options`, such as another choice of bands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    split: Literal["official", "random", "spatial"] = "official"
    official: str = ""
    train_share: float = Field(default=0.8, gt=0, lt=1)
    draws: int = Field(default=5, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    metrics: tuple[str, ...] = ()
    data_options: dict[str, Any] = Field(default_factory=dict)


class System(BaseModel):
    """One way of getting from scenes and labels to a model, as data.

    Attributes:
        name: What `--system` takes.
        title: One line for people.
        task: Kind of output.
        reads: `image`: one date at a time, windows; `series`: all dates, per pixel; `pixel`: the bands
            (of all dates) of one pixel; `pair`: exactly two dates, windows; `scene`: a whole image, which gets one
            answer (forests and machines see statistics of its bands, `models.image_statistics`).
        kind: Who learns: a network, a forest, boosting, a support vector machine.
        network: Name in the network registry (networks only).
        network_arguments: Its arguments but for channels and outputs; `streams` may say `by sensor`.
        objective: Name in the objective registry.
        objective_arguments: Its arguments but for the legend.
        training: Overrides of `TrainingOptions` (networks; `max_steps` bounds the epochs of large sets) or
            arguments of the tree fit (forests: `runs` grows several and keeps the best of the validation part).
        row_features: What a row of a per-pixel system is made of: arguments of `models.row_features.RowFeatures`;
            empty: its bands, date after date.
        pretraining: How a network begins without labels: arguments of `training.reconstruction.learn_reconstruction`;
            empty: at random, or as its `encoder_weights` say.
        adversarial: How the network learns against discriminators: arguments of `training.adversarial`; empty: not so.
        standardised: Each date is brought to mean 0 and standard deviation 1 by its own pixels before anything else,
            all bands of a sensor together (networks that read pairs; see `scenes.standardised`).
        crops: How a `pair` system draws windows from whole regions: arguments of `samples.crops.CropSamples`.
        patch_size: Side of training windows in pixels (1 for per-pixel systems; of `scene` systems the published
            one, the data set's counts).
        data_sets: Names in the registry of data sets that the method was published on; the first is the default.
        data_options: Given to the data set when it is opened, such as `bands`.
        protocols: What `ecumene bench` runs; the first is the default.
        paper: Where the method was published.
        figures: What was published, with protocol.
        deviations: What differs from the publication.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    task: Literal["segmentation", "regression", "scene-classification", "multi-label", "restoration"]
    reads: Literal["image", "series", "pair", "pixel", "scene"]
    kind: Literal["network", "forest", "boosting", "svm"]
    network: str | None = None
    network_arguments: dict[str, Any] = Field(default_factory=dict)
    objective: str = "segmentation"
    objective_arguments: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    row_features: dict[str, Any] = Field(default_factory=dict)
    pretraining: dict[str, Any] = Field(default_factory=dict)
    adversarial: dict[str, Any] = Field(default_factory=dict)
    standardised: bool = False
    crops: dict[str, Any] = Field(default_factory=dict)
    patch_size: int = 1
    data_sets: tuple[str, ...] = ()
    data_options: dict[str, Any] = Field(default_factory=dict)
    protocols: tuple[BenchProtocol, ...] = ()
    paper: str = ""
    figures: tuple[PublishedFigure, ...] = ()
    deviations: str = ""

    @model_validator(mode="after")
    def _standardised_pairs(self) -> System:
        if self.standardised and (self.kind, self.reads) != ("network", "pair"):
            raise ValueError("only networks that read pairs of dates have them standardised by their own pixels")
        return self

    @property
    def of_sites(self) -> bool:
        """Whether it learns from places at several dates, some of them without labels."""
        return SITES in self.data_sets
