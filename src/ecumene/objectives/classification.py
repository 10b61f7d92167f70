"""One class out of several, for every pixel or for a scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.contract import Direction, Objective, UnitOfWork
from ecumene.objectives.prediction import LayerSpec, Prediction

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 1.0 / 250.0
"""Step of stored probabilities and entropies: 0..250 for 0..1, 255 for nodata."""


class Classification(Objective):
    """Categorical distribution over the classes of a legend.

    Moments are the class probabilities. The uncertainty is the entropy of the predictive distribution divided by
    its largest possible value ln K, so that 0 is sure and 1 knows nothing. One pass of one network does not tell
    which part of it more training data would remove, so that `aleatoric` and `epistemic` are absent.

    Args:
        legend: At least two classes; output channel i is `legend.classes[i]`.
        class_weights: Weight of each class in the cross-entropy, positive.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        dice_weight: Weight of the soft Dice loss beside the cross-entropy.
        positive: Of two classes the one that is looked for; None: none is.
        threshold: A `positive` is put out where its probability is above it; one half is the more probable class.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        legend: Legend,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        dice_weight: float = 0.0,
        positive: str | None = None,
        threshold: float = 0.5,
    ) -> None:
        if len(legend) < 2:
            raise ConfigurationError(
                f"A classification needs at least two classes, but the legend {legend.name!r} has {len(legend)}; "
                "add labels of another class."
            )
        if class_weights is not None:
            class_weights = tuple(float(weight) for weight in class_weights)
            if len(class_weights) != len(legend) or not all(0.0 < w < math.inf for w in class_weights):
                raise ConfigurationError(
                    f"class_weights must be {len(legend)} positive numbers, one a class, but are {list(class_weights)}."
                )
        if not 0.0 <= label_smoothing < 1.0 or not 0.0 <= dice_weight < math.inf:
            raise ConfigurationError(
                f"label_smoothing must be in [0, 1) and dice_weight not negative, but are {label_smoothing} "
                f"and {dice_weight}."
            )
        self._legend = legend
        self.class_weights = class_weights
        self.label_smoothing = float(label_smoothing)
        self.dice_weight = float(dice_weight)
        _check_decision(legend, positive, threshold)
        self.positive = positive
        self.threshold = float(threshold)

    @property
    def n_outputs(self) -> int:
        """One logit a class."""
        return len(self._legend)

    @property
    def n_moments(self) -> int:
        """One probability a class."""
        return len(self._legend)

    @property
    def legend(self) -> Legend:
        """The classes."""
        return self._legend

    @property
    def positive_index(self) -> int | None:
        """Position of the class that is looked for; None: there is none."""
        return None if self.positive is None else self._legend.names.index(self.positive)

    @property
    def by_argmax(self) -> bool:
        """Whether the value is the most probable class: no threshold but one half decides."""
        return self.positive is None or self.threshold == 0.5

    def looking_for(self, positive: str, threshold: float = 0.5) -> Self:
        """Return the objective that decides by a threshold, see `Objective.looking_for`."""
        return type(self).from_config({**self.to_config(), "positive": positive, "threshold": threshold})

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return cross-entropy (and Dice) over valid, labelled elements; see `losses.class_loss`.

        Args:
            output: Logits `[B, K, ...]`.
            target: Class indices `[B, ...]`, -1 unlabelled.
            valid: bool `[B, ...]`.
        """
        from ecumene.objectives.losses import class_loss

        return class_loss(output, target, valid, self.class_weights, self.label_smoothing, self.dice_weight)

    def metrics(self) -> Any:
        """Return `overall_accuracy`, `macro_f1` and `mean_iou` (classes that do not occur do not count)."""
        from ecumene.core.optional import require

        classification, number = require("torchmetrics").classification, len(self._legend)
        return require("torchmetrics").MetricCollection(
            {
                "overall_accuracy": classification.MulticlassAccuracy(num_classes=number, average="micro"),
                "macro_f1": classification.MulticlassF1Score(num_classes=number, average="macro"),
                "mean_iou": classification.MulticlassJaccardIndex(num_classes=number, average="macro"),
            }
        )

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the valid, labelled elements of one batch."""
        from ecumene.objectives.losses import select_classes

        logits, truth = select_classes(output, target, valid)
        if truth.numel() > 0:
            likely = logits.float()
            found = likely.argmax(dim=1) if self.by_argmax else self.decide(likely.softmax(dim=1))
            if self.positive_index == 0:  # binary measures count what is looked for as 1; the others do not care
                found, truth = 1 - found, 1 - truth
            metrics.update(found, truth)

    @property
    def monitor(self) -> tuple[str, Direction]:
        """Macro F1: rare classes count as much as frequent ones."""
        return "macro_f1", "max"

    def moments(self, output: Any) -> Any:
        """Turn logits into probabilities, `[B, K, ...]` both."""
        return arrays.softmax(arrays.as_float(output))

    def decide(self, probability: Any) -> Any:
        """Return class indices `[B, ...]` of probabilities `[B, K, ...]`: by the threshold, else the first largest."""
        index = self.positive_index
        if index is None or self.by_argmax:
            return arrays.argmax(probability)
        return arrays.namespace(probability).where(probability[:, index] > self.threshold, index, 1 - index)

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) probabilities `[B, K, ...]` into class codes, entropy and layers.

        The class is what `decide` says. The entropy is -sum p ln p / ln K, limited to [0, 1].
        """
        index = self.decide(moments)
        value = arrays.look_up(self._legend.values, index)
        entropy = arrays.clip(arrays.entropy(moments) / math.log(len(self._legend)), 0.0, 1.0)
        return Prediction(
            value=value,
            total=entropy,
            layers={"value": value[:, None], "uncertainty": entropy[:, None], "probability": moments},
            details={"class_index": index},
        )

    @property
    def _rule(self) -> str:
        if self.by_argmax:
            return "class of the largest probability"
        return f"{self.positive} where its probability is above {self.threshold:.4g}"

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe `value` (class codes), `uncertainty` (entropy) and `probability` (one band a class)."""
        return (
            LayerSpec(
                name="value",
                dtype="uint8",
                nodata=255,
                categorical=True,
                role="value",
                description=self._rule,
                band_names=("class",),
            ),
            LayerSpec(
                name="uncertainty",
                dtype="uint8",
                nodata=255,
                scale=SCALE,
                role="uncertainty",
                description="predictive entropy over ln K: 0 sure, 1 all classes alike",
                band_names=("entropy",),
                limits=(0.0, 1.0),
            ),
            LayerSpec(
                name="probability",
                dtype="uint8",
                nodata=255,
                scale=SCALE,
                role="probability",
                description="probability of each class",
                band_names=self._legend.names,
                limits=(0.0, 1.0),
            ),
        )

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {
            "name": self.name,
            "legend": self._legend.model_dump(mode="json"),
            "class_weights": None if self.class_weights is None else list(self.class_weights),
            "label_smoothing": self.label_smoothing,
            "dice_weight": self.dice_weight,
            **self._decision(),
        }

    def _decision(self) -> dict[str, Any]:
        """Return the arguments that say how classes are decided; none where it is the usual way."""
        return {} if self.positive is None else {"positive": self.positive, "threshold": self.threshold}


