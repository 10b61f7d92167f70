"""What a model bundle states, and what executes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
"""Version of `model.json`'s ecumene part; a bundle with a higher one is refused."""


class InputBand(BaseModel):
    """One input channel that a model needs, in the order of its axis C.

    `mean`, `std` and the quantiles are in its unit, or where the model has dates standardised first
    (`ModelSpec.standardised`) in standard deviations of the scene from its mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    level: str
    band: str
    unit: str
    center_wavelength_um: float | None = None
    ground_sampling_m: float | None = None
    mean: float
    std: float = Field(gt=0)
    minimum: float | None = Field(None, description="0.1 % quantile of the training data, for the card.")
    maximum: float | None = None

    @property
    def key(self) -> str:
        """`sensor/band`, as `Channel.key`."""
        return f"{self.sensor}/{self.band}"


class ModelSpec(BaseModel):
    """Everything about a model but its weights (the ecumene part of `model.json`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    created: str = Field(description="UTC, ISO 8601")
    kind: Literal["network", "forest", "boosting", "svm"]
    architecture: dict[str, Any] = Field(description="For a network: {'name': ..., 'arguments': {...}}")
    objective: dict[str, Any] = Field(description="Objective.to_config()")
    inputs: tuple[InputBand, ...]
    temporal: bool = Field(description="True: a series [T,C,H,W] with dates; False: one image [C,H,W]")
    resolution_m: float = Field(gt=0)
    stride: int = 1
    margin: int = 0
    patch_size: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        exclude_if=lambda value: value is None,
        description="Rows and columns of the images that get one answer each; None: every pixel gets one",
    )
    standardised: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Each date is first brought to mean 0 and deviation 1 by its own pixels (scenes.standardised)",
    )
    calibration: dict[str, Any] = Field(default_factory=dict, description="trust.Calibration.to_config()")
    outlier: dict[str, Any] = Field(default_factory=dict, description="trust detector's to_config(); arrays in weights")
    training: dict[str, Any] = Field(default_factory=dict, description="provenance, accuracy, seeds, versions")
    licence: str = "proprietary"


class Executed(Protocol):
    """Raw results of one batch."""

    output: NDArray[np.float32]
    outlier_score: NDArray[np.float32]


class Executor(Protocol):
    """Runs a model on batches in physical units. One instance may be used by one thread at a time."""

    backend: str
    precision: str

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Execute one batch.

        Args:
            image: float32 `[B, C, H, W]`, or `[B, T, C, H, W]` for a temporal model; physical units;
                NaN where there is no data.
            dates: float32 `[B, T]` days since 1970-01-01, for temporal models.

        Returns:
            (output `[B, n_outputs, H, W]`, already scaled by the calibration where there is one; outlier score
            `[B, H, W]`, larger is stranger), float32, in whatever order they lie in memory. Values at invalid pixels
            are undefined but finite. A model with a `patch_size` takes images of that size and gives
            `[B, n_outputs, 1, 1]` and `[B, 1, 1]`.
        """


@runtime_checkable
class Sharing(Protocol):
    """An executor that can make others which share what it holds in memory."""

    def side_by_side(self, number: int) -> Sequence[Executor]:
        """Return `number` executors, this one among them, each for one thread at a time."""
