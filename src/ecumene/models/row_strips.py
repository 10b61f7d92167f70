"""Work on a large image a few rows at a time: what is computed in between stays in the cache and takes no memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_PIXELS = 1 << 15


def stays_whole(image: Tensor) -> bool:
    """Whether an image `[..., H, W]` is better worked on at once.

    Strips are written into one tensor, which gradients, compilers and exporters do not like, and a GPU is slower for
    them.
    """
    traced = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return traced or image.device.type != "cpu" or image.shape[-2] * image.shape[-1] <= 2 * _PIXELS


def row_strips(image: Tensor) -> Iterator[slice]:
    """Yield the rows of one strip of an image `[..., H, W]` after the other, without overlap."""
    height, width = image.shape[-2:]
    step = max(1, _PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(height, start + step))
