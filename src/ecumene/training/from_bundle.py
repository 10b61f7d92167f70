"""Fine-tuning: a training that begins with the weights of a bundle, for the same or other classes and bands.

What of a network depends on its classes (the head) or on its bands (the first layer) is found by building it twice,
with one more of each, and comparing shapes; so this holds for every architecture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand
from ecumene.networks import build_network
from ecumene.objectives import Members
from ecumene.objectives.contract import Objective

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Beginning:
    """A bundle to begin with.

    Attributes:
        model: A network without members.
        head_only: Learn the head alone; everything before it stays as it is (a linear probe, where the head is one
            linear layer).
        adapt_bands: Begin with an adapted first layer where the data have other bands.
    """

    model: Model
    head_only: bool = False
    adapt_bands: bool = False


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        arguments: Of the network.
        inputs: Bands; those of the bundle keep its means and standard deviations, which its weights are made for.
        state: Arrays by name; what is missing begins at random.
        frozen: Names of parameters that stay as they are.
        summary: What the card says of it.
    """

    arguments: dict[str, Any]
    inputs: tuple[InputBand, ...]
    state: dict[str, NDArray[Any]]
    frozen: tuple[str, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)


def _shapes(name: str, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build_network(name, pretrained=False, **arguments)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def depending_on(name: str, arguments: Mapping[str, Any], argument: str) -> tuple[str, ...]:
    """Return the names of a network's arrays whose shape changes with `n_outputs` or `in_channels`.

    Args:
        name: Of the network.
        arguments: Its arguments.
        argument: `n_outputs`, for the head, or `in_channels`, for the first layer.
    """
    one = _shapes(name, arguments)
    more = _shapes(name, {**arguments, argument: int(arguments[argument]) + 1})
    return tuple(key for key, shape in one.items() if more.get(key) != shape)


def _identity(band: InputBand) -> tuple[str, str, str, str]:
    return band.sensor, band.level, band.band, band.unit


def _check(model: Model) -> None:
    if model.spec.kind != "network":
        raise ConfigurationError(
            f"{model.spec.name} is a {model.spec.kind}, which cannot be trained on; begin with a network."
        )
    if isinstance(model.objective, Members):
        raise ConfigurationError(
            f"{model.spec.name} has {model.objective.members} members; begin with a model that was trained with "
            "--uncertainty single."
        )


def _bands(model: Model, inputs: Sequence[InputBand], adapt: bool) -> tuple[list[int | None], tuple[InputBand, ...]]:
    """Return where each band of the data is in the bundle (None: not there), and the bands to go on with."""
    known = {_identity(band): position for position, band in enumerate(model.spec.inputs)}
    positions = [known.get(_identity(band)) for band in inputs]
    if not adapt and (None in positions or len(inputs) != len(known)):
        reads = ", ".join(band.key for band in model.spec.inputs)
        have = ", ".join(band.key for band in inputs)
        raise ContractError(
            f"{model.spec.name} reads {reads} ({model.spec.inputs[0].level}), but the data have {have} "
            f"({inputs[0].level}); choose its bands, or adapt the first layer with --adapt-bands."
        )
    kept = [
        band
        if position is None
        else model.spec.inputs[position].model_copy(update={"minimum": band.minimum, "maximum": band.maximum})
        for band, position in zip(inputs, positions, strict=True)
    ]
    return positions, tuple(kept)


def _with_bands(weight: NDArray[Any], positions: Sequence[int | None]) -> NDArray[Any]:
    """Return the kernels `[out, bands, ...]` of a first layer for other bands.

    A known band keeps its kernels, a new one gets the mean of all. With more or fewer bands the sum is scaled by
    old / new, so that inputs of unit variance give activations of about the size they had.
    """
    mean = weight.mean(axis=1)
    columns = [mean if position is None else weight[:, position] for position in positions]
    scale = 1.0 if len(positions) == weight.shape[1] else weight.shape[1] / len(positions)
    return np.asarray(np.stack(columns, axis=1) * scale, weight.dtype)


def start_from(beginning: Beginning, network: str, inputs: Sequence[InputBand], objective: Objective) -> Start:
    """Return what a training on other data begins with.

    The head is kept where the classes are the same, in the same order; otherwise it begins at random.

    Args:
        beginning: The bundle, and how to go on.
        network: Name of the network that shall be trained; it must be the bundle's.
        inputs: Bands of the data with their statistics, which count for bands that the bundle does not know.
        objective: What shall be learned.

    Raises:
        ConfigurationError: If the bundle has no network of that name, or has members.
        ContractError: If the bands differ and shall not be adapted, or cannot be.
    """
    model = beginning.model
    _check(model)
    architecture = model.spec.architecture
    name, old = str(architecture["name"]), dict(architecture["arguments"])
    if name != network:
        raise ConfigurationError(
            f"{model.spec.name} is a {name}, but the system to train is a {network}; leave out --system, or name one "
            f"with {name}."
        )
    positions, bands = _bands(model, inputs, beginning.adapt_bands)
    if positions != list(range(len(model.spec.inputs))) and old.get("streams"):
        raise ContractError(
            f"The first layers of {model.spec.name} read streams of bands by position, which cannot be adapted to "
            "other bands; choose the bands it reads, in its order."
        )
    state = {key: np.asarray(value) for key, value in model.weights.items()}
    if positions != list(range(len(model.spec.inputs))):
        for key in depending_on(name, old, "in_channels"):
            if state[key].ndim < 2 or state[key].shape[1] != len(model.spec.inputs):
                raise ContractError(
                    f"The first layer of {model.spec.name} cannot be adapted to other bands; choose the bands it reads."
                )
            state[key] = _with_bands(state[key], positions)
    arguments = {**old, "in_channels": len(bands), "n_outputs": objective.n_outputs}
    arguments.pop("encoder_weights", None)
    head = depending_on(name, arguments, "n_outputs")
    same = _same_answers(model.objective, objective)
    if not same:
        state = {key: value for key, value in state.items() if key not in head}
    frozen = tuple(sorted(set(_shapes(name, arguments)) - set(head))) if beginning.head_only else ()
    new = [band.key for band, position in zip(bands, positions, strict=True) if position is None]
    summary = {
        "model": model.spec.name,
        "created": model.spec.created,
        "weights_sha256": weights_digest(model.weights),
        "head": "kept" if same else "new",
        "learned": "head" if beginning.head_only else "all",
        "new_bands": new,
    }
    return Start(arguments, bands, state, frozen, summary)


def _same_answers(old: Objective, new: Objective) -> bool:
    if old.name != new.name or old.n_outputs != new.n_outputs:
        return False
    names = [None if objective.legend is None else objective.legend.names for objective in (old, new)]
    return names[0] == names[1]


def weights_digest(weights: Arrays) -> str:
    """Return the SHA-256 of arrays with their names, in hex digits."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(name.encode() + str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
