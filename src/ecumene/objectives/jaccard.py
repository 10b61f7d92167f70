"""Rare classes by the power Jaccard loss: the overlap of what is found and what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.legends import Legend
from ecumene.objectives.classification import Segmentation
from ecumene.objectives.contract import Direction

if TYPE_CHECKING:
    from torch import Tensor


class JaccardSegmentation(Segmentation):
    """One class for every pixel, learned by the power Jaccard loss, see `jaccard_losses.jaccard_loss`.

    Targets are class indices `[B, H, W]`; or several maps `[B, M, H, W]`, of which the first is the answer and the
    others are for networks that say themselves how they learn; or class probabilities, float `[B, K, H, W]`.

    Everything else is as of `Segmentation`; the probabilities are those of a classifier, but this loss does not ask
    them to be honest: they need calibration more than others.

    Args:
        legend: Two classes or more; of two, the second is what is looked for.
    """

    name: ClassVar[str] = "jaccard-segmentation"

    def __init__(self, legend: Legend) -> None:
        super().__init__(legend)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the power Jaccard loss over valid, labelled elements.

        Args:
            output: Logits `[B, K, H, W]`.
            target: See the class.
            valid: bool `[B, H, W]`, or `[B, T, H, W]` for a series.
        """
        from ecumene.objectives.jaccard_losses import jaccard_loss

        return jaccard_loss(output, _answer(target), valid)

    def metrics(self) -> Any:
        """Return those of a classification; with two classes `positive_f1` too, F1 of the second one."""
        from ecumene.core.optional import require

        collected = super().metrics()
        if len(self.legend) == 2:
            collected.add_metrics({"positive_f1": require("torchmetrics").classification.BinaryF1Score()})
        return collected

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the valid, labelled elements of one batch."""
        super().update_metrics(metrics, output, _answer(target), valid)

    @property
    def monitor(self) -> tuple[str, Direction]:
        """F1 of the second of two classes, else macro F1."""
        return ("positive_f1" if len(self.legend) == 2 else "macro_f1"), "max"

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {"name": self.name, "legend": self.legend.model_dump(mode="json")}


def _answer(target: Tensor) -> Tensor:
    """Return the first of several maps of class indices; other targets as they are."""
    return target[:, 0] if target.ndim == 4 and not target.is_floating_point() else target
