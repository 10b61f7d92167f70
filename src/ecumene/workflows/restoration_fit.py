"""Fits a system that removes clouds, and turns it into a bundle with honest error bars."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.optional import require
from ecumene.core.progress import Progress
from ecumene.models.bundle import Model
from ecumene.objectives import Objective, build_objective
from ecumene.samples.contract import Part
from ecumene.samples.restoration_scaling import get_scaling, scaled_statistics
from ecumene.samples.restoration_set import RestorationSamples
from ecumene.systems import System
from ecumene.training.provenance import make_inputs
from ecumene.workflows.fit import Fitted, fit_network_system, training_folder, training_options
from ecumene.workflows.restoration_data import missing_parts, value_range
from ecumene.workflows.restoration_statement import STATEMENT, state, target_date
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import SINGLE, Uncertainty, check_uncertainty

if TYPE_CHECKING:
    from ecumene.models.contract import InputBand
    from ecumene.training.from_bundle import Beginning
    from ecumene.training.options import TrainingOptions

MOST_SAMPLES = 8
"""Samples of a batch where nobody says."""


def restoration_objective(system: System, targets: tuple[str, ...]) -> Objective:
    """Return the objective of a system for these bands, in the units of its network's scaling."""
    mean, std = get_scaling(str(system.network_arguments["scaling"])).optical
    return build_objective(
        {
            "name": "restoration",
            "targets": list(targets),
            "unit": "1",
            "target_mean": mean,
            "target_std": std,
            **system.objective_arguments,
        }
    )


def fit_restoration(
    system: System,
    targets: tuple[str, ...],
    sets: TrainingData,
    *,
    name: str,
    resolution_m: float,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    folder: Path,
    progress: Progress,
    provenance: Mapping[str, Any],
    uncertainty: Uncertainty = SINGLE,
    initial: Beginning | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Model:
    """Fit the network of a system on cloudy images with clear ones.

    Args:
        system: What to fit.
        targets: Bands that are restored, the first channels of the samples.
        sets: Parts of `RestorationSamples`.
        name: Of the model.
        resolution_m: Of the images.
        seed: Of everything random.
        epochs: Overrides the system's number.
        max_minutes: Time limit of the training.
        folder: The bundle-to-be; logs and checkpoints go beside it.
        progress: Called with (epochs done, epochs, what).
        provenance: What the card says of the data.
        uncertainty: How the network gets its members.
        initial: Bundle to go on from.
        overrides: Options of the training instead of the system's.

    Returns:
        The model; its error bars are not calibrated yet (`restoration_trust.fit_restoration_trust`).

    Raises:
        EcumeneError: If the training cannot work.
    """
    require("torch")
    check_uncertainty(uncertainty, system)
    empty = missing_parts(sets)
    if empty is not None:
        raise LabelError(f"No cloudy image is left for {empty}; give more images or another share (--train-share).")
    train: RestorationSamples = sets[Part.TRAIN]
    scaling = str(system.network_arguments["scaling"])
    statistics = {**scaled_statistics(scaling, train.channels), **value_range(train, seed)}
    inputs = make_inputs(train.channels, statistics)
    arguments = {**system.network_arguments, "targets": len(targets)}
    training = {**system.training, **(overrides or {})}
    chosen = system.model_copy(update={"network_arguments": arguments, "training": training})
    objective = restoration_objective(system, targets)
    options = training_options(chosen, len(train), seed, epochs, max_minutes)
    if options.batch_size is None:
        options = options.model_copy(update={"batch_size": min(MOST_SAMPLES, max(2, len(train) // 4))})
    if chosen.adversarial:
        if uncertainty != SINGLE or initial is not None:
            raise ConfigurationError(
                f"{system.name} learns against discriminators, alone and from the beginning; leave --uncertainty and "
                "--from out."
            )
        fitted = _against_discriminators(chosen, objective, inputs, sets, options, folder, progress)
    else:
        fitted = fit_network_system(
            chosen, objective, inputs, sets, options, uncertainty, folder, progress, initial=initial
        )
    sample = train.read([0])
    return fitted.to_model(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution_m=resolution_m,
        training={
            **provenance,
            "system": system.name,
            "history": fitted.summary,
            STATEMENT: state(targets, train.channels, int(sample.dates.shape[1]), target_date(system)),
        },
    )


def _against_discriminators(
    system: System,
    objective: Objective,
    inputs: tuple[InputBand, ...],
    sets: TrainingData,
    options: TrainingOptions,
    folder: Path,
    progress: Progress,
) -> Fitted:
    from ecumene.networks import build_network
    from ecumene.training.adversarial import fit_adversarial

    assert system.network is not None
    arguments = {**system.network_arguments, "in_channels": len(inputs), "n_outputs": objective.n_outputs}
    top = training_folder(folder)
    result = fit_adversarial(
        system.network,
        arguments,
        objective,
        sets[Part.TRAIN],
        sets[Part.VALIDATION],
        inputs,
        options=options,
        folder=top,
        progress=progress,
        **system.adversarial,
    )
    network = build_network(system.network, pretrained=False, **arguments)
    return Fitted(
        system=system,
        objective=objective,
        inputs=inputs,
        architecture={"name": system.network, "arguments": arguments},
        temporal=bool(network.temporal),
        stride=int(network.stride),
        margin=int(network.margin),
        weights=result.state,
        booster=None,
        summary={
            "best_epoch": result.best_epoch,
            "epochs_done": len(result.history),
            "ended_by": result.ended_by,
            "seconds": round(result.seconds, 1),
            "options": options.model_dump(mode="json"),
            "adversarial": dict(system.adversarial),
        },
    )
