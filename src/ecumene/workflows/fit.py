"""Fits the learner that a system names, and turns it into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
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
from ecumene.models.row_features import RowFeatures
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
    from ecumene.samples.augmentation import Augmentation
    from ecumene.training.from_bundle import Beginning, Start
    from ecumene.training.options import TrainingOptions


Table = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Rows of features `[N, F]` and their classes `[N]`."""


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
    patch_size: int | None = None

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
            patch_size=self.patch_size,
            standardised=self.system.standardised,
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


def keep_model(model: Model, out: Path, *, onnx: bool = False) -> Model:
    """Write a finished model and delete the checkpoints of its training.

    Args:
        model: With its trust and figures.
        out: Folder of the bundle.
        onnx: Add `model.onnx`, to map without torch.

    Returns:
        The model as written.

    Raises:
        ModelError: If it cannot be exported, or what was written differs.
    """
    if onnx:
        from ecumene.models.export import export_onnx

        model = export_onnx(model)
    model.save(out)
    remove_training_files(out)
    return model


FEWEST_EPOCHS = 8
BY_SENSOR = "by sensor"
"""What a system says as `streams` of its network: one stream a sensor."""


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
    beginning: Beginning | None = None,
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
        beginning: Bundle whose weights a network begins with; None: it begins as the system says.

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
        options = training_options(system, len(data[Part.TRAIN]), seed, epochs, max_minutes)
        return fit_network_system(
            system, objective, inputs, data, options, uncertainty, folder, progress, initial=beginning
        )
    if beginning is not None:
        raise ConfigurationError(f"{system.name} is no network and cannot go on from a model; leave out --from.")
    return fit_rows(system, objective, inputs, len(stack.times), data, seed)


def training_options(
    system: System, samples: int, seed: int, epochs: int | None, max_minutes: float | None
) -> TrainingOptions:
    """Return the system's options of training, for a number of training samples, with what the user overrides.

    Raises:
        ConfigurationError: If an option is out of range.
    """
    from ecumene.training.options import TrainingOptions

    overrides: dict[str, Any] = dict(system.training) | {"seed": seed}
    steps = overrides.pop("max_steps", None)
    if epochs is not None:
        overrides["epochs"] = epochs
    elif steps is not None:
        overrides["epochs"] = epochs_within(steps, samples, overrides)
    if max_minutes is not None:
        overrides["max_time_s"] = 60.0 * max_minutes
    try:
        return TrainingOptions(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"The training option {first['loc'][0]} is wrong: {first['msg']}.") from error


def fit_network_system(
    system: System,
    objective: Objective,
    inputs: tuple[InputBand, ...],
    data: TrainingData,
    options: TrainingOptions,
    uncertainty: Uncertainty,
    folder: Path,
    progress: Progress,
    initial: Mapping[str, NDArray[Any]] | Beginning | None = None,
    frozen: Sequence[str] = (),
    augmentation: Augmentation | None = None,
) -> Fitted:
    """Fit the network of a system on the training part, stopped by the validation part.

    Args:
        system: What to fit.
        objective: What is learned.
        inputs: Bands with means and standard deviations.
        data: Patches, or images with one answer each.
        options: Of the training.
        uncertainty: How the network gets its members.
        folder: The bundle-to-be; logs and checkpoints go beside it.
        progress: Called with (epochs done, epochs, what).
        initial: Weights to begin with, by name (see `fit_network`), or a bundle to go on from.
        frozen: Beginnings of names of parameters that stay as they are.
        augmentation: Of the training samples; None: the usual one for the channels' units.

    Raises:
        EcumeneError: If the training cannot work.
    """
    from ecumene.core.optional import require

    require("lightning")
    from ecumene.networks import build_network
    from ecumene.samples.augmentation import augmentation_for
    from ecumene.training.fit_network import FitResult, fit_network

    name = system.network
    assert name is not None
    top = training_folder(folder)
    start = _start(system, name, objective, inputs, initial, frozen)

    def train(seed: int, place: Path, arguments: dict[str, Any]) -> FitResult:
        # The logs of all members stay together, where `remove_training_files` keeps them.
        logs = None if place == top else top / "logs" / place.name
        return fit_network(
            name,
            arguments,
            objective,
            data[Part.TRAIN],
            data[Part.VALIDATION],
            start.inputs,
            options=options.model_copy(update={"seed": seed, "log_dir": logs}),
            folder=place,
            augmentation=augmentation
            or augmentation_for(
                start.inputs,
                spatial=system.patch_size > 1 or system.reads == "scene",
                temporal=system.reads == "series",
            ),
            progress=progress,
            initial=start.state,
            frozen=start.frozen,
        )

    arguments = with_dropout(uncertainty, name, start.arguments)
    fitted = fit_members(
        uncertainty, system, arguments, objective, start.inputs, data, train, seed=options.seed, folder=top
    )
    network: Any = build_network(fitted.architecture["name"], pretrained=False, **fitted.architecture["arguments"])
    return Fitted(
        system=system,
        objective=fitted.objective,
        inputs=start.inputs,
        architecture=fitted.architecture,
        temporal=bool(network.temporal),
        stride=int(network.stride),
        margin=int(network.margin),
        weights=fitted.weights,
        booster=None,
        summary={
            **fitted.summary,
            **({"began_with": start.summary} if start.summary else {}),
            "options": options.model_dump(mode="json"),
        },
    )


