"""The verb `bench`: a published method by its published protocol, its table beside ours."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.indicators.scene_accuracy import CLASS_METRICS, LABEL_METRICS
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet
from ecumene.samples.datasets.loading import checksum_of
from ecumene.samples.datasets.simulated import simulated_notice
from ecumene.systems import BenchProtocol, PublishedFigure, System, get_system
from ecumene.workflows.calibrate import results_of_scenes
from ecumene.workflows.results import spread, stamped
from ecumene.workflows.scene_data import USUAL_PROTOCOL, describe_split, divide, open_system_data, split_data_set
from ecumene.workflows.scene_fit import fit_scene_model, scene_metrics
from ecumene.workflows.training_data import TrainingData

QUICK_EPOCHS = 2
QUICK_IMAGES = 256
"""Images of a part in a quick run, which shows that everything works and says nothing about the method."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        metric: As `indicators.scene_accuracy` names it.
        ours: Mean, standard deviation and values over the seeds; empty where we do not measure it.
        published: Figures that belong beside it.
    """

    metric: str
    ours: Mapping[str, Any]
    published: tuple[PublishedFigure, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """What a bench run found.

    Attributes:
        system: What was trained.
        protocol: How.
        rows: The table.
        elsewhere: Published figures of other protocols.
        facts: Data, split, parameters, times, seeds: everything but the figures.
    """

    system: System
    protocol: BenchProtocol
    rows: tuple[Row, ...]
    elsewhere: tuple[PublishedFigure, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result in the form in which measurements are stored."""
        return stamped(
            f"bench-{self.system.name}-{self.protocol.name}",
            {
                **self.facts,
                "protocol": self.protocol.model_dump(mode="json"),
                "metrics": {row.metric: dict(row.ours) for row in self.rows},
                "published": [figure.model_dump(mode="json") for figure in self.system.figures],
            },
        )


def choose_bench_protocol(system: System, name: str | None) -> BenchProtocol:
    """Return a protocol of a system by name; its first where none is named.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    protocols = {protocol.name: protocol for protocol in system.protocols or (USUAL_PROTOCOL,)}
    if name is not None and name not in protocols:
        raise ConfigurationError(f"{system.name} has no protocol {name!r}; it has: {', '.join(protocols)}.")
    return protocols[name] if name is not None else next(iter(protocols.values()))


def bench_system(
    system: str | System,
    folder: str | Path,
    *,
    data_set: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    max_minutes: float | None = None,
    quick: bool = False,
    work: str | Path | None = None,
    progress: Progress = silent,
) -> BenchResult:
    """Train and measure a system as its protocol says, once a seed.

    Args:
        system: Name from `ecumene systems`.
        folder: With the data set's official files.
        data_set: Name from `ecumene datasets`; None: the system's first.
        data_options: Options of the data set instead of those of protocol and system.
        protocol: Name of one of the system's protocols; None: the first.
        seeds: Repetitions; None: as many as the protocol says.
        epochs: Instead of the protocol's and the system's.
        max_minutes: Of one training; no epoch is begun that would end later. None: no limit.
        quick: Few epochs and images, one seed: whether it works, not how well.
        work: Folder for the trainings' checkpoints, from which the same call goes on; None: a temporary one.
        progress: Called with (done, total, what).

    Returns:
        The table and its circumstances.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    chosen = get_system(system) if isinstance(system, str) else system
    if chosen.task == "restoration":
        from ecumene.workflows.restoration_bench import bench_restoration

        return bench_restoration(
            chosen,
            folder,
            data_set=data_set,
            data_options=data_options,
            protocol=protocol,
            seeds=seeds,
            epochs=epochs,
            max_minutes=max_minutes,
            quick=quick,
            work=work,
            progress=progress,
        )
    plan = choose_bench_protocol(chosen, protocol)
    data = open_system_data(chosen, folder, data_set, {**plan.data_options, **(data_options or {})})
    draws = (1 if quick else plan.draws) if seeds is None else seeds
    if draws < 1:
        raise ConfigurationError(f"--seeds is the number of repetitions, at least 1, not {draws}.")
    length = epochs if epochs is not None else (QUICK_EPOCHS if quick else plan.epochs)
    found = []
    with work_folder(work) as place:
        for seed in range(draws):
            found.append(_one(chosen, data, plan, seed, (length, max_minutes), quick, Path(place), progress))
            progress(seed + 1, draws, "seeds")
    result = _summarise(chosen, plan, data, found, quick)
    result.facts["notes"] = length_notes(chosen, [draw.history for draw in found], epochs, max_minutes)
    return result