def _check_decision(legend: Legend, positive: str | None, threshold: float) -> None:
    if positive is not None and len(legend) != 2:
        raise ConfigurationError(
            f"A threshold decides between two classes, but the legend {legend.name!r} has {len(legend)}."
        )
    if positive is not None and positive not in legend.names:
        raise ConfigurationError(f"No class is called {positive!r}; there are {' and '.join(legend.names)}.")
    if not 0.0 < threshold < 1.0:
        raise ConfigurationError(f"The threshold must be in (0, 1), but is {threshold}.")
    if positive is None and threshold != 0.5:
        raise ConfigurationError("A threshold belongs to one class; say which is looked for.")


class Segmentation(Classification):
    """One class for every pixel: output `[B, K, H, W]`, target int `[B, H, W]`."""

    name: ClassVar[str] = "segmentation"
    unit_of_work: UnitOfWork = "pixel"


class SceneClassification(Classification):
    """One class for a whole scene: output `[B, K]`, target int `[B]`, `valid` of any pixels or of the scene."""

    name: ClassVar[str] = "scene-classification"
    unit_of_work: UnitOfWork = "scene"

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss over labelled scenes with any valid pixel; see `losses.class_loss`."""
        return super().loss(output, target, _of_scene(valid))

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the labelled scenes of one batch that have any valid pixel."""
        super().update_metrics(metrics, output, target, _of_scene(valid))


def _of_scene(valid: Tensor) -> Tensor:
    """Return whether any pixel of each scene is valid, `[B]`."""
    return valid.flatten(1).any(dim=1) if valid.ndim > 1 else valid
