"""One step of the trainings that need no loop of a framework."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def descend(network: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, largest: float) -> float:
    """Take one step down the gradient and return the loss.

    Args:
        network: What learns.
        optimiser: Of its parameters.
        loss: With a gradient.
        largest: Longer gradients (Euclidean norm over all parameters) are shortened to this.
    """
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), largest)
    optimiser.step()
    return float(loss.detach())