def length_notes(
    system: System, trainings: Sequence[Mapping[str, Any]], epochs: int | None, max_minutes: float | None
) -> list[str]:
    """Return sentences about trainings of another length than the method's own.

    Args:
        system: What was trained.
        trainings: Summary of each, with `epochs_done`, `ended_by` and the `options` of the training.
        epochs: As the user said, or None.
        max_minutes: The same.
    """
    if system.kind != "network":
        given = {"--epochs": epochs, "--max-minutes": max_minutes}
        ignored = " and ".join(name for name, value in given.items() if value is not None)
        return [f"{system.name} is fitted in one go, without regard to {ignored}."] if ignored else []
    notes = [] if epochs is None else [f"at most {epochs} epochs (--epochs) instead of the method's own number."]
    cut = [training for training in trainings if training.get("ended_by") == "time"]
    if cut:
        done, most = [int(training["epochs_done"]) for training in cut], int(cut[0]["options"]["epochs"])
        reached = str(min(done)) if min(done) == max(done) else f"{min(done)} to {max(done)}"
        notes.append(
            f"--max-minutes ended {len(cut)} of {len(trainings)} trainings after {reached} of {most} epochs; ours is "
            "therefore not the figure of the whole training."
        )
    return notes


@dataclass(frozen=True)
class _Draw:
    """What one seed gave."""

    metrics: dict[str, Any]
    parameters: int
    seconds: float
    split: dict[str, Any]
    history: dict[str, Any]


def work_folder(work: str | Path | None) -> contextlib.AbstractContextManager[str]:
    """Return a context with the folder of checkpoints; a temporary one goes at its end."""
    if work is None:
        return tempfile.TemporaryDirectory(prefix="ecumene-bench-")
    Path(work).mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(str(work))


def _one(
    system: System,
    data: DataSet,
    protocol: BenchProtocol,
    seed: int,
    length: tuple[int | None, float | None],
    quick: bool,
    place: Path,
    progress: Progress,
) -> _Draw:
    parts = split_data_set(data, protocol, seed)
    sets = divide(data, parts)
    if quick:
        sets = TrainingData({part: fewer(source, seed, QUICK_IMAGES) for part, source in sets.parts.items()})
    if data.resolution_m is None and not any(channel.ground_sampling_m for channel in data.channels):
        data.resolution_m = 1.0  # nothing is mapped here, so that it is never used
    began = time.monotonic()
    model = fit_scene_model(
        system,
        data,
        sets,
        name=system.name,
        seed=seed,
        epochs=length[0],
        max_minutes=length[1],
        folder=place / f"{protocol.name}-seed-{seed}",
        progress=progress,
    )
    seconds = time.monotonic() - began
    metrics = scene_metrics(model, results_of_scenes(model, sets[Part.TEST], seed=seed))
    return _Draw(
        metrics,
        sum(int(array.size) for name, array in model.weights.items() if not _is_statistic(name)),
        seconds,
        describe_split(parts, data, protocol, seed)
        | ({"images": {part.name.lower(): len(source) for part, source in sets.parts.items()}} if quick else {}),
        dict(model.spec.training["history"]),
    )


def _is_statistic(name: str) -> bool:
    """Whether an array is a running statistic of a normalisation and not a parameter."""
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def fewer(source: Any, seed: int, most: int) -> Any:
    """Return at most so many samples of a part, a source of the same kind."""
    if len(source) <= most:
        return source
    return source.take(np.sort(np.random.default_rng([seed, 3]).choice(len(source), most, replace=False)))


def common_facts(
    system: System,
    data: DataSet,
    quick: bool,
    seconds: Sequence[float],
    splits: Sequence[Any],
    trainings: Sequence[Any],
) -> dict[str, Any]:
    """Return what every bench states of its circumstances.

    Args:
        system: What was trained.
        data: On what.
        quick: With few images and epochs.
        seconds: Of each training.
        splits: Of each seed.
        trainings: Summary of each.
    """
    return {
        "system": system.name,
        "task": system.task,
        "paper": system.paper,
        "deviations": system.deviations,
        "data": {
            "name": data.info.name,
            "images": len(data),
            "sha256": checksum_of(data),
            "simulated": simulated_notice(data.folder),
        },
        "quick": quick,
        "seeds": list(range(len(seconds))),
        "training_seconds": spread(list(seconds)),
        "splits": list(splits),
        "trainings": list(trainings),
    }


def _summarise(system: System, protocol: BenchProtocol, data: DataSet, draws: list[_Draw], quick: bool) -> BenchResult:
    usual = LABEL_METRICS if system.task == "multi-label" else CLASS_METRICS

    def beside(metric: str) -> tuple[PublishedFigure, ...]:
        return tuple(f for f in system.figures if f.bench == protocol.name and f.metric == metric)

    rows = []
    for name in dict.fromkeys((*(protocol.metrics or usual), *(m for m in usual if beside(m)))):
        values = [draw.metrics.get(name) for draw in draws]
        known = [float(value) for value in values if value is not None]
        rows.append(Row(name, spread(known) if known else {}, beside(name)))
    shown = {id(figure) for row in rows for figure in row.published}
    seconds, splits, trainings = ([getattr(draw, name) for draw in draws] for name in ("seconds", "split", "history"))
    facts = {
        **common_facts(system, data, quick, seconds, splits, trainings),
        "parameters": draws[0].parameters,
        "per_class": [draw.metrics.get("per_class") or draw.metrics.get("per_label") for draw in draws],
        "classes": list(data.legend.names),
    }
    elsewhere = tuple(figure for figure in system.figures if id(figure) not in shown)
    return BenchResult(system, protocol, tuple(rows), elsewhere, facts)
