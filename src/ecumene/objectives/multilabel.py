"""Several labels at once, each present or absent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.classification import SCALE
from ecumene.objectives.contract import Direction, Objective, UnitOfWork
from ecumene.objectives.prediction import LayerSpec, Prediction

if TYPE_CHECKING:
    from torch import Tensor


class MultiLabel(Objective):
    """Independent Bernoulli distributions of labels that a scene may have at the same time.

    Target `[B, K]` of 0, 1, or -1 where a label is unknown. Moments are the probabilities of presence; the
    uncertainty of a label is its binary entropy in bit, 0..1.

    Args:
        legend: The labels; output channel i is `legend.classes[i]`.
        positive_weights: Weight of each label's positive term in the loss.
        thresholds: Probability from which on a label counts as present, one a label; 0.5 if absent.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "multi-label"
    unit_of_work: UnitOfWork = "scene"

    def __init__(
        self,
        legend: Legend,
        positive_weights: Sequence[float] | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        number = len(legend)
        if number < 1:
            raise ConfigurationError("A multi-label objective needs at least one label in its legend.")
        weights = None if positive_weights is None else tuple(float(weight) for weight in positive_weights)
        limits = (0.5,) * number if thresholds is None else tuple(float(limit) for limit in thresholds)
        if weights is not None and (len(weights) != number or not all(0.0 < w < math.inf for w in weights)):
            raise ConfigurationError(f"positive_weights must be {number} positive numbers, one a label.")
        if len(limits) != number or not all(0.0 < limit < 1.0 for limit in limits):
            raise ConfigurationError(f"thresholds must be {number} numbers between 0 and 1, one a label.")
        self._legend = legend
        self.positive_weights = weights
        self.thresholds = limits

    @property
    def n_outputs(self) -> int:
        """One logit a label."""
        return len(self._legend)

    @property
    def n_moments(self) -> int:
        """One probability a label."""
        return len(self._legend)

    @property
    def legend(self) -> Legend:
        """The labels."""
        return self._legend

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the binary cross-entropy over known labels of scenes with any valid pixel."""
        from ecumene.objectives.losses import label_loss

        return label_loss(output, target, valid, self.positive_weights)

    def metrics(self) -> Any:
        """Return `macro_f1` and `accuracy`, each the mean over labels, and `micro_f1` over all labels of all scenes."""
        from ecumene.core.optional import require

        library, number = require("torchmetrics"), len(self._legend)
        return library.MetricCollection(
            {
                "macro_f1": library.classification.MultilabelF1Score(
                    num_labels=number, average="macro", ignore_index=-1
                ),
                "micro_f1": library.classification.MultilabelF1Score(
                    num_labels=number, average="micro", ignore_index=-1
                ),
                "accuracy": library.classification.MultilabelAccuracy(
                    num_labels=number, average="macro", ignore_index=-1
                ),
            }
        )

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the known labels of one batch."""
        from ecumene.objectives.losses import select_labels

        usable = select_labels(target, valid)
        if bool(usable.any()):
            present = output.float().sigmoid() >= arrays.per_channel(self.thresholds, output.float())
            metrics.update(present.long(), target.long().masked_fill(~usable, -1))

    @property
    def monitor(self) -> tuple[str, Direction]:
        """Macro F1."""
        return "macro_f1", "max"

    def moments(self, output: Any) -> Any:
        """Turn logits into probabilities of presence, `[B, K, ...]` both."""
        return arrays.sigmoid(arrays.as_float(output))

    def from_moments(self, moments: Any) -> Prediction:
        """Turn probabilities into 0/1 a label, binary entropy in bit a label, and layers."""
        value = arrays.as_uint8(moments >= arrays.per_channel(self.thresholds, moments))
        library, tiny = arrays.namespace(moments), 1e-30
        absent = 1.0 - moments
        entropy = -(
            moments * library.log(arrays.clip(moments, tiny, None))
            + absent * library.log(arrays.clip(absent, tiny, None))
        ) / math.log(2.0)
        entropy = arrays.clip(entropy, 0.0, 1.0)
        return Prediction(
            value=value,
            total=entropy,
            layers={"value": value, "uncertainty": entropy, "probability": moments},
        )

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe `value` (0/1), `uncertainty` (entropy in bit) and `probability`, one band a label each."""
        names = self._legend.names
        shared: dict[str, Any] = {"dtype": "uint8", "nodata": 255, "band_names": names, "limits": (0.0, 1.0)}
        return (
            LayerSpec(name="value", role="value", description="1 where a label is present, else 0", **shared),
            LayerSpec(
                name="uncertainty", role="uncertainty", scale=SCALE, description="binary entropy in bit", **shared
            ),
            LayerSpec(
                name="probability", role="probability", scale=SCALE, description="probability of presence", **shared
            ),
        )

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {
            "name": self.name,
            "legend": self._legend.model_dump(mode="json"),
            "positive_weights": None if self.positive_weights is None else list(self.positive_weights),
            "thresholds": list(self.thresholds),
        }
