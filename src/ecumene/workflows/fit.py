"""Fits the learner that a system names, and turns it into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import Members, build_objective
from ecumene.objectives.contract import Objective
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.statistics import channel_statistics
from ecumene.scenes.stack import SceneStack
from ecumene.systems import System
from ecumene.training.provenance import make_inputs
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import SINGLE, Uncertainty, check_uncertainty, fit_members, with_dropout

if TYPE_CHECKING:
    from ecumene.training.options import TrainingOptions


@dataclass(frozen=True)
class Fitted:
    """A fitted learner before it becomes a bundle."""

    system: System
    objective: Objective
    inputs: tuple[InputBand, ...]
    architecture: dict[str, Any]
    temporal: bool
    stride: int
    margin: int
    weights: Mapping[str, NDArray[Any]]
    booster: str | None
    summary: dict[str, Any]

    def to_model(self, *, name: str, created: str, resolution_m: float, training: dict[str, Any]) -> Model:
        """Return the model without calibration and outlier detector."""
        spec = ModelSpec(
            name=name,
            created=created,
            kind=self.system.kind,
            architecture=self.architecture,
            objective=self.objective.to_config(),
            inputs=self.inputs,
            temporal=self.temporal,
            resolution_m=resolution_m,
            stride=self.stride,
            margin=self.margin,
            training=training,
        )
        return Model(spec=spec, objective=self.objective, weights=dict(self.weights), booster=self.booster)


def training_folder(out: Path) -> Path:
    """Return where checkpoints and logs of the bundle-to-be `out` are kept while it is trained."""
    return out.parent / f".{out.name}.training"


def remove_training_files(out: Path) -> None:
    """Delete the checkpoints of a finished training; its logs stay beside the bundle as `<out>-logs`."""
    folder = training_folder(out)
    if not folder.is_dir():
        return
    logs, kept = folder / "logs", out.parent / f"{out.name}-logs"
    if logs.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        logs.replace(kept)
    shutil.rmtree(folder, ignore_errors=True)


FEWEST_EPOCHS = 8


def epochs_within(steps: int, samples: int, training: Mapping[str, Any]) -> int:
    """Return the system's epochs, or fewer, so that `steps` batches are not exceeded by far.

    Small training sets need many epochs for enough steps; large ones would train for hours with as many.

    Args:
        steps: Wanted steps at most (but for `FEWEST_EPOCHS` epochs).
        samples: Training samples.
        training: The system's `epochs` and `batch_size`.
    """
    an_epoch = -(-samples // int(training["batch_size"]))
    return min(int(training["epochs"]), max(FEWEST_EPOCHS, round(steps / max(1, an_epoch))))


def class_objective(system: System, legend: Legend) -> Objective:
    """Return the objective of a system that learns classes; that of its members, where it has members of its own."""
    objective = build_objective(
        {"name": system.objective, "legend": legend.model_dump(mode="json"), **system.objective_arguments}
    )
    return with_own_members(system, objective)


def with_own_members(system: System, objective: Objective) -> Objective:
    """Return the mixture of a system's sub-networks, each with this objective; itself where it has none."""
    members = system.network_arguments.get("members")
    return objective if members is None else Members(objective, int(members))


def fit_system(
    system: System,
    stack: SceneStack,
    objective: Objective,
    data: TrainingData,
    *,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    folder: Path,
    progress: Progress,
    uncertainty: Uncertainty = SINGLE,
) -> Fitted:
    """Fit the system's network or trees.

    Args:
        system: What to fit.
        stack: For channels and number of dates.
        objective: What is learned.
        data: Training and validation sets.
        seed: Of everything random.
        epochs: Overrides the system's number.
        max_minutes: Time limit of the training.
        folder: The bundle-to-be; logs and checkpoints go beside it.
        progress: Called with (done, total, what).
        uncertainty: How a network gets its members.

    Returns:
        The fitted learner.

    Raises:
        ConfigurationError: If an option is wrong, or the system cannot learn this objective.
    """
    check_uncertainty(uncertainty, system)
    if objective.legend is None and system.kind != "network":
        raise ConfigurationError(
            f"{system.name} learns classes only; choose a network for numbers, such as unet-small."
        )
    inputs = make_inputs(stack.channels, channel_statistics(data[Part.TRAIN]))
    if system.kind == "network":
        options = _options(system, data, seed, epochs, max_minutes)
        return _fit_network(system, objective, inputs, data, options, uncertainty, folder, progress)
    return _fit_trees(system, objective, inputs, len(stack.times), data, seed)


