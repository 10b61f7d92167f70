"""Trunks of image classifiers: ResNet-50, DenseNet-121, GoogLeNet and VGG-16 without their heads.

Tensors have the names of torchvision's networks, so that weights in safetensors files of either torchvision's or timm's
networks fit. `encoder_weights` of a network is None (random), `if-present` or the path of a safetensors file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.networks.initial_weights import IF_PRESENT, find_weights
from ecumene.networks.weights import load_encoder_weights

TRUNKS = {"resnet50": 2048, "densenet121": 1024, "googlenet": 1024, "vgg16": 512}
"""Trunks and the channels of their maps."""

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: maximum pooling
_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_GOOGLENET = (
    "conv1",
    "maxpool1",
    "conv2",
    "conv3",
    "maxpool2",
    *(f"inception3{letter}" for letter in "ab"),
    "maxpool3",
    *(f"inception4{letter}" for letter in "abcde"),
    "maxpool4",
    *(f"inception5{letter}" for letter in "ab"),
)


class Trunk(nn.Sequential):
    """Named layers one after the other; `[B, C, H, W]` to a map `[B, channels, H / s, W / s]`.

    Attributes:
        channels: Of the map.
        reduction: Pixels of the input for one of the map, s.
    """

    def __init__(self, layers: dict[str, nn.Module], channels: int, reduction: int) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.channels = channels
        self.reduction = reduction


def build_trunk(name: str, in_channels: int, *, fine: bool = False) -> Trunk:
    """Build a trunk with random weights.

    Args:
        name: One of `TRUNKS`.
        in_channels: Bands.
        fine: Leave out the last reduction, so that the map has 1/16 instead of 1/32 of the rows and columns.

    Returns:
        The trunk. Its first convolution takes `in_channels` bands.

    Raises:
        ConfigurationError: If there is no such trunk.
    """
    if name not in TRUNKS:
        raise ConfigurationError(f"There is no trunk {name!r}; there are: {', '.join(TRUNKS)}.")
    if fine and name == "densenet121":
        raise ConfigurationError("DenseNet-121 cannot leave out its last reduction; choose another trunk.")
    if name == "vgg16":
        layers: dict[str, nn.Module] = {"features": _vgg16(in_channels, fine)}
    else:
        models: Any = require("torchvision").models
        # GoogLeNet's own initialisation draws every weight twice as slowly for nothing: `_draw` comes after it.
        options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        network = getattr(models, name)(weights=None, **options)
        layers = {"resnet50": _resnet50, "googlenet": _googlenet, "densenet121": _densenet121}[name](
            network, in_channels, fine
        )
    trunk = Trunk(layers, TRUNKS[name], 16 if fine else 32)
    trunk.apply(_draw)
    return trunk


def _resnet50(network: Any, in_channels: int, fine: bool) -> dict[str, nn.Module]:
    network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    if fine:
        network.layer4[0].conv2.stride = (1, 1)
        network.layer4[0].downsample[0].stride = (1, 1)
    return {name: getattr(network, name) for name in _RESNET}


def _googlenet(network: Any, in_channels: int, fine: bool) -> dict[str, nn.Module]:
    network.conv1.conv = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return {name: getattr(network, name) for name in _GOOGLENET if not (fine and name == "maxpool4")}


def _densenet121(network: Any, in_channels: int, fine: bool) -> dict[str, nn.Module]:
    network.features.conv0 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return {"features": network.features}


def _vgg16(in_channels: int, fine: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = in_channels
    for width in _VGG16[:-1] if fine else _VGG16:
        if width == 0:
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
    return nn.Sequential(*layers)


def _draw(module: nn.Module) -> None:
    """Draw the weights of a layer as He et al. (2015) do, with fan-out."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def start_trunk(network: nn.Module, name: str, weights: str | None) -> None:
    """Load the weights that `encoder_weights` names into `network.encoder`.

    Args:
        network: Has the trunk as `encoder`.
        name: Of the trunk.
        weights: None, `if-present` or the path of a safetensors file.

    Raises:
        ConfigurationError: If `weights` is something else.
        ModelError: If the file is absent, damaged or of another architecture.
    """
    if weights is None:
        return
    found: Path | None = find_weights(name) if weights == IF_PRESENT else Path(os.path.expanduser(weights))
    if found is not None and found.suffix != ".safetensors":
        raise ConfigurationError(
            f"encoder_weights must be None, {IF_PRESENT!r} or a safetensors file, but is {weights!r}."
        )
    if found is not None:
        load_encoder_weights(network, found)


def resized(x: Tensor, side: int | None) -> Tensor:
    """Return `x` `[B, C, H, W]` on `side` x `side` pixels, bilinear; unchanged if it has them or `side` is None."""
    if side is None or x.shape[-2:] == (side, side):
        return x
    return torch.nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def check_side(side: int | None, least: int) -> None:
    """Refuse a side of the resized image that the trunk would reduce to nothing.

    Raises:
        ConfigurationError: If it is below `least`.
    """
    if side is not None and side < least:
        raise ConfigurationError(f"The side of the resized image must be at least {least} pixels, but is {side}.")
