"""How a model gets its members: the option `--uncertainty`, and what it means for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.models.contract import InputBand
from ecumene.objectives import Members
from ecumene.objectives.contract import Objective
from ecumene.samples.contract import Part
from ecumene.systems import System
from ecumene.workflows.training_data import TrainingData

if TYPE_CHECKING:
    from ecumene.training.fit_network import FitResult

Method = Literal["single", "ensemble", "mc-dropout", "laplace", "augmentation"]
USUAL = {"single": 1, "ensemble": 4, "mc-dropout": 8, "laplace": 16, "augmentation": 8}
"""Members where the option names none."""
MOST = {"single": 1, "ensemble": 16, "mc-dropout": 64, "laplace": 64, "augmentation": 8}
DROPOUT = 0.1
"""Share of channels dropped, for a network whose system drops none."""
_SEED_STEP = 10_007


@dataclass(frozen=True)
class Uncertainty:
    """A way to get a predictive distribution of several members.

    Attributes:
        method: `single`: one network; `ensemble`: several trained apart; `mc-dropout`: one under fixed dropout
            masks; `laplace`: one with posterior samples of its last layer; `augmentation`: one in several orientations.
        members: How many.
    """

    method: Method = "single"
    members: int = 1


SINGLE = Uncertainty()


def parse_uncertainty(text: str) -> Uncertainty:
    """Read `method` or `method:members`, such as `ensemble:4`.

    Raises:
        ConfigurationError: If the method is unknown or the number out of its range.
    """
    name, colon, count = text.partition(":")
    if name not in get_args(Method):
        raise ConfigurationError(f"There is no --uncertainty {name!r}; there are: {', '.join(get_args(Method))}.")
    number = USUAL[name]
    if colon:
        number = int(count) if count.isascii() and count.isdigit() else 0
    least = 1 if name == "single" else 2
    if not least <= number <= MOST[name]:
        raise ConfigurationError(
            f"--uncertainty {name} takes {least} to {MOST[name]} members, as in {name}:{USUAL[name]}, not {count!r}."
        )
    return Uncertainty(name, number)  # type: ignore[arg-type]  # checked above


def check_uncertainty(uncertainty: Uncertainty, system: System) -> None:
    """Refuse what the system cannot do, before anything is trained.

    Raises:
        ConfigurationError: In one sentence.
    """
    if uncertainty.method == "single":
        return
    if system.kind != "network" or system.network is None:
        raise ConfigurationError(
            f"--uncertainty {uncertainty.method} needs a network, and {system.name} is none; choose another --system."
        )
    if "members" in system.network_arguments:
        raise ConfigurationError(f"{system.name} has members of its own; leave --uncertainty out.")
    if uncertainty.method == "augmentation" and system.patch_size == 1:
        raise ConfigurationError(
            f"{system.name} looks at single pixels, which have no orientation; choose another --uncertainty."
        )


@dataclass(frozen=True)
class MemberFit:
    """A network with members before it becomes a bundle.

    Attributes:
        architecture: Name in the registry and arguments.
        weights: Arrays by name.
        objective: Of the whole network.
        summary: For the card.
    """

    architecture: dict[str, Any]
    weights: Mapping[str, NDArray[Any]]
    objective: Objective
    summary: dict[str, Any]


Train = Callable[[int, Path, dict[str, Any]], "FitResult"]
"""(seed, folder, network arguments) to a trained network."""


def with_dropout(uncertainty: Uncertainty, network: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return network arguments under which the method can work: with dropout, where that is what is sampled.

    Raises:
        ConfigurationError: If the network knows no dropout.
    """
    if uncertainty.method != "mc-dropout":
        return arguments
    import inspect

    from ecumene.networks import network_class

    usual = inspect.signature(network_class(network)).parameters.get("dropout")
    if usual is None:
        raise ConfigurationError(f"The network {network!r} has no dropout to sample; choose another --uncertainty.")
    return arguments if arguments.get("dropout", usual.default) else {**arguments, "dropout": DROPOUT}


