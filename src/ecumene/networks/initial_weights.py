"""Which weights a trunk begins with, and what a model card says of them. Free of torch at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecumene.core.files import sha256_of

IF_PRESENT = "if-present"
"""Value of `encoder_weights` that takes ImageNet weights where they are on this machine, and random ones otherwise."""

FOLDER = "ECUMENE_WEIGHTS"
"""Environment variable: folder with `resnet50.safetensors`, `vgg16.safetensors` and so on."""

_HUB = {
    "resnet50": ("timm/resnet50.tv_in1k", "timm/resnet50.a1_in1k"),
    "densenet121": ("timm/densenet121.tv_in1k", "timm/densenet121.ra_in1k"),
    "vgg16": ("timm/vgg16.tv_in1k",),
}


def find_weights(trunk: str) -> Path | None:
    """Return the file with a trunk's ImageNet weights, if it is on this machine; nothing is downloaded.

    Looked at are the folder that the environment variable `ECUMENE_WEIGHTS` names, and the cache of the Hugging Face
    hub, where timm keeps its weights (a training on the same machine with timm's own weights puts them there).
    """
    folder = os.environ.get(FOLDER)
    if folder:
        own = Path(folder) / f"{trunk}.safetensors"
        if own.is_file():
            return own
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for name in _HUB.get(trunk, ()):
        found = try_to_load_from_cache(name, "model.safetensors")
        if isinstance(found, str):
            return Path(found)
    return None


def describe_start(arguments: Mapping[str, Any]) -> str | None:
    """Return a sentence about the weights that a network with these arguments begins with.

    Args:
        arguments: Of the network; the key `encoder_weights` decides.

    Returns:
        None if the network knows no such argument.
    """
    if "encoder_weights" not in arguments:
        return None
    chosen, trunk = arguments["encoder_weights"], str(arguments.get("trunk", arguments.get("encoder", "")))
    if chosen is None:
        return "The network began with random weights."
    if chosen == "timm":
        return f"The network began with timm's ImageNet weights of {trunk}."
    found = find_weights(trunk) if chosen == IF_PRESENT else Path(str(chosen))
    if found is None:
        return (
            f"The network began with random weights, because no ImageNet weights of {trunk} were found; put "
            f"{trunk}.safetensors into the folder that {FOLDER} names to begin with them, as published."
        )
    digest = sha256_of(found) if found.is_file() else "missing"
    return f"The network began with the weights of {trunk} in {found.name} (SHA-256 {digest})."