def _start(
    system: System,
    name: str,
    objective: Objective,
    inputs: tuple[InputBand, ...],
    initial: Mapping[str, NDArray[Any]] | Beginning | None,
    frozen: Sequence[str],
) -> Start:
    """Return what the network begins with: a bundle, or the system's arguments and weights by name.

    Raises:
        ConfigurationError: If system and bundle read dates differently.
    """
    from ecumene.training.from_bundle import Beginning, Start, start_from

    if isinstance(initial, Beginning):
        if initial.model.spec.standardised != system.standardised:
            which = ("reads each date standardised by its own scene", "reads dates as they are")
            ours, theirs = which if system.standardised else which[::-1]
            raise ConfigurationError(
                f"{system.name} {ours}, but {initial.model.spec.name} {theirs}; name a --system that reads them "
                "the same way, or train from the beginning."
            )
        return start_from(initial, name, inputs, objective)
    arguments = {**system.network_arguments, "in_channels": len(inputs), "n_outputs": objective.n_outputs}
    if arguments.get("streams") == BY_SENSOR:
        arguments["streams"] = sensor_streams(inputs)
    return Start(arguments, inputs, dict(initial or {}), tuple(frozen))


def sensor_streams(inputs: Sequence[InputBand]) -> list[list[int]]:
    """Return the positions of each sensor's bands, sensors in the order in which they occur."""
    streams: dict[str, list[int]] = {}
    for position, band in enumerate(inputs):
        streams.setdefault(band.sensor, []).append(position)
    return list(streams.values())


def _pixel_table(patches: PatchSet, features: RowFeatures) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return rows `[N, F]` of single-pixel patches with NaN where something is missing, and class indices."""
    image = features.composed(patches.image)
    bands = image.reshape(len(image), -1, 1, 1).astype(np.float32)
    image = features.extended(bands, patches.channels)[..., 0, 0]
    target = patches.mask.reshape(len(patches)).astype(np.int64)
    keep = target != IGNORE
    return image[keep], target[keep]


def fit_rows(
    system: System, objective: Objective, inputs: tuple[InputBand, ...], dates: int, data: TrainingData, seed: int
) -> Fitted:
    """Fit trees or a support vector machine on the rows of the training part.

    Args:
        system: What to fit.
        objective: Classes.
        inputs: Bands with means and standard deviations.
        dates: Dates of a row.
        data: Single pixels.
        seed: Of everything random.
    """
    features = RowFeatures.from_config(system.row_features)
    chooses = "runs" in system.training  # others do not look at the validation part
    validation = _pixel_table(data[Part.VALIDATION], features) if chooses else None
    return fit_table(
        system, objective, inputs, dates, _pixel_table(data[Part.TRAIN], features), seed, validation=validation
    )


def fit_table(
    system: System,
    objective: Objective,
    inputs: tuple[InputBand, ...],
    dates: int,
    table: Table,
    seed: int,
    validation: Table | None = None,
) -> Fitted:
    """Fit trees or a support vector machine on rows of features `[N, F]` with their classes `[N]`.

    Args:
        system: What to fit.
        objective: Classes.
        inputs: Bands with means and standard deviations.
        dates: Dates of a row.
        table: Rows and classes.
        seed: Of everything random.
        validation: Rows and classes that choose among several forests, where the system grows several.
    """
    from ecumene.training.fit_svm import fit_svm
    from ecumene.training.fit_trees import best_forest, fit_boosting, fit_forest

    features, target = table
    learners: dict[str, Callable[..., str | dict[str, NDArray[Any]]]]
    learners = {"forest": fit_forest, "boosting": fit_boosting, "svm": fit_svm}
    summary: dict[str, Any] = {"pixels": len(target)}
    fitted: str | dict[str, NDArray[Any]]
    if "runs" in system.training:
        if validation is None:
            raise ConfigurationError(f"{system.name} chooses among forests and needs a validation part.")
        fitted, runs = best_forest(features, target, validation, objective.n_outputs, seed, **system.training)
        summary["validation_accuracy_of_runs"] = runs
    else:
        fitted = learners[system.kind](features, target, n_classes=objective.n_outputs, seed=seed, **system.training)
    return Fitted(
        system=system,
        objective=objective,
        inputs=inputs,
        architecture={
            "name": system.name,
            "arguments": {
                "n_features": features.shape[1],
                "n_dates": dates,
                **system.training,
                **({"features": system.row_features} if system.row_features else {}),
            },
        },
        temporal=dates > 1 or RowFeatures.from_config(system.row_features).yearly_median,
        stride=1,
        margin=0,
        weights={} if isinstance(fitted, str) else fitted,
        booster=fitted if isinstance(fitted, str) else None,
        summary=summary,
    )
