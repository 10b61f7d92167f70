"""Fits a system of whole images on a published data set, and turns it into a bundle."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.progress import Progress
from ecumene.indicators.label_ranking import ranking_metrics
from ecumene.indicators.scene_accuracy import class_metrics, label_metrics
from ecumene.indicators.zone_accuracy import ZONES, zone_metrics
from ecumene.models.bundle import Model
from ecumene.objectives import Members
from ecumene.objectives.prediction import Prediction
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet
from ecumene.samples.datasets.loading import checksum_of
from ecumene.samples.datasets.simulated import SIMULATED_LICENCE, SIMULATED_PREFIX, simulated_notice
from ecumene.samples.scene_set import SceneSamples
from ecumene.samples.statistics import ChannelStatistics
from ecumene.systems import System
from ecumene.training.provenance import git_revision, make_inputs, versions
from ecumene.trust.calibration import Calibration
from ecumene.trust.label_measures import label_calibration
from ecumene.trust.label_scaling import choose_label_scaling
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.scaling import IDENTITY
from ecumene.workflows.calibrate import (
    LabelledPixels,
    fit_trust,
    probabilities_of,
    require_finite,
    results_of_scenes,
)
from ecumene.workflows.evaluate import evaluate_classifier
from ecumene.workflows.fit import class_objective, fit_network_system, training_options
from ecumene.workflows.scene_data import resolution_of, scene_statistics
from ecumene.workflows.scene_pixels import fit_pixels
from ecumene.workflows.scene_pretraining import learn_start
from ecumene.workflows.scene_rows import fit_image_rows
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import SINGLE, Uncertainty, check_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def fit_scene_model(
    system: System,
    data: DataSet,
    sets: TrainingData,
    *,
    name: str,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    folder: Path,
    progress: Progress,
    uncertainty: Uncertainty = SINGLE,
    initial: Mapping[str, NDArray[Any]] | Beginning | None = None,
    frozen: Sequence[str] = (),
) -> Model:
    """Fit the network of a system on images with one answer each.

    Args:
        system: What to fit.
        data: The opened data set.
        sets: Its parts.
        name: Of the model.
        seed: Of everything random.
        epochs: Overrides the system's number.
        max_minutes: Time limit of the training.
        folder: The bundle-to-be; logs and checkpoints go beside it.
        progress: Called with (epochs done, epochs, what).
        uncertainty: How the network gets its members.
        initial: Weights to begin with, by name, or a bundle to go on from.
        frozen: Beginnings of names of parameters that stay as they are.

    Returns:
        The model without calibration and outlier detector.

    Raises:
        EcumeneError: If the system does not read whole images, or the training cannot work.
    """
    about: dict[str, Any] = {
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "resolution_m": resolution_of(data),
    }
    provenance = {**scene_provenance(data, seed), "system": system.name}
    if system.reads == "scene" and system.kind != "network":
        check_uncertainty(uncertainty, system)
        rows = fit_image_rows(system, data, sets, seed=seed, initial=initial, progress=progress)
        return rows.to_model(**about, training={**provenance, "history": rows.summary})
    if system.reads != "scene":
        pixels = fit_pixels(
            system,
            data,
            sets,
            seed=seed,
            epochs=epochs,
            max_minutes=max_minutes,
            folder=folder,
            progress=progress,
            uncertainty=uncertainty,
            initial=initial,
            frozen=frozen,
        )
        return pixels.to_model(**about, training={**provenance, "history": pixels.summary})
    check_uncertainty(uncertainty, system)
    objective = class_objective(system, data.legend)
    statistics: ChannelStatistics | Mapping[str, Any] = scene_statistics(sets[Part.TRAIN], seed)
    if system.pretraining and initial is None:
        initial, statistics = learn_start(system, data, seed, progress)
    inputs = make_inputs(data.channels, statistics)
    options = training_options(system, len(sets[Part.TRAIN]), seed, epochs, max_minutes)
    fitted = fit_network_system(
        system, objective, inputs, sets, options, uncertainty, folder, progress, initial=initial, frozen=frozen
    )
    whole = replace(fitted, patch_size=data.patch_size)
    return whole.to_model(**about, training={**provenance, "history": fitted.summary})


def _names_a_file(value: Any) -> bool:
    """Return whether an option is a path, which no card tells."""
    return isinstance(value, Path) or (isinstance(value, str) and Path(value).exists())


def scene_provenance(data: DataSet, seed: int) -> dict[str, Any]:
    """Return what the card says of a data set and of the machine; names and checksums, never a path."""
    simulated = simulated_notice(data.folder)
    return {
        "data_set": {
            "name": data.info.name,
            "title": f"{SIMULATED_PREFIX}{data.info.title}" if simulated else data.info.title,
            "paper": data.info.paper,
            "licence": SIMULATED_LICENCE if simulated else data.info.licence,
            "images": len(data),
            "sha256": checksum_of(data),
            "options": {name: value for name, value in data.options.items() if not _names_a_file(value)},
            **({"simulated": simulated} if simulated else {}),
        },
        "seed": seed,
        "versions": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git_revision": git_revision(),
    }


def fit_scene_trust(
    model: Model,
    train: SceneSamples,
    held_out: SceneSamples,
    *,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> tuple[Model, list[str]]:
    """Fit scaling, class sets and the outlier detector of a scene classifier; of several labels no sets.

    Args:
        model: A fitted model of whole images.
        train: What it has learned from.
        held_out: What it has not learned from.
        coverage: Share of images whose class set shall hold the truth.
        false_alarm_rate: Share of held-out images that may be flagged.
        seed: Of subsampling.

    Returns:
        The model, and sentences about what could not be fitted or promised.

    Raises:
        ModelError: If the model's output is not finite.
    """
    if has_classes(model):
        return fit_trust(model, train, held_out, coverage=coverage, false_alarm_rate=false_alarm_rate, seed=seed)
    known = results_of_scenes(model, train, limit=20_000, seed=seed)
    fresh = results_of_scenes(model, held_out, seed=seed)
    require_finite(known, fresh)
    model, notes = _calibrate_labels(model, fresh)
    detector = CombinedDetector.fit(known.features, seed=seed)
    try:
        detector = detector.with_threshold(detector.score(fresh.features), false_alarm_rate, groups=fresh.group)
    except ConfigurationError as error:
        return model, [*notes, f"Outliers are not flagged: {str(error).replace('pixels', 'images')}"]
    return model.with_trust(calibration=model.calibration, detector=detector), notes


def _calibrate_labels(model: Model, fresh: LabelledPixels) -> tuple[Model, list[str]]:
    """Fit the scaling of the logits of several labels on images that the model has not learned from."""
    try:
        choice = choose_label_scaling(fresh.output, fresh.target, fresh.group, members=model.objective.members)
    except LabelError as error:
        own = f"The probabilities of the labels are the network's own: {str(error)[0].lower()}{str(error)[1:]}"
        return model.with_trust(calibration=Calibration(scaling=IDENTITY)), [own]
    notes = [choice.note]
    legend = model.objective.legend
    if choice.missing and legend is not None:
        listed = ", ".join(legend.names[label] for label in choice.missing)
        notes.append(f"Too few calibration images have, or lack, these labels to calibrate each by itself: {listed}.")
    calibrated = model.with_trust(calibration=Calibration(scaling=choice.scaling))
    return calibrated.with_training(scaling=choice.to_dict()), notes


def evaluate_scenes(model: Model, test: SceneSamples, *, seed: int = 0) -> dict[str, Any]:
    """Return the figures of a model on test images: for classes those of `evaluate_classifier`, and `metrics`.

    Args:
        model: A model of whole images with its trust fitted.
        test: Images that nothing was fitted on.
        seed: Of subsampling.

    Returns:
        JSON-able figures; empty if there is no test image.
    """
    results = results_of_scenes(model, test, seed=seed)
    if len(results) == 0:
        return {}
    figures: dict[str, Any] = {"images": len(results), "places": len(np.unique(results.group))}
    if has_classes(model):
        whole = evaluate_classifier(model, test, seed=seed)
        figures |= {key: value for key, value in whole.items() if key not in ("pixels", "blocks")}
    else:
        figures["calibration"] = label_figures(model, results)
    if not has_classes(model) and model.detector is not None and model.detector.threshold is not None:
        flagged = model.detector.score(results.features) > model.detector.threshold
        figures["outlier"] = {"flagged_share_in_distribution": float(flagged.mean())}
    return figures | {"metrics": scene_metrics(model, results)}


def label_figures(model: Model, results: LabelledPixels) -> dict[str, Any]:
    """Return how honest the probabilities of several labels are, after the model's scaling and before it."""
    legend = model.objective.legend
    assert legend is not None
    raw = np.asarray(model.objective.predict(results.output).layers["probability"])
    before, after = (
        label_calibration(part, results.target)
        for part in (raw, np.asarray(_label_prediction(model, results).layers["probability"]))
    )
    return {
        "labels": list(legend.names),
        **after,
        "expected_calibration_error_before": before["expected_calibration_error"],
        "per_label_before": before["per_label"]["expected_calibration_error"],
    }


def _label_prediction(model: Model, results: LabelledPixels) -> Prediction:
    """Return what a model of several labels says after its scaling."""
    return model.objective.predict((model.scaling or IDENTITY).apply(results.output))


def scene_metrics(model: Model, results: LabelledPixels) -> dict[str, Any]:
    """Return the metrics of `indicators.scene_accuracy` that belong to the model's task."""
    if has_classes(model):
        legend = model.objective.legend
        assert legend is not None
        predicted = np.asarray(model.objective.decide(probabilities_of(model, results.output)))
        figures = class_metrics(results.target, predicted, len(legend))
        zones = legend.name == "lcz" and len(legend) == ZONES
        return figures | (zone_metrics(results.target, predicted) if zones else {})
    prediction = _label_prediction(model, results)
    figures = label_metrics(results.target, np.asarray(prediction.value, np.int64))
    if (results.target >= 0).all(axis=1).any():
        figures |= ranking_metrics(results.target, np.asarray(prediction.layers["probability"]))
    return figures


def has_classes(model: Model) -> bool:
    """Whether a model puts one class on an image."""
    objective = model.objective
    base = objective.base if isinstance(objective, Members) else objective
    return base.name in ("scene-classification", "segmentation")
