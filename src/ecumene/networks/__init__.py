"""Architectures by name: tensors in, tensors out. This file is free of torch; building imports late."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require

if TYPE_CHECKING:
    from ecumene.networks.base import BaseNetwork

__all__ = [
    "WRAPPERS",
    "NetworkInfo",
    "build_network",
    "exact_dates",
    "list_networks",
    "network_class",
    "network_info",
    "network_module",
]


@dataclass(frozen=True)
class NetworkInfo:
    """What is known of an architecture before torch is imported.

    Attributes:
        name: Name in the registry and in a bundle.
        module: Dotted path of its module.
        class_name: Class in the module.
        temporal: True if it takes a series with dates.
        unit_of_work: Whether it answers for each pixel or for the whole scene.
        title: One line for people.
        dates: Dates that it needs exactly, all of them at every pixel; None: one, or of a series any number.
    """

    name: str
    module: str
    class_name: str
    temporal: bool
    unit_of_work: Literal["pixel", "scene"]
    title: str
    dates: int | None = None


_NETWORKS = {
    info.name: info
    for info in (
        NetworkInfo(
            "unet", "ecumene.networks.unet", "UNet", False, "pixel", "U-Net with an encoder of timm or smp, any bands"
        ),
        NetworkInfo(
            "unet-small", "ecumene.networks.unet_small", "UNetSmall", False, "pixel", "compact U-Net for small scenes"
        ),
        NetworkInfo(
            "ltae",
            "ecumene.networks.ltae",
            "LTAE",
            True,
            "pixel",
            "lightweight temporal attention on the series of a pixel",
        ),
        NetworkInfo(
            "fc-siam",
            "ecumene.networks.fc_siam",
            "FcSiam",
            True,
            "pixel",
            "change between two dates: early fusion or Siamese encoder with skip connections (FC-EF, FC-Siam)",
            dates=2,
        ),
        NetworkInfo(
            "recnn",
            "ecumene.networks.recurrent_change",
            "RecurrentChange",
            True,
            "pixel",
            "change between two dates: convolutions on small patches, recurrence over the dates (ReCNN)",
            dates=2,
        ),
        NetworkInfo(
            "dual-stream-unet",
            "ecumene.networks.dual_stream",
            "DualStreamUNet",
            True,
            "pixel",
            "change between two dates: one U-Net a sensor, fused before the head (DS-UNet)",
            dates=2,
        ),
        NetworkInfo(
            "mlp", "ecumene.networks.mlp", "PixelMLP", False, "pixel", "multi-layer perceptron on the bands of a pixel"
        ),
        NetworkInfo(
            "spectral-rnn",
            "ecumene.networks.spectral_recurrent",
            "SpectralRecurrent",
            False,
            "pixel",
            "recurrent network (GRU with PRetanh or tanh, LSTM) along the spectrum of a pixel",
        ),
        NetworkInfo(
            "spectral-cnn",
            "ecumene.networks.spectral_cnn",
            "SpectralCNN",
            False,
            "pixel",
            "convolution along the spectrum of a pixel",
        ),
        NetworkInfo(
            "residual-conv",
            "ecumene.networks.residual_deconv",
            "ResidualConvClassifier",
            False,
            "scene",
            "residual convolutions that may begin with what rebuilding patches has taught",
        ),
        NetworkInfo(
            "scene-resnet",
            "ecumene.networks.scene_classifier",
            "SceneClassifier",
            False,
            "scene",
            "timm backbone with global pooling, one answer a scene",
        ),
        NetworkInfo(
            "scene-cnn",
            "ecumene.networks.scene_cnn",
            "SceneCnn",
            False,
            "scene",
            "ResNet-50, DenseNet-121, GoogLeNet or VGG-16 on resized images, one answer a scene",
        ),
        NetworkInfo(
            "class-attention-rnn",
            "ecumene.networks.class_attention_rnn",
            "ClassAttentionRnn",
            False,
            "scene",
            "map of attention for each class and a (bidirectional) LSTM over the classes, for several labels",
        ),
        NetworkInfo(
            "attention-cnn",
            "ecumene.networks.attention_cnn",
            "AttentionCnn",
            False,
            "scene",
            "trunk with attention to places or channels before pooling, one answer a scene",
        ),
        NetworkInfo(
            "sen2lcz",
            "ecumene.networks.sen2lcz",
            "Sen2LczNet",
            False,
            "scene",
            "Sen2LCZ-Net, small convolutional network for local climate zones, with or without multi-level fusion",
        ),
        NetworkInfo(
            "settlement-lcz",
            "ecumene.networks.settlement_lcz",
            "SettlementLcz",
            False,
            "pixel",
            "settlement extent and local climate zones from one backbone, with attention for each task",
        ),
        NetworkInfo(
            "resnext",
            "ecumene.networks.resnext_cbam",
            "ResNeXt",
            False,
            "scene",
            "ResNeXt-29 for small patches, with or without block attention",
        ),
        NetworkInfo(
            "mimo-unet", "ecumene.networks.mimo_unet", "MIMOUNet", False, "pixel", "sub-networks that share one U-Net"
        ),
        NetworkInfo(
            "multimodal-unet",
            "ecumene.networks.multimodal_unet",
            "MultiModalUNet",
            False,
            "pixel",
            "radar and optical U-Net with late fusion; unlabelled places teach that both shall agree",
        ),
        NetworkInfo(
            "balanced-change-unet",
            "ecumene.networks.multimodal_unet",
            "BalancedChangeUNet",
            True,
            "pixel",
            "change between two dates from radar and optical streams that learn in balance",
            dates=2,
        ),
        NetworkInfo(
            "mmcr-change",
            "ecumene.networks.consistency_change",
            "ConsistencyChangeUNet",
            True,
            "pixel",
            "change between two dates and built-up ground, from labelled and unlabelled places",
            dates=2,
        ),
        NetworkInfo(
            "refined-series",
            "ecumene.networks.refined_series",
            "RefinedSeriesUNet",
            True,
            "pixel",
            "when a place was built, by features refined in time and a graph of dates (as many as its argument says)",
        ),
        NetworkInfo(
            "dsen2cr", "ecumene.networks.dsen2cr", "DSen2CR", False, "pixel", "residual network that removes clouds"
        ),
        NetworkInfo(
            "uncrtaints",
            "ecumene.networks.uncrtaints",
            "UnCRtainTS",
            True,
            "pixel",
            "UnCRtainTS: removes clouds from a series, with a variance of each pixel and band",
        ),
        NetworkInfo(
            "uncrtaints-mono",
            "ecumene.networks.uncrtaints",
            "UnCRtainTSMono",
            False,
            "pixel",
            "UnCRtainTS for one date",
        ),
        NetworkInfo(
            "utae-restoration",
            "ecumene.networks.utae_restoration",
            "UTAERestoration",
            True,
            "pixel",
            "U-TAE that removes clouds from a series, with a variance of each pixel and band",
        ),
        NetworkInfo(
            "cnn-3d",
            "ecumene.networks.temporal_cnn3d",
            "TemporalCNN3D",
            True,
            "pixel",
            "convolutions in space and time that remove clouds from a few dates",
        ),
        NetworkInfo(
            "date-blend",
            "ecumene.networks.date_blend",
            "DateBlend",
            True,
            "pixel",
            "fills the first date from the others, brought to its light and season",
        ),
        NetworkInfo(
            "pix2pix-unet",
            "ecumene.networks.pix2pix",
            "Pix2PixUNet",
            False,
            "pixel",
            "U-Net of pix2pix for images in [-1, 1], learned against a discriminator",
        ),
        NetworkInfo(
            "ensemble", "ecumene.networks.ensemble", "Ensemble", False, "pixel", "networks trained apart, side by side"
        ),
        NetworkInfo(
            "mc-dropout",
            "ecumene.networks.mc_dropout",
            "MCDropout",
            False,
            "pixel",
            "one network under several fixed dropout masks",
        ),
        NetworkInfo(
            "augmentation",
            "ecumene.networks.symmetries",
            "Augmentation",
            False,
            "pixel",
            "one network that sees an image in several orientations",
        ),
    )
}

WRAPPERS = ("ensemble", "mc-dropout", "augmentation")
"""Networks around another one, which their arguments name; series networks where that one is."""


def list_networks() -> tuple[NetworkInfo, ...]:
    """Return what is known of every architecture."""
    return tuple(_NETWORKS.values())


def network_info(name: str) -> NetworkInfo:
    """Return what is known of one architecture.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in _NETWORKS:
        near = difflib.get_close_matches(name, _NETWORKS, n=3) or sorted(_NETWORKS)
        raise ConfigurationError(f"There is no network {name!r}; did you mean {', '.join(near)}?")
    return _NETWORKS[name]


