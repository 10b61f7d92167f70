"""Inner activations of a network: which layers have them on a grid, and how they are overheard.

A tapped layer leaves its output on itself during a run, where it is picked up and removed at once. Taps hold no state
of their own, so that a copied network can be tapped too, and a traced one exports.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.trust.feature_choice import FeatureChoice

_HEARD = "_ecumene_heard"
_NAMED_IN_ERRORS = 12


@dataclass(frozen=True)
class InnerLayer:
    """A layer whose output is an image.

    Attributes:
        name: As in `named_modules`.
        channels: Of its output.
        factor: Pixels of the input on a side of one of its cells.
        block: Whether it consists of other layers.
    """

    name: str
    channels: int
    factor: int
    block: bool


def inner_layers(network: BaseNetwork, n_bands: int) -> dict[str, InnerLayer]:
    """Return the layers with an image output, in the order in which they are run; found by running a small image.

    Layers that are run more than once have no single output and are left out.

    Args:
        network: See `networks.contract.Network`; put into evaluation mode.
        n_bands: Channels of its input.
    """
    network.eval()
    stride = max(8, network.stride)
    height, width = 2 * stride, 3 * stride
    calls: Counter[str] = Counter()
    found: dict[str, InnerLayer] = {}

    def listener(name: str, layer: nn.Module) -> Any:
        def hear(_: nn.Module, __: Any, output: Any) -> None:
            calls[name] += 1
            if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[0] != 1:
                return
            channels, rows, columns = (int(size) for size in output.shape[1:])
            factor = height // rows if rows else 0
            if factor and rows * factor == height and columns * factor == width:
                found[name] = InnerLayer(name, channels, factor, any(True for _ in layer.children()))

        return hear

    handles = [
        layer.register_forward_hook(listener(name, layer)) for name, layer in network.named_modules() if name != ""
    ]
    try:
        with torch.no_grad():
            _run_zeros(network, n_bands, height, width)
    finally:
        for handle in handles:
            handle.remove()
    return {name: layer for name, layer in found.items() if calls[name] == 1}


def output_channels(network: BaseNetwork, n_bands: int) -> int:
    """Return the channels of a network's output, found by running a small image in evaluation mode."""
    network.eval()
    stride = max(8, network.stride)
    with torch.no_grad():
        return int(_run_zeros(network, n_bands, stride, stride).shape[1])


def _run_zeros(network: BaseNetwork, n_bands: int, height: int, width: int) -> Tensor:
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    forward: Any = network
    if network.temporal:
        valid = torch.ones(1, 2, height, width, dtype=torch.bool, device=device)
        image = torch.zeros(1, 2, n_bands, height, width, device=device)
        series: Tensor = forward(image, torch.tensor([[0.0, 30.0]], device=device), valid)
        return series
    output: Tensor = forward(torch.zeros(1, n_bands, height, width, device=device), None, None)
    return output


def chosen_layers(network: BaseNetwork, choice: FeatureChoice, n_bands: int) -> dict[str, InnerLayer]:
    """Return what is known about the inner layers of a choice.

    Raises:
        ConfigurationError: If the network has no such layer, or its output is not an image.
    """
    if not choice.layers:
        return {}
    known = inner_layers(network, n_bands)
    for name in choice.layers:
        if name not in known:
            blocks = [layer.name for layer in known.values() if layer.block] or list(known)
            raise ConfigurationError(
                f"The network has no layer {name[:80]!r} with an image output; choose one of "
                f"{', '.join(blocks[:_NAMED_IN_ERRORS])}."
            )
    return {name: known[name] for name in choice.layers}


def tap(network: nn.Module, name: str) -> None:
    """Make a layer leave its output for `heard`; a second tap changes nothing."""
    layer = network.get_submodule(name)
    if _leave not in layer._forward_hooks.values():
        layer.register_forward_hook(_leave)


def _leave(layer: nn.Module, _: Any, output: Tensor) -> None:
    # A copy, because activations that work in place would change it afterwards.
    layer.__dict__[_HEARD] = output.clone()


def heard(network: nn.Module, name: str) -> Tensor:
    """Return and forget what a tapped layer said in the last run, `[B, C, h, w]`."""
    output: Tensor = network.get_submodule(name).__dict__.pop(_HEARD)
    return output


def pool(x: Tensor, radius: int, pooling: str) -> Tensor:
    """Pool `[B, C, h, w]` over (2 radius + 1)^2 cells; cells outside of the window do not count."""
    if radius == 0:
        return x
    side = 2 * radius + 1
    if pooling == "max":
        return functional.max_pool2d(x, side, stride=1, padding=radius)
    return functional.avg_pool2d(x, side, stride=1, padding=radius, count_include_pad=False)


def grow(x: Tensor, factor: int) -> Tensor:
    """Repeat every cell of `[B, C, h, w]` `factor` times along both axes."""
    # One factor for both sides keeps the exported graph free of shape arithmetic.
    return x if factor == 1 else functional.interpolate(x, scale_factor=float(factor), mode="nearest")
