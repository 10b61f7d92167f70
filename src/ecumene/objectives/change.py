"""Changed or not: one rare class that a loss of overlap learns and a chosen threshold decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.classification import Segmentation
from ecumene.objectives.contract import Direction

if TYPE_CHECKING:
    from torch import Tensor


class ChangeSegmentation(Segmentation):
    """Two classes, one of which is the change; loss of overlap, decision by a threshold on its probability.

    The loss is the "Jaccard-like" one of DS-UNet (Hafner et al. 2022, their released code), over all valid, labelled
    pixels of a batch: `1 - f sum(p t) / (sum p^2 + sum t^2 - sum(p t) + 1e-6)` with p the probability of change, t the
    truth and f = 2, so that its minimum is -1; f = 1 gives the power Jaccard loss. It does not care about the pixels
    that are neither changed nor called so, whatever their number. Its minimiser is no probability, which is why the
    threshold is chosen after the training and why calibration matters more than for a cross-entropy.

    Args:
        legend: Two classes.
        positive: Name of the class that is the change; None: not settled yet, see `settled`.
        threshold: A pixel is changed where the probability of change is above it.
        factor: f.

    Raises:
        ConfigurationError: If there are not two classes, none is called `positive`, or a number is out of range.
    """

    name: ClassVar[str] = "change"

    def __init__(
        self, legend: Legend, positive: str | None = None, threshold: float = 0.5, factor: float = 2.0
    ) -> None:
        super().__init__(legend)
        if len(legend) != 2:
            raise ConfigurationError(
                f"This system learns changed or not, but the labels have {len(legend)} classes; join them to two, or "
                "choose a system of several kinds of change, such as fc-siam-diff or recnn-lstm."
            )
        if positive is not None and positive not in legend.names:
            raise ConfigurationError(f"No class is called {positive!r}; there are {' and '.join(legend.names)}.")
        if not 0.0 < threshold < 1.0 or not factor > 0.0:
            raise ConfigurationError(
                f"The threshold must be in (0, 1) and the factor positive, but they are {threshold} and {factor}."
            )
        self.positive = positive
        self.threshold = float(threshold)
        self.factor = float(factor)

    @property
    def index(self) -> int:
        """Position of the class that is the change.

        Raises:
            ConfigurationError: If nobody has said which it is.
        """
        if self.positive is None:
            raise ConfigurationError("Nobody has said which class is the change; train the model by its system.")
        return self.legend.names.index(self.positive)

    @property
    def by_argmax(self) -> bool:
        """Whether the threshold is one half, so that the more probable class is the value."""
        return self.threshold == 0.5

    def settled(self, counts: Any) -> ChangeSegmentation:
        """Return the objective whose change is the class with fewer training pixels; itself where it is said.

        Args:
            counts: Pixels of both classes; of equally many the second one is the change.
        """
        if self.positive is not None:
            return self
        rare = 0 if int(counts[0]) < int(counts[1]) else 1
        return ChangeSegmentation(self.legend, self.legend.names[rare], self.threshold, self.factor)

    def with_threshold(self, threshold: float) -> ChangeSegmentation:
        """Return the objective that decides by another threshold."""
        return ChangeSegmentation(self.legend, self.positive, threshold, self.factor)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the Jaccard-like loss over valid, labelled pixels.

        Args:
            output: Logits `[B, 2, ...]`.
            target: Class indices `[B, ...]`, -1 unlabelled.
            valid: bool `[B, ...]`.
        """
        from ecumene.objectives.jaccard_losses import power_jaccard
        from ecumene.objectives.losses import nothing, select_classes

        logits, truth = select_classes(output, target, valid)
        if truth.numel() == 0:
            return nothing(output)
        probability = logits.float().softmax(dim=1)[:, self.index]
        return 1.0 - self.factor * (1.0 - power_jaccard(probability, (truth == self.index).float()))

    def metrics(self) -> Any:
        """Return `overall_accuracy`, and `change_f1`, `change_precision` and `change_recall` of the change."""
        from ecumene.core.optional import require

        binary = require("torchmetrics").classification
        return require("torchmetrics").MetricCollection(
            {
                "overall_accuracy": binary.BinaryAccuracy(),
                "change_f1": binary.BinaryF1Score(),
                "change_precision": binary.BinaryPrecision(),
                "change_recall": binary.BinaryRecall(),
            }
        )

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed what the threshold decides at the valid, labelled pixels of one batch."""
        from ecumene.objectives.losses import select_classes

        logits, truth = select_classes(output, target, valid)
        if truth.numel() > 0:
            called = logits.float().softmax(dim=1)[:, self.index] > self.threshold
            metrics.update(called.long(), (truth == self.index).long())

    @property
    def monitor(self) -> tuple[str, Direction]:
        """F1 of the change."""
        return "change_f1", "max"

    def decide(self, moments: Any) -> Any:
        """Return class indices `[B, ...]` of probabilities `[B, 2, ...]`."""
        if self.by_argmax:
            return super().decide(moments)
        changed = moments[:, self.index] > self.threshold
        index = self.index
        return arrays.namespace(moments).where(changed, index, 1 - index)

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {
            "name": self.name,
            "legend": self.legend.model_dump(mode="json"),
            "positive": self.positive,
            "threshold": self.threshold,
            "factor": self.factor,
        }
