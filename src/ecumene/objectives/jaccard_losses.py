"""Power Jaccard loss on tensors. Imported late: it needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ecumene.objectives.losses import nothing, spatial_valid
from ecumene.samples.contract import IGNORE

SMALLEST = 1e-6


def power_jaccard(probability: Tensor, target: Tensor) -> Tensor:
    """Return 1 - sum(p t) / (sum p^2 + sum t^2 - sum(p t) + 1e-6) along the first axis.

    Duque-Arias et al. (VISAPP 2021), "On power Jaccard losses for semantic segmentation", with power 2; the small
    number as in the code of Hafner, Ban, Nascetti (2022). It is 0 where both agree and are 0 or 1, and has no gradient
    where nothing is expected.

    Args:
        probability: `[N, ...]` in 0..1.
        target: The same shape, in 0..1, hard or soft.
    """
    both = (probability * target).sum(dim=0)
    union = probability.square().sum(dim=0) + target.square().sum(dim=0) - both
    return 1.0 - both / (union + SMALLEST)


def jaccard_loss(output: Tensor, target: Tensor, valid: Tensor, *, positive: int = 1, factor: float = 1.0) -> Tensor:
    """Return 1 - f (1 - J) with the power Jaccard loss J over all valid, labelled elements of a batch together.

    Of two classes, that of `positive`; of more, the mean over the classes that occur.

    Args:
        output: Logits `[B, K, ...]`.
        target: Class indices `[B, ...]`, -1 unlabelled; or probabilities, float `[B, K, ...]`.
        valid: bool `[B, ...]`, or `[B, T, ...]` for a series.
        positive: Of two classes the one that counts.
        factor: f.
    """
    soft = target.is_floating_point()
    usable = spatial_valid(valid, target.ndim - 1 if soft else target.ndim)
    if not soft:
        usable = usable & (target != IGNORE)
    if not bool(usable.any()):
        return nothing(output)
    probability = output.movedim(1, -1)[usable].float().softmax(dim=1)
    if soft:
        wanted = target.movedim(1, -1)[usable].float()
    else:
        wanted = torch.nn.functional.one_hot(target[usable].long(), output.shape[1]).float()
    if output.shape[1] == 2:
        loss = power_jaccard(probability[:, positive], wanted[:, positive])
    else:
        loss = power_jaccard(probability, wanted)[wanted.sum(dim=0) > 0].mean()
    return 1.0 - factor * (1.0 - loss)
