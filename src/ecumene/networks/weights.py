"""Pretrained encoder weights from local files that cannot execute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError, ModelError

_PREFIXES = ("", "encoder.", "model.", "backbone.", "module.", "encoder.model.")


@dataclass(frozen=True)
class LoadedWeights:
    """What `load_encoder_weights` did.

    Attributes:
        loaded: Names of the encoder's tensors that were set from the file.
        adapted: Name of the first convolution if it was adapted to another number of bands.
        missing: Tensors of the encoder that the file lacks; they keep their initial values.
        unused: Tensors of the file that the encoder has no place for (classification heads and the like).
    """

    loaded: tuple[str, ...]
    adapted: str | None
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def adapt_first_convolution(weight: Tensor, in_channels: int) -> Tensor:
    """Adapt the kernels of a first convolution to another number of bands.

    With more bands the kernels are repeated in order (1 2 3 1 2 3 ...), each repetition with its share of the
    original's size, so that bands of equal content give what they gave before; with fewer bands the first ones
    are kept and scaled by old / new. The bands' meaning is not known here: fine-tuning learns it.

    Args:
        weight: `[out, old, kh, kw]`.
        in_channels: New number of bands.

    Returns:
        `[out, in_channels, kh, kw]`; the same values where the number does not change.
    """
    old = weight.shape[1]
    if old == in_channels:
        return weight
    position = torch.arange(in_channels) % old
    # Bands that are repeated unequally often share the weight of their original.
    repeats = torch.bincount(position, minlength=old).clamp(min=1).to(weight.dtype)
    adapted = weight[:, position] / repeats[position][None, :, None, None]
    if in_channels < old:
        adapted = adapted * (old / in_channels)
    return adapted


def load_encoder_weights(network: nn.Module, path: Path | str) -> LoadedWeights:
    """Load a safetensors file into `network.encoder`.

    Names are compared without the usual prefixes (`encoder.`, `model.`, `backbone.`, `module.`). The first
    convolution is adapted to the network's bands by `adapt_first_convolution`.

    Args:
        network: A network with an attribute `encoder`.
        path: A safetensors file, such as timm ships.

    Returns:
        Which tensors were set, adapted, missing, unused.

    Raises:
        ConfigurationError: If the network has no encoder.
        ModelError: If the file is absent, no safetensors file, or belongs to another architecture.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ConfigurationError(f"{type(network).__name__} has no encoder to load pretrained weights into.")
    tensors = _read_tensors(Path(path))
    state = encoder.state_dict()
    renamed = _match_names(tensors, state)
    parameters = {name for name, _ in encoder.named_parameters()}
    if len(parameters & set(renamed)) * 2 < len(parameters):
        raise ModelError(
            f"{Path(path).name} holds {len(parameters & set(renamed))} of the encoder's {len(parameters)} tensors; "
            "use weights of the same architecture."
        )
    first = _first_convolution(encoder)
    adapted: str | None = None
    for name, source in renamed.items():
        value = tensors[source]
        if name == first and value.ndim == 4 and value.shape[1] != state[name].shape[1]:
            value, adapted = adapt_first_convolution(value, state[name].shape[1]), name
        if value.shape != state[name].shape:
            raise ModelError(
                f"{Path(path).name} has {source} of shape {list(value.shape)}, but the encoder needs "
                f"{list(state[name].shape)}; use weights of the same architecture."
            )
        if not bool(torch.isfinite(value.float()).all()):
            raise ModelError(f"{Path(path).name} has values in {source} that are not finite; get the file again.")
        state[name] = value.to(state[name].dtype)
    encoder.load_state_dict(state)
    used = set(renamed.values())
    return LoadedWeights(
        loaded=tuple(sorted(renamed)),
        adapted=adapted,
        missing=tuple(sorted(set(state) - set(renamed))),
        unused=tuple(sorted(set(tensors) - used)),
    )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or say why it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(
            f"Pretrained weights are read from safetensors files only, and {path.name} is not one or does not exist; "
            "convert the file first."
        )
    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path.name} is damaged or not a safetensors file; get it again.") from error


def _match_names(tensors: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, str]:
    """Map names of the encoder to names in the file, ignoring prefixes on either side."""
    stripped: dict[str, str] = {}
    for source in tensors:
        for prefix in _PREFIXES:
            if source.startswith(prefix):
                stripped.setdefault(source[len(prefix) :], source)
    matched: dict[str, str] = {}
    for name in state:
        for prefix in _PREFIXES:
            if name.startswith(prefix) and name[len(prefix) :] in stripped:
                matched[name] = stripped[name[len(prefix) :]]
                break
    return matched


def _first_convolution(encoder: nn.Module) -> str | None:
    """Return the name of the first convolution's kernel."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d):
            return f"{name}.weight"
    return None