def exact_dates(architecture: Mapping[str, Any]) -> int | None:
    """Return the dates that a bundle's network needs exactly; None where it reads one, or any number of a series.

    Args:
        architecture: `name` and `arguments`, as a bundle has them; a wrapper needs what its inner network needs.
    """
    name, arguments = architecture.get("name"), architecture.get("arguments") or {}
    if name in WRAPPERS:
        name, arguments = arguments.get("network"), arguments.get("arguments") or {}
    info = _NETWORKS.get(str(name))
    if info is None or info.dates is not None:
        return None if info is None else info.dates
    said = arguments.get("dates") if info.temporal else None
    return said if isinstance(said, int) else None


def network_module(name: str) -> str:
    """Return the dotted path of the module that holds an architecture.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    return network_info(name).module


def network_class(name: str) -> type[BaseNetwork]:
    """Import an architecture's class (imports torch).

    Raises:
        ConfigurationError: If there is none of that name.
        MissingDependencyError: If torch is not installed.
    """
    info = network_info(name)
    require("torch")
    loaded: type[BaseNetwork] = getattr(importlib.import_module(info.module), info.class_name)
    return loaded


def build_network(name: str, /, *, pretrained: bool = True, **arguments: Any) -> BaseNetwork:
    """Build an architecture from JSON-able arguments.

    Args:
        name: Name in the registry.
        pretrained: False drops the argument `encoder_weights`, for rebuilding a network whose weights
            come from a bundle: the file or the download that its training began with is not needed then.
        **arguments: Arguments of the class; `in_channels` and `n_outputs` always.

    Returns:
        A module that keeps the `Network` contract.

    Raises:
        ConfigurationError: If the name or an argument is unknown, missing or out of range.
    """
    built = network_class(name)
    if not pretrained:
        arguments.pop("encoder_weights", None)
        inner = arguments.get("arguments")
        if isinstance(inner, dict):
            arguments["arguments"] = {key: value for key, value in inner.items() if key != "encoder_weights"}
    try:
        inspect.signature(built).bind(**arguments)
    except TypeError as error:
        accepted = ", ".join(inspect.signature(built).parameters)
        raise ConfigurationError(
            f"The network {name!r} takes other arguments ({error}); it takes: {accepted}."
        ) from error
    if name in WRAPPERS and not (isinstance(arguments["network"], str) and isinstance(arguments["arguments"], Mapping)):
        raise ConfigurationError(f"The network {name!r} needs the name and the arguments of the network inside.")
    for key in ("in_channels", "n_outputs"):
        value = arguments.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"The network {name!r} needs {key} as a positive integer, but got {value!r}.")
    return built(**arguments)
