"""Rare classes by the power Jaccard loss: the overlap of what is found and what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.core.errors import ConfigurationError
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
    them to be honest: they need calibration more than others, and of two classes a threshold (`looking_for`).

    Args:
        legend: Two classes or more.
        positive: Of two classes the one that is looked for; None: the second.
        threshold: See `Classification`.
        factor: f of the loss 1 - f (1 - power Jaccard), positive; with f = 2 it is the "Jaccard-like" loss of DS-UNet
            (Hafner et al. 2022, their released code), whose minimum is -1.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "jaccard-segmentation"

    def __init__(
        self, legend: Legend, positive: str | None = None, threshold: float = 0.5, factor: float = 1.0
    ) -> None:
        super().__init__(legend, positive=positive, threshold=threshold)
        if not factor > 0.0:
            raise ConfigurationError(f"The factor of the loss must be positive, but is {factor}.")
        if factor != 1.0 and len(legend) != 2:
            raise ConfigurationError(
                f"The factor {factor:g} is that of a loss for two classes, as changed and unchanged, but there are "
                f"{len(legend)}; merge them, or choose another system."
            )
        self.factor = float(factor)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the power Jaccard loss over valid, labelled elements.

        Args:
            output: Logits `[B, K, H, W]`.
            target: See the class.
            valid: bool `[B, H, W]`, or `[B, T, H, W]` for a series.
        """
        from ecumene.objectives.jaccard_losses import jaccard_loss

        found = self._found if len(self.legend) == 2 else 1
        return jaccard_loss(output, _answer(target), valid, positive=found, factor=self.factor)

    @property
    def _found(self) -> int:
        """Position of the class that is looked for, of two."""
        return 1 if self.positive_index is None else self.positive_index

    def metrics(self) -> Any:
        """Return those of a classification; with two classes `positive_f1` too, F1 of what is looked for."""
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
        """F1 of what is looked for, where there are two classes, else macro F1."""
        return ("positive_f1" if len(self.legend) == 2 else "macro_f1"), "max"

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        config = {"name": self.name, "legend": self.legend.model_dump(mode="json"), **self._decision()}
        return config if self.factor == 1.0 else {**config, "factor": self.factor}


def _answer(target: Tensor) -> Tensor:
    """Return the first of several maps of class indices; other targets as they are."""
    return target[:, 0] if target.ndim == 4 and not target.is_floating_point() else target