def fit_members(
    uncertainty: Uncertainty,
    system: System,
    arguments: dict[str, Any],
    objective: Objective,
    inputs: tuple[InputBand, ...],
    data: TrainingData,
    train: Train,
    *,
    seed: int,
    folder: Path,
) -> MemberFit:
    """Train the system's network as often as the method needs and put its members together.

    A training that was killed goes on at the member, and in the epoch, where it was interrupted.

    Args:
        uncertainty: The method.
        system: What is trained.
        arguments: Of its network, with channels and outputs of one member.
        objective: Of one member.
        inputs: Bands with means and standard deviations.
        data: Training and validation sets.
        train: Trains one network.
        seed: Of everything random; members of an ensemble take seeds derived from it, the first one itself.
        folder: For checkpoints.
    """
    assert system.network is not None
    if uncertainty.method == "ensemble":
        return _ensemble(uncertainty.members, system.network, arguments, objective, train, seed, folder)
    result = train(seed, folder, arguments)
    summary: dict[str, Any] = {
        "best_epoch": result.best_epoch,
        "epochs_done": len(result.history),
        "ended_by": result.ended_by,
        "seconds": round(result.seconds, 1),
    }
    if uncertainty.method == "single":
        return MemberFit({"name": system.network, "arguments": arguments}, result.state, objective, summary)
    summary["uncertainty"] = {"method": uncertainty.method, "members": uncertainty.members}
    mixture = Members(objective, uncertainty.members)
    if uncertainty.method == "laplace":
        from ecumene.training.last_layer import sample_last_layer

        enlarged, weights, found = sample_last_layer(
            system.network,
            arguments,
            result.state,
            objective,
            inputs,
            data[Part.TRAIN],
            data[Part.VALIDATION],
            members=uncertainty.members,
            seed=seed,
        )
        summary["uncertainty"] |= found
        return MemberFit({"name": system.network, "arguments": enlarged}, weights, mixture, summary)
    wrapped = _around(uncertainty.method, system.network, arguments, uncertainty.members)
    if uncertainty.method == "mc-dropout":
        wrapped["arguments"]["seed"] = seed
    state = {f"bases.0.{name}": array for name, array in result.state.items()}
    return MemberFit(wrapped, state | _masks(wrapped, state), mixture, summary)


def _around(wrapper: str, network: str, arguments: Mapping[str, Any], members: int) -> dict[str, Any]:
    """Return the architecture of a wrapper around a network."""
    own = {key: value for key, value in arguments.items() if key not in ("in_channels", "n_outputs")}
    return {
        "name": wrapper,
        "arguments": {
            "in_channels": arguments["in_channels"],
            "n_outputs": members * arguments["n_outputs"],
            "network": network,
            "arguments": own,
            "members": members,
        },
    }


def _masks(architecture: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return the arrays that a wrapper has beside its base network's."""
    from ecumene.networks import build_network

    network = build_network(architecture["name"], pretrained=False, **architecture["arguments"])
    return {name: tensor.numpy() for name, tensor in network.state_dict().items() if name not in state}


def _ensemble(
    members: int,
    network: str,
    arguments: dict[str, Any],
    objective: Objective,
    train: Train,
    seed: int,
    folder: Path,
) -> MemberFit:
    weights: dict[str, NDArray[Any]] = {}
    results: list[FitResult] = []
    for number in range(members):
        result = train(seed + _SEED_STEP * number, folder / f"member-{number}", arguments)
        weights |= {f"bases.{number}.{name}": array for name, array in result.state.items()}
        results.append(replace(result, state={}))
    summary = {
        "best_epoch": [result.best_epoch for result in results],
        "epochs_done": [len(result.history) for result in results],
        "ended_by": [result.ended_by for result in results],
        "seconds": round(sum(result.seconds for result in results), 1),
        "uncertainty": {"method": "ensemble", "members": members},
    }
    return MemberFit(_around("ensemble", network, arguments, members), weights, Members(objective, members), summary)
