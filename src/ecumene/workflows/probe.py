"""The verb `probe`: what the features of a trained network are worth on other data, with few and with all labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.files import write_json
from ecumene.core.progress import Progress, silent
from ecumene.indicators.scene_accuracy import class_metrics
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.systems import System, get_system
from ecumene.training.probing import draw_shots, linear_probe, nearest_mean, nearest_neighbours
from ecumene.workflows.calibrate import LabelledPixels, results_at_labels
from ecumene.workflows.stacks import Declaration, Paths, open_stack
from ecumene.workflows.training_data import TrainingData

SHOTS = (1, 5, 10)
LARGEST = 20_000
"""Most samples of a part; of more, so many are drawn."""
METRICS = ("overall_accuracy", "average_accuracy", "macro_f1")


@dataclass(frozen=True)
class Probed:
    """Figures of frozen features.

    Attributes:
        figures: By method, by number of samples a class (`all`: every training sample), by metric: mean and standard
            deviation over the draws (0 for `all`, which has one).
        facts: Model, data, numbers of samples.
    """

    figures: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return all of it for a JSON file."""
        return {"facts": dict(self.facts), "figures": {name: dict(rows) for name, rows in self.figures.items()}}


def probe_model(
    model: str | Path | Model,
    *,
    data: str | Path | None = None,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    train_share: float | None = None,
    scenes: Paths | None = None,
    labels: str | Path | None = None,
    label_field: str = "class",
    split: str | None = None,
    shots: Sequence[int] = SHOTS,
    draws: int = 5,
    neighbours: int = 5,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Probed:
    """Measure a linear probe, nearest neighbours and nearest means on the frozen features of a bundle.

    Args:
        model: A network's bundle; its weights stay as they are.
        data: Folder of a data set, for models of whole images.
        data_set: Its name; None: the one that the model was trained on.
        data_options: Its options.
        train_share: Share of its images that is not the test part.
        scenes: Scenes with labels, for models of pixels.
        labels: Their labels.
        label_field: Column of the class.
        split: As for training.
        shots: Samples a class, each a row of the result besides all.
        draws: Draws of the few samples.
        neighbours: k of the nearest neighbours; at most the samples a class.
        seed: Of split and draws.
        out: JSON file to write.
        progress: Called with (done, total, what).
        **declaration: What the scenes' files do not say.

    Raises:
        EcumeneError: In one sentence, if the model has no features, or data do not fit it.
    """
    if draws < 1 or neighbours < 1 or any(number < 1 for number in shots):
        raise ConfigurationError("Shots, draws and neighbours are whole numbers of 1 or more.")
    bundle = Model.of(model)
    if bundle.spec.kind != "network":
        raise ConfigurationError(f"{bundle.spec.name} is a {bundle.spec.kind}, which has no features; probe a network.")
    system = get_system(str(bundle.spec.training.get("system", "")))
    if data is not None and scenes is None:
        parts, names, about = _from_data(
            bundle, system, data, data_set, data_options, _protocol(system, split, train_share), seed
        )
    elif data is None and scenes is not None and labels is not None:
        parts, names, about = _from_scenes(
            bundle, system, scenes, labels, label_field, split or "block", seed, declaration
        )
    else:
        raise ConfigurationError("Probing needs scenes and --labels, or the folder of a data set: --data.")
    train, validation, test = (
        _features(bundle, parts[part], seed) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)
    )
    methods = _methods(len(names), neighbours)
    figures = _measure(methods, (train, validation, test), names, (shots, draws, seed), progress)
    facts = {
        "model": bundle.spec.name,
        "features": int(train[0].shape[1]),
        "samples": {"train": len(train[1]), "validation": len(validation[1]), "test": len(test[1])},
        "classes": list(names),
        "draws": draws,
        "neighbours": neighbours,
        "seed": seed,
        **about,
    }
    result = Probed(figures, facts)
    if out is not None:
        write_json(out, result.to_json())
    return result


def _protocol(system: System, split: str | None, share: float | None) -> Any:
    from ecumene.workflows.scene_train import choose_protocol

    return choose_protocol(system, split, share)


