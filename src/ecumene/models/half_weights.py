"""Keeps weights in bfloat16 where a network that computes in bfloat16 would round them in every run anyway.

Under autocast, torch rounds the weights of convolutions and linear layers each time they are used. Rounded once they
take half the memory, the rounding takes no time, and the results are the same bits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_ROUNDED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


def round_weights(module: Module, run: Callable[[Module], tuple[Tensor, ...]]) -> Module:
    """Return the module with the weights of its convolutions and linear layers in bfloat16.

    Args:
        module: In evaluation mode; it is not changed.
        run: Executes a module on a probe in bfloat16 (autocast) and returns tensors.

    Returns:
        A copy that gives the same bits on the probe; the module itself where there is none, because a layer computes
        in float32 or its weights are read by something else.
    """
    rounded = copy.deepcopy(module)
    for layer in rounded.modules():
        if type(layer) in _ROUNDED:
            layer.to(torch.bfloat16)
    try:
        same = all(map(torch.equal, run(module), run(rounded)))
    except RuntimeError:  # a layer that computes in float32 meets weights in bfloat16
        return module
    return rounded if same else module
