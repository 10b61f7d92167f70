"""The verb `train` on a published data set of change: places with two dates in, a bundle out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.samples.crops import CropSamples, Region, region_patches
from ecumene.samples.datasets.pairs import LabelledPair, PairDataSet, open_pair_set
from ecumene.samples.region_split import split_regions
from ecumene.scenes.standardised import standardise_dates
from ecumene.systems import System, get_system
from ecumene.training.provenance import git_revision, make_inputs, versions
from ecumene.workflows.calibrate import fit_trust
from ecumene.workflows.evaluate import evaluate_classifier
from ecumene.workflows.export import check_graphs
from ecumene.workflows.fit import (
    BY_SENSOR,
    Fitted,
    class_objective,
    fit_network_system,
    keep_model,
    training_options,
)
from ecumene.workflows.pair_decision import settle_change
from ecumene.workflows.shift import BAND_QUANTILES, training_quantiles
from ecumene.workflows.train import check_options
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import Uncertainty, check_uncertainty, parse_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning

CORE = 128
"""Rows and columns of the labelled part of windows that trust and accuracy are taken from."""


def train_pairs(
    folder: str | Path,
    system: str,
    out: str | Path,
    *,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    uncertainty: str = "single",
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    onnx: bool = False,
    initial: Beginning | None = None,
    progress: Progress = silent,
) -> Model:
    """Train a system of change on a data set of pairs, calibrate it, measure it on places of its own, write its bundle.

    Args:
        folder: With the data set's official files.
        system: Name of a system that reads pairs.
        out: Folder of the bundle; replaced if it is one.
        data_set: Name of the data set; None: the one that the system was published on.
        data_options: Options of the data set; and `test`, the places that only test (one name or several): None: the
            official test places that are there, else the last place by name.
        uncertainty: As for `train_model`, but for `laplace`.
        seed: Of split, start, and order of the training.
        epochs: Most passes; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Share of pixels whose class set shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        initial: Bundle whose weights the network begins with.
        progress: Called with (done, total, what).

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    out = Path(out)
    check_options(out, "block", coverage, false_alarm_rate)
    chosen, members = get_system(system), parse_uncertainty(uncertainty)
    check_uncertainty(members, chosen)
    if chosen.reads != "pair" or members.method == "laplace":
        what = "reads no pairs of dates" if chosen.reads != "pair" else "cannot sample its last layer on drawn windows"
        raise ConfigurationError(f"{system} {what}; choose another --system or --uncertainty.")
    if onnx:
        check_graphs(chosen, int8=False)
    options = {**chosen.data_options, **(data_options or {})}
    wanted = options.pop("test", None)
    data = open_pair_set(data_set or (chosen.data_sets or ("oscd",))[0], folder, **options)
    test, notes = choose_test(data, wanted)
    sensors = {channel.sensor for channel in data.channels}
    if chosen.network_arguments.get("streams") == BY_SENSOR and len(sensors) == 1:
        notes.append(f"All bands are of {sensors.pop()}, so that {chosen.name} has one stream instead of one a sensor.")
    parts = split_regions([read_pair(data, name, chosen) for name in data.names], test, seed=seed)
    fitted, train = fit_pairs(
        chosen,
        data,
        parts,
        seed=seed,
        epochs=epochs,
        max_minutes=max_minutes,
        folder=out,
        progress=progress,
        uncertainty=members,
        initial=initial,
    )
    model = fitted.to_model(
        name=f"{out.resolve().name}-{chosen.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution_m=data.resolution_m,
        training=_provenance(chosen, data, parts, test, seed) | {"history": fitted.summary},
    )
    known = region_patches(train.regions, data.channels, CORE)
    margin = margin_in_strides(model)
    held_out = region_patches(parts[Part.CALIBRATION], data.channels, CORE, margin)
    unseen = region_patches(parts[Part.TEST], data.channels, CORE, margin)
    model, more = fit_trust(
        model,
        known,
        held_out,
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
        seed=seed,
        decide_on=region_patches(parts[Part.VALIDATION], data.channels, CORE, margin),
    )
    figures = evaluate_classifier(model, unseen, seed=seed)
    model = model.with_training(accuracy=figures, notes=[*notes, *more], **{BAND_QUANTILES: training_quantiles(known)})
    return keep_model(model, out, onnx=onnx)


def read_pair(data: PairDataSet, name: str, system: System) -> LabelledPair:
    """Return a place as the system learns from it: standardised over the place where the system says so."""
    pair = data.read(name)
    return replace(pair, image=standardise_dates(pair.image, data.channels)) if system.standardised else pair


def choose_test(data: PairDataSet, wanted: str | Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the places that only test, and a note where nobody chose them.

    Raises:
        ConfigurationError: If one is not there.
    """
    if wanted:
        names = (wanted,) if isinstance(wanted, str) else tuple(str(name) for name in wanted)
        missing = [name for name in names if name not in data.names]
        if missing:
            raise ConfigurationError(
                f"{data.info.name} has no place {missing[0]!r} here to test on; there are {', '.join(data.names)}."
            )
        return names, []
    official = tuple(name for name, part in data.official.items() if part is Part.TEST)
    if official and len(official) < len(data.names):
        return official, []
    last = data.names[-1]
    return (last,), [f"No official test place is there, so that the model was measured on {last} alone."]


def margin_in_strides(model: Model) -> int:
    """Return the model's margin, rounded up to whole strides, so that windows keep its grid."""
    stride = model.spec.stride
    return -(-model.spec.margin // stride) * stride


def fit_pairs(
    system: System,
    data: PairDataSet,
    parts: Mapping[Part, tuple[Region, ...]],
    *,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    folder: Path,
    progress: Progress = silent,
    uncertainty: Uncertainty,
    initial: Beginning | None = None,
) -> tuple[Fitted, CropSamples]:
    """Fit the network of a system on windows drawn from places; see `train_pairs`.

    Returns:
        The fitted learner, and what windows were drawn from.
    """
    train = CropSamples(parts[Part.TRAIN], data.channels, system.patch_size, **system.crops)
    validation = region_patches(parts[Part.VALIDATION], data.channels, max(system.patch_size, CORE))
    objective = settle_change(system, class_objective(system, data.legend), train)
    inputs = make_inputs(data.channels, train.statistics(seed))
    options = training_options(system, len(train), seed, epochs, max_minutes)
    sets = TrainingData({Part.TRAIN: train, Part.VALIDATION: validation})
    fitted = fit_network_system(
        system, objective, inputs, sets, options, uncertainty, folder, progress, initial=initial
    )
    return fitted, train


def _provenance(
    system: System, data: PairDataSet, parts: Mapping[Part, tuple[Region, ...]], test: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return what the card says of where the model comes from."""
    pixels = {
        part.name.lower(): int(sum((region.mask >= 0).sum() for region in regions)) for part, regions in parts.items()
    }
    return {
        "system": system.name,
        "data_set": {"name": data.info.name, "places": list(data.names), "licence": data.info.licence},
        "mask_clouds": True,
        "seed": seed,
        "versions": versions(),
        "git_revision": git_revision(),
        "split": {"group": "block", "test": list(test), "seed": seed, "pixels": pixels},
    }
