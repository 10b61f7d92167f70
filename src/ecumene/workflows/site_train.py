"""The verb `train` on places at several dates, labelled and not: settlement, change, and when a place was built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError, MissingDependencyError
from ecumene.core.files import sha256_of
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand
from ecumene.samples.augmentation import Compose, RandomD4
from ecumene.samples.contract import Part
from ecumene.samples.datasets.growth_sites import GrowthSites
from ecumene.samples.datasets.simulated import simulated_notice
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.site_augmentation import BandGamma, ImportanceCrop
from ecumene.samples.statistics import channel_statistics
from ecumene.systems import System, get_system
from ecumene.training.provenance import make_inputs, training_provenance
from ecumene.workflows.calibrate import fit_trust
from ecumene.workflows.evaluate import evaluate_classifier
from ecumene.workflows.export import check_graphs
from ecumene.workflows.fit import class_objective, fit_network_system, keep_model, training_options
from ecumene.workflows.shift import BAND_QUANTILES, training_quantiles
from ecumene.workflows.site_data import SiteOptions, collect_sites, growth_legend
from ecumene.workflows.train import check_options
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import SINGLE


def train_sites(
    folder: str | Path,
    system: str | System,
    out: str | Path,
    *,
    data_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    onnx: bool = False,
    progress: Progress = silent,
) -> Model:
    """Train a system on sites, calibrate it on others, measure it on the test sites, write its bundle.

    Args:
        folder: See `samples.datasets.growth_sites`.
        system: A system that learns from sites.
        out: Folder of the bundle; replaced if it is one.
        data_options: Of `SiteOptions`, instead of the system's.
        seed: Of everything random.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Share of pixels whose class set shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        progress: Called with (epochs done, epochs, what).

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable data or options.
    """
    out = Path(out)
    check_options(out, "block", coverage, false_alarm_rate)
    chosen = get_system(system) if isinstance(system, str) else system
    if onnx:
        check_graphs(chosen, int8=False)
    options = site_options(chosen, data_options)
    sites = GrowthSites.open(folder, options.bands)
    stride = 1 << len(network_arguments(chosen)["widths"])
    data = collect_sites(sites, options, chosen.patch_size, stride, seed=seed)
    model = fit_sites(
        chosen, sites, data, options, seed=seed, epochs=epochs, max_minutes=max_minutes, out=out, progress=progress
    )
    flat = {part: answer_only(found) for part, found in data.parts.items()}
    model, notes = fit_trust(
        model,
        flat[Part.TRAIN],
        flat[Part.CALIBRATION],
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
        seed=seed,
        decide_on=flat[Part.VALIDATION],
    )
    simulated = simulated_notice(folder)
    if simulated:
        notes.insert(0, f"The training and test images are {simulated}.")
    model = model.with_training(accuracy=evaluate_classifier(model, flat[Part.TEST], seed=seed), notes=notes)
    return keep_model(model, out, onnx=onnx)


def site_options(system: System, overrides: Mapping[str, Any] | None = None) -> SiteOptions:
    """Return what a system takes from sites, with what the user wants instead.

    Raises:
        ConfigurationError: If the system does not learn from sites, or an option is unknown or out of range.
    """
    if not system.of_sites:
        raise ConfigurationError(f"{system.name} does not learn from sites at several dates; choose another --system.")
    merged = {**system.data_options, **(overrides or {})}
    known = [field.name for field in fields(SiteOptions)]
    for name in merged:
        if name not in known:
            raise ConfigurationError(f"Sites have no option {name!r}; they have {', '.join(known)}.")
    if "dates" in (overrides or {}) and system.reads != "series":
        raise ConfigurationError(f"{system.name} reads {system.data_options['dates']} dates, which is no option of it.")
    bands = merged.get("bands")
    try:
        options = SiteOptions(**merged | {"bands": None if bands is None else tuple(bands)})
    except TypeError as error:
        raise ConfigurationError(f"An option of the sites has the wrong kind of value ({error}).") from error
    if system.reads == "series":
        _check_series(options.dates)
    return options


def _check_series(dates: int) -> None:
    """Refuse a series that the network of a series cannot integrate, before anything is read.

    Raises:
        ConfigurationError: If that is so.
        MissingDependencyError: If torch is not installed.
    """
    require("torch")
    from ecumene.networks.temporal_graph import MOST_DATES

    if not 2 <= dates <= MOST_DATES:
        raise ConfigurationError(
            f"A series of sites has 2 to {MOST_DATES} dates, not {dates}; choose another --data-option dates=."
        )


def network_arguments(system: System) -> dict[str, Any]:
    """Return the arguments of a system's network with their defaults.

    Raises:
        MissingDependencyError: If torch is not installed.
    """
    from ecumene.networks import network_class

    if system.network is None:
        raise MissingDependencyError(f"{system.name} has no network.")
    parameters = inspect.signature(network_class(system.network)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return defaults | system.network_arguments


def site_augmentation(inputs: tuple[InputBand, ...], crop: int, classes: int, dates: int) -> Compose:
    """Return crops where something is rare, exact symmetries, and other brightness of each optical band."""
    rare = (1,) if dates < 3 else tuple(range(2, classes))
    optical = [i for i, band in enumerate(inputs) if band.unit == "1" and band.center_wavelength_um is not None]
    return Compose((ImportanceCrop(crop, rare), RandomD4(), BandGamma(tuple(optical))))


def fit_sites(
    system: System,
    sites: GrowthSites,
    data: TrainingData,
    options: SiteOptions,
    *,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    out: Path,
    progress: Progress = silent,
) -> Model:
    """Train the system's network on the sets of `collect_sites`; return the model without its trust.

    Args:
        system: What to train.
        sites: Where the sets come from.
        data: The sets.
        options: How they were made.
        seed: Of everything random.
        epochs: Most passes; None: the system's.
        max_minutes: Time limit.
        out: Folder of the bundle-to-be, beside which checkpoints are kept.
        progress: Called with (epochs done, epochs, what).
    """
    train: PatchSet = data[Part.TRAIN]
    inputs = make_inputs(sites.channels, channel_statistics(train))
    legend = growth_legend(options.dates)
    objective = class_objective(system, legend)
    if system.reads == "pair":
        objective = objective.looking_for(legend.names[1])
    arguments = dict(system.network_arguments)
    if "dates" in network_arguments(system):
        arguments["dates"] = options.dates
    system = system.model_copy(update={"network_arguments": arguments})
    fitted = fit_network_system(
        system,
        objective,
        inputs,
        data,
        training_options(system, len(train), seed, epochs, max_minutes),
        SINGLE,
        out,
        progress,
        augmentation=site_augmentation(inputs, system.patch_size, len(legend), options.dates),
    )
    unlabelled = int((~train.labelled.any(axis=(1, 2, 3))).sum())
    provenance = training_provenance((), seed=seed) | {
        "system": system.name,
        "data": {
            "sites": {
                role: len(sites.of(role)) for role in ("train", "validation", "calibration", "test", "unlabelled")
            },
            "labelled_share": options.labelled_share,
            "windows": len(train),
            "windows_without_labels": unlabelled,
            "files": {name: sha256_of(sites.folder / name) for name in ("data_set.json", "metadata.json")},
        },
        "history": fitted.summary,
        BAND_QUANTILES: training_quantiles(train),
    }
    return fitted.to_model(
        name=f"{out.resolve().name}-{system.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution_m=sites.resolution_m,
        training=provenance,
    )


def answer_only(patches: PatchSet) -> PatchSet:
    """Return patches whose target is the answer alone, `[N, P, P]`."""
    return replace(patches, mask=patches.mask[:, 0])
