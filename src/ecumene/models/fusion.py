"""Folds batch normalisation into the convolution before it, where that changes nothing but rounding.

At execution a batch normalisation is a fixed scale and shift of each channel, so that

    gamma (W x + b - mean) / sqrt(var + eps) + beta  =  (s W) x + (s (b - mean) + beta),  s = gamma / sqrt(var + eps)

saves one pass over memory a layer. Which normalisation follows which convolution is observed in one run, not guessed
from names, and a network that then answers differently is left as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

TOLERANCE = 1e-4
"""Largest difference that folding may make, relative to the largest result (at least 1)."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(module: Module, run: Callable[[Module], tuple[Tensor, ...]]) -> Module:
    """Return the module with its batch normalisations folded, or the module itself if there are none to fold.

    Args:
        module: In evaluation mode; it is not changed.
        run: Executes a module on a probe and returns tensors.

    Returns:
        A copy with fewer layers whose results on the probe are the same up to rounding.
    """
    if not any(type(layer) in _NORMALISATIONS for layer in module.modules()):
        return module
    folded = copy.deepcopy(module)
    with torch.no_grad():
        pairs = _pairs(folded, run)
        names = {layer: name for name, layer in folded.named_modules()}
        for convolution, normalisation in pairs:
            _fold(convolution, normalisation)
            parent, _, child = names[normalisation].rpartition(".")
            setattr(folded.get_submodule(parent), child, nn.Identity())
        if not pairs or not _alike(run(module), run(folded)):
            return module
    return folded


def _pairs(module: Module, run: Callable[[Module], tuple[Tensor, ...]]) -> list[tuple[Any, Any]]:
    """Return (convolution, normalisation) where the one's result is the other's argument, each called once."""
    made: dict[int, nn.Module] = {}
    kept: list[Tensor] = []  # alive, so that no two results share an id
    calls: dict[nn.Module, int] = {}
    readers: dict[nn.Module, list[nn.Module]] = {}

    def after(layer: nn.Module, inputs: Any, output: Any) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if type(layer) in _CONVOLUTIONS:
            made[id(output)] = layer
            kept.append(output)
        elif inputs and id(inputs[0]) in made:
            readers.setdefault(made[id(inputs[0])], []).append(layer)

    # A layer that somebody else listens to keeps its meaning.
    heard = [layer for layer in module.modules() if type(layer) in (*_CONVOLUTIONS, *_NORMALISATIONS)]
    heard = [layer for layer in heard if not layer._forward_hooks and not layer._forward_pre_hooks]
    handles = [layer.register_forward_hook(after) for layer in heard]
    try:
        run(module)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (convolution, found[0])
        for convolution, found in readers.items()
        if len(found) == 1 and calls[convolution] == calls[found[0]] == 1 and _foldable(convolution, found[0])
    ]


def _foldable(convolution: Any, normalisation: Any) -> bool:
    same = convolution.out_channels == normalisation.num_features
    return bool(same and normalisation.running_mean is not None and not normalisation.training)


def _fold(convolution: Any, normalisation: Any) -> None:
    """Put scale and shift into the convolution, in double precision."""
    mean, variance = normalisation.running_mean.double(), normalisation.running_var.double()
    scale = torch.rsqrt(variance + normalisation.eps)
    shift = torch.zeros_like(mean)
    if normalisation.affine:
        scale, shift = scale * normalisation.weight.double(), normalisation.bias.double()
    bias = 0.0 if convolution.bias is None else convolution.bias.double()
    weight = convolution.weight.double() * scale.view(-1, *[1] * (convolution.weight.ndim - 1))
    kind = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    convolution.bias = nn.Parameter((scale * (bias - mean) + shift).to(kind), requires_grad=False)


def _alike(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    for wanted, found in zip(first, second, strict=True):
        limit = TOLERANCE * max(1.0, float(wanted.abs().max()))
        if wanted.shape != found.shape or not float((wanted - found).abs().max()) <= limit:
            return False
    return True
