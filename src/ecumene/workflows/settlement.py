"""Settlement extent and local climate zones at once: from scenes, labelled zones and a map of extents to a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.progress import Progress, silent
from ecumene.legends.library import get_legend
from ecumene.models.bundle import Model
from ecumene.objectives import SettlementZones
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.labels import LabelRaster, read_labels, require_trainable
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.split import split_blocks
from ecumene.samples.statistics import channel_statistics
from ecumene.samples.targets import TargetRaster, read_targets
from ecumene.scenes.grid import ground_sampling_m
from ecumene.systems import System, get_system
from ecumene.training.provenance import make_inputs, training_provenance
from ecumene.workflows.fit import fit_network_system, keep_model, training_options
from ecumene.workflows.settlement_trust import fit_joint_trust, joint_figures
from ecumene.workflows.shift import BAND_QUANTILES, training_quantiles
from ecumene.workflows.stacks import Declaration, Paths, open_stack
from ecumene.workflows.train import check_options, select_bands
from ecumene.workflows.training_data import TrainingData, collect_training_data
from ecumene.workflows.uncertainty import SINGLE


def train_settlement(
    scenes: Paths,
    zones: str | Path,
    extent: str | Path,
    out: str | Path,
    *,
    zone_field: str = "class",
    extent_field: str = "extent",
    legend: str | None = "lcz",
    system: str = "hse-lcz-mtl",
    use_bands: Sequence[str] | None = None,
    block_size_m: float | None = None,
    buffer_m: float = 0.0,
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    mask_clouds: bool = True,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Model:
    """Train a network of settlement extent and zones, measure its errors on blocks that it has not seen, write it.

    Args:
        scenes: One path an acquisition; each date is a sample of its own.
        zones: Labelled zones, a vector file or a categorical raster; they also say which pixels are learned from.
        extent: Share of settled ground in 0..1, a raster or a vector file; may be unknown where zones are known.
        out: Folder of the bundle; replaced if it is one.
        zone_field: Column of the zone.
        extent_field: Column of the extent, of a vector file.
        legend: Published legend whose codes the zones have; None: the file's own classes.
        system: A system with this objective.
        use_bands: Bands to learn from; None: all.
        block_size_m: Side of the blocks of the split; None: chosen from the labels.
        buffer_m: Least distance between parts of the split.
        seed: Of everything random.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Share of pixels whose set of zones shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        mask_clouds: Treat cloud, shadow and defects as nodata.
        progress: Called with (done, total, what).
        **declaration: `sensor`, `level`, `scale`, ... where the files do not say it.

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable scenes, labels or options.
    """
    out, chosen = Path(out), get_system(system)
    check_options(out, "block", coverage, false_alarm_rate)
    if chosen.objective != SettlementZones.name:
        raise ConfigurationError(f"{system} does not learn settlement extents; choose hse-lcz-mtl.")
    stack = select_bands(open_stack(scenes, mask_clouds=mask_clouds, **declaration), use_bands)
    known = require_trainable(with_legend(read_labels(zones, zone_field, stack.geobox), legend))
    shares = _read_extent(extent, extent_field, stack.geobox)
    split = split_blocks(known, block_size_m=block_size_m, buffer_m=buffer_m, seed=seed, group="block")
    data = joint_training_data(collect_training_data(stack, known, split, chosen, seed=seed), shares)
    model = _fit(chosen, data, known, seed, epochs, max_minutes, out, progress, ground_sampling_m(stack.geobox))
    model = model.with_training(
        **training_provenance(stack.sources, labels=Path(zones), seed=seed),
        system=chosen.name,
        mask_clouds=mask_clouds,
        split=split.summary(),
        **{BAND_QUANTILES: training_quantiles(data[Part.TRAIN])},
    )
    model, notes = fit_joint_trust(
        model, data[Part.TRAIN], data[Part.CALIBRATION], coverage, false_alarm_rate, seed=seed
    )
    model = model.with_training(accuracy=joint_figures(model, data[Part.TEST], seed=seed), notes=notes)
    return keep_model(model, out)


def with_legend(known: LabelRaster, name: str | None) -> LabelRaster:
    """Return labels with a published legend, by the codes of their classes.

    Args:
        known: Labels whose classes have the legend's codes; a raster's have its values.
        name: Of the legend; None: the labels' own classes.

    Raises:
        LabelError: If a code is none of the legend.
    """
    if name is None:
        return known
    legend = get_legend(name)
    foreign = [entry for entry in known.legend.classes if entry.value not in legend.values]
    if foreign:
        raise LabelError(
            f"The label {foreign[0].value} ({foreign[0].name}) is no code of the legend {name!r}; give labels with "
            "its codes or another legend."
        )
    table = np.array([*(legend.values.index(value) for value in known.legend.values), IGNORE], known.classes.dtype)
    features = [0] * len(legend)
    for index, count in zip(table[:-1], known.features_per_class, strict=False):
        features[int(index)] = count
    return replace(known, classes=table[known.classes], legend=legend, features_per_class=tuple(features))


def _read_extent(path: str | Path, field: str, geobox: Any) -> TargetRaster:
    from ecumene.samples.vectors import is_vector

    shares = read_targets(path, field if is_vector(path) else None, geobox)
    finite = shares.values[np.isfinite(shares.values)]
    if finite.size and not (finite.min() >= 0.0 and finite.max() <= 1.0):
        raise LabelError(
            f"Settlement extents are shares in 0..1, but {Path(path).name} holds {finite.min():g} to {finite.max():g}; "
            "divide percent by 100."
        )
    return shares


def joint_training_data(data: TrainingData, shares: TargetRaster) -> TrainingData:
    """Return the sets with targets `[N, 2, P, P]`: the extent and the zone's index, NaN where unknown.

    The extent counts where the zone's pixel belongs to the part, so that no part sees another's.
    """
    joined = {}
    for part in (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST):
        patches: PatchSet = data[part]
        zone = np.where(patches.mask == IGNORE, np.nan, patches.mask).astype(np.float32)
        extent = np.full_like(zone, np.nan)
        for number, window in enumerate(patches.windows):
            extent[number] = np.where(patches.group[number] >= 0, shares.read(window), np.nan)
        joined[part] = replace(patches, mask=np.stack([extent, zone], axis=1))
    if not np.isfinite(joined[Part.TRAIN].mask[:, 0]).any():
        raise LabelError("No settlement extent is known where zones are labelled; give both for the same place.")
    return TrainingData(joined)


def _fit(
    system: System,
    data: TrainingData,
    known: LabelRaster,
    seed: int,
    epochs: int | None,
    max_minutes: float | None,
    out: Path,
    progress: Progress,
    resolution_m: float,
) -> Model:
    train = data[Part.TRAIN]
    inputs = make_inputs(train.channels, channel_statistics(train))
    options = training_options(system, len(train), seed, epochs, max_minutes)
    objective = SettlementZones(known.legend)
    fitted = fit_network_system(system, objective, inputs, data, options, SINGLE, out, progress)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return fitted.to_model(
        name=f"{out.resolve().name}-{system.name}",
        created=created,
        resolution_m=resolution_m,
        training={"history": fitted.summary},
    )