def _options(
    system: System, data: TrainingData, seed: int, epochs: int | None, max_minutes: float | None
) -> TrainingOptions:
    """Return the system's options of training with what the user overrides."""
    from ecumene.training.options import TrainingOptions

    overrides: dict[str, Any] = dict(system.training) | {"seed": seed}
    steps = overrides.pop("max_steps", None)
    if epochs is not None:
        overrides["epochs"] = epochs
    elif steps is not None:
        overrides["epochs"] = epochs_within(steps, len(data[Part.TRAIN]), overrides)
    if max_minutes is not None:
        overrides["max_time_s"] = 60.0 * max_minutes
    try:
        return TrainingOptions(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"The training option {first['loc'][0]} is wrong: {first['msg']}.") from error


def _fit_network(
    system: System,
    objective: Objective,
    inputs: tuple[InputBand, ...],
    data: TrainingData,
    options: TrainingOptions,
    uncertainty: Uncertainty,
    folder: Path,
    progress: Progress,
) -> Fitted:
    from ecumene.core.optional import require

    require("lightning")
    from ecumene.networks import build_network
    from ecumene.samples.augmentation import augmentation_for
    from ecumene.training.fit_network import FitResult, fit_network

    name = system.network
    assert name is not None

    top = training_folder(folder)

    def train(seed: int, place: Path, arguments: dict[str, Any]) -> FitResult:
        # The logs of all members stay together, where `remove_training_files` keeps them.
        logs = None if place == top else top / "logs" / place.name
        return fit_network(
            name,
            arguments,
            objective,
            data[Part.TRAIN],
            data[Part.VALIDATION],
            inputs,
            options=options.model_copy(update={"seed": seed, "log_dir": logs}),
            folder=place,
            augmentation=augmentation_for(inputs, spatial=system.patch_size > 1, temporal=system.reads == "series"),
            progress=progress,
        )

    arguments = {**system.network_arguments, "in_channels": len(inputs), "n_outputs": objective.n_outputs}
    fitted = fit_members(
        uncertainty,
        system,
        with_dropout(uncertainty, name, arguments),
        objective,
        inputs,
        data,
        train,
        seed=options.seed,
        folder=top,
    )
    network: Any = build_network(fitted.architecture["name"], pretrained=False, **fitted.architecture["arguments"])
    return Fitted(
        system=system,
        objective=fitted.objective,
        inputs=inputs,
        architecture=fitted.architecture,
        temporal=bool(network.temporal),
        stride=int(network.stride),
        margin=int(network.margin),
        weights=fitted.weights,
        booster=None,
        summary={**fitted.summary, "options": options.model_dump(mode="json")},
    )


def _pixel_table(patches: PatchSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Flatten single-pixel patches to `[N, T*C]` with NaN where a date is missing, and class indices."""
    image = patches.image.reshape(len(patches), -1).astype(np.float32)
    target = patches.mask.reshape(len(patches)).astype(np.int64)
    keep = target != IGNORE
    return image[keep], target[keep]


def _fit_trees(
    system: System, objective: Objective, inputs: tuple[InputBand, ...], dates: int, data: TrainingData, seed: int
) -> Fitted:
    from ecumene.training.fit_trees import fit_boosting, fit_forest

    features, target = _pixel_table(data[Part.TRAIN])
    fit = fit_forest if system.kind == "forest" else fit_boosting
    fitted = fit(features, target, n_classes=objective.n_outputs, seed=seed, **system.training)
    return Fitted(
        system=system,
        objective=objective,
        inputs=inputs,
        architecture={
            "name": system.name,
            "arguments": {"n_features": features.shape[1], "n_dates": dates, **system.training},
        },
        temporal=dates > 1,
        stride=1,
        margin=0,
        weights={} if isinstance(fitted, str) else fitted,
        booster=fitted if isinstance(fitted, str) else None,
        summary={"pixels": len(target)},
    )
