"""The verb `bench` for systems that remove clouds: the paper's table beside ours."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.samples.contract import Part
from ecumene.samples.datasets.restoration import RestorationData
from ecumene.systems import BenchProtocol, PublishedFigure, System
from ecumene.workflows.bench import (
    QUICK_EPOCHS,
    BenchResult,
    Row,
    choose_bench_protocol,
    common_facts,
    fewer,
    length_notes,
    work_folder,
)
from ecumene.workflows.restoration_data import divide_pairs, open_restoration_data
from ecumene.workflows.restoration_fit import fit_restoration
from ecumene.workflows.restoration_trust import evaluate_restoration, fit_restoration_trust
from ecumene.workflows.results import spread
from ecumene.workflows.scene_data import describe_split, resolution_of, split_data_set
from ecumene.workflows.scene_fit import scene_provenance
from ecumene.workflows.training_data import TrainingData

QUICK_SAMPLES = 16
"""Samples of a part in a quick run, which shows that everything works and says nothing about the method."""


def bench_restoration(
    system: System,
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
    """Train and measure a system as its protocol says, once a seed; see `bench.bench_system` for the arguments.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    plan = choose_bench_protocol(system, protocol)
    data = open_restoration_data(system, folder, data_set, {**plan.data_options, **(data_options or {})})
    draws = (1 if quick else plan.draws) if seeds is None else seeds
    if draws < 1:
        raise ConfigurationError(f"--seeds is the number of repetitions, at least 1, not {draws}.")
    length = epochs if epochs is not None else (QUICK_EPOCHS if quick else plan.epochs)
    found = []
    with work_folder(work) as place:
        for seed in range(draws):
            where = Path(place) / f"{plan.name}-seed-{seed}"
            found.append(_one(system, data, plan, seed, length, max_minutes, quick, where, progress))
            progress(seed + 1, draws, "seeds")
    lengths = length_notes(system, [draw["history"] for draw in found], epochs, max_minutes)
    notes = [*lengths, *dict.fromkeys(note for draw in found for note in draw["notes"])]
    return _summarise(system, plan, data, found, quick, notes)


def _one(
    system: System,
    data: RestorationData,
    protocol: BenchProtocol,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    quick: bool,
    place: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train and measure once."""
    parts = split_data_set(data, protocol, seed)
    sets = divide_pairs(data, parts)
    if quick:
        sets = TrainingData({part: fewer(source, seed, QUICK_SAMPLES) for part, source in sets.parts.items()})
    began = time.monotonic()
    model = fit_restoration(
        system,
        data.targets,
        sets,
        name=system.name,
        resolution_m=resolution_of(data),
        seed=seed,
        epochs=epochs,
        max_minutes=max_minutes,
        folder=place,
        progress=progress,
        provenance=scene_provenance(data, seed),
    )
    seconds = time.monotonic() - began
    model, notes = fit_restoration_trust(model, sets[Part.TRAIN], sets[Part.CALIBRATION], seed=seed)
    figures = evaluate_restoration(model, sets[Part.TEST], seed=seed)
    split = describe_split(parts, data, protocol, seed)
    if quick:
        split |= {"images": {part.name.lower(): len(source) for part, source in sets.parts.items()}}
    fixed = ("projection.weight", "running_mean", "running_var", "num_batches_tracked")
    return {
        "figures": figures,
        "notes": notes,
        "parameters": sum(int(array.size) for name, array in model.weights.items() if not name.endswith(fixed)),
        "seconds": seconds,
        "split": split,
        "history": dict(model.spec.training["history"]),
    }


def _summarise(
    system: System,
    protocol: BenchProtocol,
    data: RestorationData,
    draws: list[dict[str, Any]],
    quick: bool,
    notes: list[str],
) -> BenchResult:
    def beside(metric: str) -> tuple[PublishedFigure, ...]:
        return tuple(f for f in system.figures if f.bench == protocol.name and f.metric == metric)

    def ours(part: str, name: str) -> Mapping[str, Any]:
        values = [draw["figures"].get(part, {}).get(name) for draw in draws]
        known = [float(value) for value in values if value is not None]
        return spread(known) if known else {}

    names = dict.fromkeys((*protocol.metrics, *(figure.metric for figure in system.figures if figure.bench)))
    rows = [Row(name, ours("metrics", name), beside(name)) for name in names]
    for part in ("cloudy", "clear", "input"):
        rows += [Row(f"{name} ({part})", ours(part, name)) for name in ("mae", "psnr", "ssim", "sam")]
    rows += [
        Row(f"{name} (cloudy pixels)", ours("error_bars_cloudy", name))
        for name in ("uce_over_rmse", "coverage_90")
        if ours("error_bars_cloudy", name)
    ]
    shown = {id(figure) for row in rows for figure in row.published}
    seconds, splits, trainings = ([draw[name] for draw in draws] for name in ("seconds", "split", "history"))
    facts = {
        **common_facts(system, data, quick, seconds, splits, trainings),
        "parameters": draws[0]["parameters"],
        "figures": [draw["figures"] for draw in draws],
        "notes": notes,
    }
    elsewhere = tuple(figure for figure in system.figures if id(figure) not in shown)
    return BenchResult(system, protocol, tuple(rows), elsewhere, facts)
