"""The verb `train` on a published data set of images: official files in, a bundle out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.networks.initial_weights import describe_start
from ecumene.samples.contract import Part
from ecumene.samples.datasets.simulated import simulated_notice
from ecumene.systems import BenchProtocol, System, get_system
from ecumene.workflows.export import check_graphs
from ecumene.workflows.fit import keep_model
from ecumene.workflows.scene_data import (
    USUAL_PROTOCOL,
    describe_split,
    divide,
    open_system_data,
    resolution_of,
    split_data_set,
)
from ecumene.workflows.scene_fit import evaluate_scenes, fit_scene_model, fit_scene_trust
from ecumene.workflows.scene_legend import restate
from ecumene.workflows.train import check_options
from ecumene.workflows.uncertainty import parse_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def choose_protocol(system: System, split: str | None = None, train_share: float | None = None) -> BenchProtocol:
    """Return how a system's data are divided: as its first protocol says, or as the user does.

    What else a protocol says, such as options of the data set, is taken from the system's first one of that split.

    Raises:
        ConfigurationError: If the kind of split or the share is none.
    """
    base = system.protocols[0] if system.protocols else USUAL_PROTOCOL
    if split is None and train_share is None:
        return base
    kind = split or ("random" if base.split == "official" else base.split)
    base = next((protocol for protocol in system.protocols if protocol.split == kind), base)
    if kind not in ("official", "random", "spatial"):
        raise ConfigurationError(f"--split of a data set is 'official', 'random' or 'spatial', not {kind!r}.")
    if train_share is not None and not 0.0 < train_share < 1.0:
        raise ConfigurationError(f"The share of images to learn from is between 0 and 1, not {train_share}.")
    changes: dict[str, Any] = {"name": kind, "split": kind, "train_share": train_share or base.train_share}
    return base.model_copy(update=changes | ({} if kind == base.split else {"official": ""}))


def train_scene_model(
    folder: str | Path,
    system: str,
    out: str | Path,
    *,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    legend: str | None = None,
    crosswalk: str | Path | None = None,
    source_legend: str | None = None,
    split: str | None = None,
    train_share: float | None = None,
    uncertainty: str = "single",
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    onnx: bool = False,
    initial: Mapping[str, NDArray[Any]] | Beginning | None = None,
    frozen: Sequence[str] = (),
    progress: Progress = silent,
) -> Model:
    """Train a system on a data set of images, calibrate it, measure it, write its bundle.

    Args:
        folder: With the data set's official files.
        system: Name from `ecumene systems`.
        out: Folder of the bundle; replaced if it is one.
        data_set: Name from `ecumene datasets`; None: the one that the system was published on.
        data_options: Options of the data set instead of the system's.
        legend: Published legend whose classes are learned instead of the data set's own; see `scene_legend.restate`.
        crosswalk: A file of one's own that leads there.
        source_legend: Published legend whose class names the data set uses, where its own is no published one.
        split: `official`, `random` or `spatial`; None: as the system's first protocol says.
        train_share: Share of the images that is not the test part; None: as the protocol says (`choose_protocol`).
        uncertainty: As for `train_model`.
        seed: Of split, start and order of the training.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Share of images whose class set shall hold the truth.
        false_alarm_rate: Share of held-out images that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        initial: Weights to begin with, by name, or a bundle to go on from.
        frozen: Beginnings of names of parameters that stay as they are.
        progress: Called with (done, total, what).

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    out = Path(out)
    check_options(out, "block", coverage, false_alarm_rate)
    chosen, members = get_system(system), parse_uncertainty(uncertainty)
    if onnx:
        check_graphs(chosen, int8=False)
    protocol = choose_protocol(chosen, split, train_share)
    data = open_system_data(chosen, folder, data_set, {**protocol.data_options, **(data_options or {})})
    resolution_of(data)
    if source_legend is not None and legend is None:
        raise ConfigurationError("--source-legend says where a --legend is reached from; give that one, too.")
    restated = restate(data, legend, crosswalk, source_legend) if legend is not None or crosswalk is not None else None
    if restated is not None:
        data = restated.data
    parts = split_data_set(data, protocol, seed)
    sets = divide(data, parts)
    model = fit_scene_model(
        chosen,
        data,
        sets,
        name=f"{out.resolve().name}-{chosen.name}",
        seed=seed,
        epochs=epochs,
        max_minutes=max_minutes,
        folder=out,
        progress=progress,
        uncertainty=members,
        initial=initial,
        frozen=frozen,
    )
    model, notes = fit_scene_trust(
        model,
        sets[Part.TRAIN],
        sets[Part.CALIBRATION],
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
        seed=seed,
    )
    accuracy = evaluate_scenes(model, sets[Part.TEST], seed=seed)
    simulated = simulated_notice(data.folder)
    if simulated:
        notes.insert(0, f"The training and test images are {simulated}.")
    if restated is not None:
        model = model.with_training(legend=restated.to_dict())
        notes += [restated.note] if restated.note else []
    if initial is None and chosen.kind == "network" and not chosen.pretraining:
        random = "The network began with random weights, not with those of another task."
        notes.append(describe_start(chosen.network_arguments) or random)
    model = model.with_training(split=describe_split(parts, data, protocol, seed), accuracy=accuracy, notes=notes)
    return keep_model(model, out, onnx=onnx)
