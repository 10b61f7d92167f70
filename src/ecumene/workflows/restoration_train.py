"""The verb `train` for systems that remove clouds: official files of cloudy and clear images in, a bundle out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.samples.datasets.simulated import simulated_notice
from ecumene.systems import System, get_system
from ecumene.workflows.export import check_graphs
from ecumene.workflows.fit import keep_model
from ecumene.workflows.restoration_data import divide_pairs, open_restoration_data
from ecumene.workflows.restoration_fit import fit_restoration
from ecumene.workflows.restoration_trust import evaluate_restoration, fit_restoration_trust
from ecumene.workflows.scene_data import describe_split, resolution_of, split_data_set
from ecumene.workflows.scene_fit import scene_provenance
from ecumene.workflows.scene_train import choose_protocol
from ecumene.workflows.train import check_options
from ecumene.workflows.uncertainty import parse_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def restoration_system(system: str | System) -> System:
    """Return a system that removes clouds, by its name.

    Raises:
        ConfigurationError: If there is none of that name, or it does something else.
    """
    found = get_system(system) if isinstance(system, str) else system
    if found.task != "restoration":
        raise ConfigurationError(f"{found.name} does not remove clouds; `ecumene systems` lists those for restoration.")
    return found


def train_restoration(
    folder: str | Path,
    system: str | System,
    out: str | Path,
    *,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    split: str | None = None,
    train_share: float | None = None,
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
    """Train a system on cloudy images with clear ones, calibrate its error bars, measure it, write its bundle.

    Args:
        folder: With the data set's official files.
        system: Name from `ecumene systems`.
        out: Folder of the bundle; replaced if it is one.
        data_set: Name from `ecumene datasets`; None: the one that the system was published on.
        data_options: Options of the data set instead of the system's.
        split: `official`, `random` or `spatial`; None: as the system's first protocol says.
        train_share: Share of the images that is not the test part; None: as that protocol says.
        uncertainty: As for `train_model`.
        seed: Of split, start and order of the training.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Checked only: these models have error bars and no intervals.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        initial: Bundle to go on from.
        progress: Called with (done, total, what).

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    out = Path(out)
    check_options(out, "block", coverage, false_alarm_rate)
    chosen, members = restoration_system(system), parse_uncertainty(uncertainty)
    if onnx:
        check_graphs(chosen, int8=False)
    protocol = choose_protocol(chosen, split, train_share)
    data = open_restoration_data(chosen, folder, data_set, {**protocol.data_options, **(data_options or {})})
    parts = split_data_set(data, protocol, seed)
    sets = divide_pairs(data, parts)
    model = fit_restoration(
        chosen,
        data.targets,
        sets,
        name=f"{out.resolve().name}-{chosen.name}",
        resolution_m=resolution_of(data),
        seed=seed,
        epochs=epochs,
        max_minutes=max_minutes,
        folder=out,
        progress=progress,
        provenance=scene_provenance(data, seed),
        uncertainty=members,
        initial=initial,
    )
    model, notes = fit_restoration_trust(
        model, sets[Part.TRAIN], sets[Part.CALIBRATION], false_alarm_rate=false_alarm_rate, seed=seed
    )
    simulated = simulated_notice(data.folder)
    if simulated:
        notes.insert(0, f"The training and test images are {simulated}.")
    accuracy = evaluate_restoration(model, sets[Part.TEST], seed=seed)
    model = model.with_training(split=describe_split(parts, data, protocol, seed), accuracy=accuracy, notes=notes)
    return keep_model(model, out, onnx=onnx)
