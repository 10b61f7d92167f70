"""What an objective is: the likelihood of one kind of output, its loss, metrics and prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.objectives.variance_map import VarianceMap

if TYPE_CHECKING:
    from torch import Tensor

UnitOfWork = Literal["pixel", "scene"]
Direction = Literal["min", "max"]


class Objective(ABC):
    """One kind of output.

    Two steps lead from a network's output to a map, so that overlapping windows can be blended in
    between: `moments` turns raw output into quantities that may be averaged linearly (probabilities;
    mean and second moment), and `from_moments` turns blended moments into a `Prediction`. `predict`
    does both. Both take NumPy arrays or tensors (array API), batch first, channels second.
    Modules that implement objectives must not import torch at module level.
    """

    name: ClassVar[str]
    unit_of_work: UnitOfWork

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Channels that the network must put out."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """Channels of `moments`."""

    @property
    def members(self) -> int:
        """Members of the predictive distribution.

        Raw output holds the base objective's channels once for each member, `[B, members * K, ...]`, member-major.
        """
        return 1

    @property
    def legend(self) -> Legend | None:
        """The classes, where the value is a class."""
        return None

    @property
    def positive_index(self) -> int | None:
        """Position of the class that is looked for, of two, and put out by a threshold; None: there is none."""
        return None

    @property
    def reads_observed(self) -> bool:
        """Whether the loss compares with the image as observed, beside its clear counterpart (cloudy images)."""
        return False

    @property
    def by_argmax(self) -> bool:
        """Whether the value of a class map is the class of the largest moment, the first of equal ones."""
        return True

    def decide(self, probability: Any) -> Any:
        """Return the class indices `[B, ...]` that a map shows of class probabilities `[B, K, ...]`.

        This is the one rule by which maps, accuracies, class sets and reports decide.
        """
        return arrays.argmax(probability)

    def looking_for(self, positive: str, threshold: float = 0.5) -> Objective:
        """Return the objective that puts out one of two classes where its probability is above a threshold.

        Args:
            positive: Name of that class.
            threshold: In (0, 1); one half is the more probable class.

        Raises:
            ConfigurationError: If there are not two classes, none is called so, or the threshold is out of range.
        """
        raise ConfigurationError(f"The objective {self.name!r} has no classes to decide between.")

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the mean loss over valid, labelled elements (0 with gradient where there is none)."""

    @abstractmethod
    def metrics(self) -> Any:
        """Return a fresh torchmetrics `MetricCollection` fed by `update_metrics`."""

    @abstractmethod
    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Update `metrics` with one batch."""

    @property
    @abstractmethod
    def monitor(self) -> tuple[str, Direction]:
        """Metric (key in `metrics`) for early stopping and the direction that is better."""

    @abstractmethod
    def moments(self, output: Any) -> Any:
        """Turn raw output `[B, n_outputs, ...]` into averageable moments `[B, n_moments, ...]`."""

    @abstractmethod
    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into the prediction."""

    def predict(self, output: Any) -> Prediction:
        """Return the prediction of raw output."""
        return self.from_moments(self.moments(output))

    def rescaled(self, variance_scale: float, variance_maps: Sequence[VarianceMap] | None = None) -> Objective:
        """Return the objective whose predicted variances carry this factor, or these maps, one a target.

        An objective that predicts no variance returns itself. Both are set and not multiplied, so that setting them
        again changes nothing; without maps, an earlier one is removed.
        """
        return self

    @abstractmethod
    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe the layers that `from_moments` gives, `value` and `uncertainty` first."""

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`, read back by `objectives.build_objective`."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`, whose keys but `name` are arguments."""
        arguments = {key: value for key, value in config.items() if key != "name"}
        if "legend" in arguments:
            arguments["legend"] = Legend.model_validate(arguments["legend"])
        return cls(**arguments)