def _from_data(
    model: Model,
    system: System,
    folder: str | Path,
    name: str | None,
    options: Mapping[str, Any] | None,
    protocol: Any,
    seed: int,
) -> tuple[TrainingData, tuple[str, ...], dict[str, Any]]:
    from ecumene.samples.datasets.loading import checksum_of
    from ecumene.samples.datasets.simulated import simulated_notice
    from ecumene.workflows.scene_data import divide, open_system_data, split_data_set
    from ecumene.workflows.scene_pixels import as_pixels

    wanted = name or (model.spec.training.get("data_set") or {}).get("name")
    data = open_system_data(system, folder, wanted, {**protocol.data_options, **(options or {})})
    if model.spec.patch_size is None and data.patch_size > 1:
        raise ConfigurationError(f"{model.spec.name} labels pixels, not whole images; give scenes with --labels.")
    if np.asarray(data.label).ndim != 1:
        raise ConfigurationError(f"Probing needs one class an image; {data.info.name} has several labels.")
    reads = [(band.key, band.level) for band in model.spec.inputs]
    if [(channel.key, channel.level) for channel in data.channels] != reads:
        raise ContractError(
            f"{model.spec.name} reads {', '.join(key for key, _ in reads)}, but the images of {data.info.name} have "
            f"{', '.join(channel.key for channel in data.channels)}; choose its bands with --data-option bands=..."
        )
    parts = divide(data, split_data_set(data, protocol, seed))
    if model.spec.patch_size is None:
        parts = TrainingData({part: as_pixels(parts[part]) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)})
    about = {"data_set": data.info.name, "data_sha256": checksum_of(data), "simulated": simulated_notice(data.folder)}
    return parts, data.legend.names, about


def _from_scenes(
    model: Model,
    system: System,
    scenes: Paths,
    labels: str | Path,
    label_field: str,
    split_by: str,
    seed: int,
    declaration: Declaration,
) -> tuple[TrainingData, tuple[str, ...], dict[str, Any]]:
    from ecumene.core.files import sha256_of
    from ecumene.samples.labels import read_labels, require_trainable
    from ecumene.samples.split import split_blocks
    from ecumene.workflows.training_data import collect_training_data

    if model.spec.patch_size is not None:
        raise ConfigurationError(f"{model.spec.name} labels whole images; give the folder of a data set with --data.")
    if split_by not in ("block", "feature"):
        raise ConfigurationError(f"--split is 'block' or 'feature' for scenes, not {split_by!r}.")
    masked = bool(model.spec.training.get("mask_clouds", True))
    stack: Any = model.match(open_stack(scenes, mask_clouds=masked, **declaration))
    raster = require_trainable(read_labels(labels, label_field, stack.geobox))
    split = split_blocks(raster, seed=seed, group="feature" if split_by == "feature" else "block")
    data = collect_training_data(stack, raster, split, system, seed=seed)
    return data, raster.legend.names, {"labels": Path(labels).name, "labels_sha256": sha256_of(labels)}


def _features(model: Model, samples: Any, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the network's features and the classes of labelled samples; the bands themselves are left out."""
    found: LabelledPixels = results_at_labels(model, samples, limit=LARGEST, seed=seed)
    features = found.features[:, len(model.spec.inputs) :].astype(np.float64)
    if len(found) and features.shape[1] == 0:
        raise ConfigurationError(f"{model.spec.name} shows no features; probe another network.")
    return features, found.target


Method = Callable[[tuple[Any, Any], tuple[Any, Any] | None, Any], NDArray[np.float64]]


def _methods(classes: int, neighbours: int) -> dict[str, Method]:
    def nearest(train: tuple[Any, Any], validation: tuple[Any, Any] | None, asked: Any) -> NDArray[np.float64]:
        # With few samples a class, more neighbours than these would be of other classes for certain.
        fewest = int(np.unique(train[1], return_counts=True)[1].min())
        k = neighbours if validation is not None else min(neighbours, fewest)
        return nearest_neighbours(train, asked, classes, k=k)

    return {
        "linear probe": lambda train, validation, asked: linear_probe(train, asked, classes, validation=validation),
        f"{neighbours} nearest neighbours": nearest,
        "nearest mean": lambda train, _, asked: nearest_mean(train, asked, classes),
    }


def _measure(
    methods: Mapping[str, Method],
    parts: tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]],
    names: Sequence[str],
    drawing: tuple[Sequence[int], int, int],
    progress: Progress,
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    train, validation, test = parts
    shots, draws, seed = drawing
    if len(test[1]) == 0 or len(train[1]) == 0:
        raise ConfigurationError("No labelled sample is left for training or test; give more labels.")
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {name: {} for name in methods}
    rows: list[int | None] = [*shots, None]
    for done, number in enumerate(rows):
        runs = 1 if number is None else draws
        for name, method in methods.items():
            results = []
            for run in range(runs):
                few = train
                if number is not None:
                    chosen = draw_shots(train[1], number, seed + 1000 * run, names)
                    few = (train[0][chosen], train[1][chosen])
                # Few samples leave none to choose a penalty by: that would be more labels than were counted.
                predicted = method(few, validation if number is None else None, test[0]).argmax(axis=1)
                found = class_metrics(test[1], predicted, len(names))
                results.append([float(found[metric]) for metric in METRICS])
            mean, spread = np.mean(results, axis=0), np.std(results, axis=0, ddof=1 if runs > 1 else 0)
            figures[name]["all" if number is None else str(number)] = {
                metric: {"mean": float(m), "sd": float(s)} for metric, m, s in zip(METRICS, mean, spread, strict=True)
            }
        progress(done + 1, len(rows), "numbers of samples")
    return figures
