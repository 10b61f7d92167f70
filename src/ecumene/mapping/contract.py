"""What the engine needs of a model, a calibration and an outlier detector.

Protocols, so that anything which executes batches in physical units can be mapped; `models.bundle.Model`
is the implementation that users meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ecumene.models.contract import Executor, ModelSpec
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.scenes.contract import Stack
from ecumene.trust.block_residuals import BlockResiduals


class MapCalibration(Protocol):
    """Adds layers (conformal sets, intervals) to a prediction."""

    @property
    def residuals(self) -> BlockResiduals | None:
        """What error bars of class areas rest on, for the Item."""

    def extra_layer_specs(self, objective: Objective) -> tuple[LayerSpec, ...]:
        """Describe the layers that `extra_layers` gives for this objective."""

    def extra_layers(self, prediction: Prediction) -> Mapping[str, Any]:
        """Return the layers by name, each `[B, bands, H, W]` in physical units or codes."""


class MapDetector(Protocol):
    """Knows above which score a pixel is flagged."""

    @property
    def threshold(self) -> float | None:
        """Scores greater than it are outliers; None before it was set on held-out data."""


class MapModel(Protocol):
    """A model as the engine sees it."""

    @property
    def spec(self) -> ModelSpec:
        """Inputs, window stride, margin, provenance."""

    @property
    def objective(self) -> Objective:
        """From raw output over averageable moments to layers."""

    @property
    def calibration(self) -> MapCalibration | None:
        """Layers on top of the objective's own."""

    @property
    def detector(self) -> MapDetector | None:
        """The outlier threshold; None: the product has no outlier layer."""

    @property
    def card(self) -> str:
        """The model card that goes with the product, as Markdown."""

    @property
    def checksum(self) -> str:
        """A SHA-256 over everything that decides the output: statement, weights, calibration, detector."""

    @property
    def cells(self) -> Mapping[str, int] | None:
        """What the Item states of a model that answers for cells of several pixels; None: it answers for pixels."""

    def match(self, stack: Stack) -> Stack:
        """Return the stack with this model's channels in its order, or raise `ContractError`."""

    def executor(self, backend: str, precision: str, threads: int | None) -> Executor:
        """Return a fresh executor."""
