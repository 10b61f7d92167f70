"""Channels-last memory for the arrays that have it: those of two-dimensional convolutions."""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def to_channels_last(module: Module) -> Module:
    """Store every four-dimensional weight and buffer with its channels last, in place.

    `Module.to(memory_format=torch.channels_last)` refuses networks with five-dimensional weights
    (three-dimensional convolutions), and moves the flat weights of recurrent layers apart; here both stay as
    they are.

    Args:
        module: Any network.

    Returns:
        The same module.
    """
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module
