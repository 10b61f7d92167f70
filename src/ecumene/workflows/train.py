"""The verb `train`: a model from scenes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.files import ensure_writable_folder, sha256_of
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.samples.labels import LabelRaster, read_labels, require_trainable
from ecumene.samples.split import Split, split_blocks
from ecumene.samples.targets import TargetRaster
from ecumene.scenes.grid import ground_sampling_m
from ecumene.scenes.stack import SceneStack
from ecumene.systems import System, get_system
from ecumene.training.provenance import training_provenance
from ecumene.workflows.beginning import system_of
from ecumene.workflows.calibrate import calibration_part, fit_trust
from ecumene.workflows.evaluate import evaluate_classifier
from ecumene.workflows.export import add_graphs, check_graphs
from ecumene.workflows.fit import Fitted, class_objective, fit_system, keep_model
from ecumene.workflows.holdout import write_holdout
from ecumene.workflows.pair_decision import settle_change
from ecumene.workflows.regression import (
    choose_number_system,
    evaluate_numbers,
    fit_error_bars,
    number_objective,
    read_number,
    write_number_holdout,
)
from ecumene.workflows.shift import BAND_QUANTILES, training_quantiles
from ecumene.workflows.stacks import Declaration, Paths, open_stack
from ecumene.workflows.training_data import collect_training_data, require_features, require_pair
from ecumene.workflows.uncertainty import check_uncertainty, parse_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning

SERIES_FROM = 3
"""`auto` takes the series network from this number of dates on."""

POLYGONS_FOR_A_NETWORK = 50
"""`auto` takes a random forest below this number of labelled features: with fewer, the compact U-Net lost to it on
real scenes (benchmarks/results/main_path.json, s2_amazon_village)."""


def choose_system(name: str, stack: SceneStack, labels: LabelRaster) -> System:
    """Return the named system; `auto` decides by the number of dates and of labelled features.

    Raises:
        ConfigurationError: If the name is unknown, or a series system was given one date.
    """
    if name == "auto":
        few = sum(labels.features_per_class) < POLYGONS_FOR_A_NETWORK
        if len(stack.times) >= SERIES_FROM:
            name = "ltae-series"
        elif few and len(stack.times) == 1:
            name = "random-forest"
        else:
            name = "unet-small"
    system = get_system(name)
    if system.reads == "series" and len(stack.times) < 2:
        raise ConfigurationError(
            f"{name} learns from a series, but only one date was given; add dates or choose another --system."
        )
    if system.of_sites:
        raise ConfigurationError(f"{name} learns from several places at once; give their folder with --data.")
    require_pair(system, stack)
    require_features(system, stack)
    return system


def select_bands(stack: SceneStack, use_bands: Sequence[str] | None) -> SceneStack:
    """Keep the channels whose band name or `sensor/band` key is listed, in that order.

    Raises:
        ConfigurationError: If a band is not there.
    """
    if not use_bands:
        return stack
    keys = []
    for wanted in use_bands:
        found = [channel.key for channel in stack.channels if wanted in (channel.band, channel.key)]
        if not found:
            there = ", ".join(channel.band for channel in stack.channels)
            raise ConfigurationError(f"The scenes have no band {wanted!r}; they have {there}.")
        keys.extend(found)
    return stack.select(keys)


def _train_name(out: Path, system: System) -> str:
    return f"{out.resolve().name}-{system.name}" if out.name else system.name


def _assemble(fitted: Fitted, stack: SceneStack, system: System, out: Path, provenance: dict[str, Any]) -> Model:
    return fitted.to_model(
        name=_train_name(out, system),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        resolution_m=ground_sampling_m(stack.geobox),
        training=provenance,
    )


def train_model(
    scenes: Paths,
    labels: str | Path,
    out: str | Path,
    *,
    label_field: str = "class",
    target: str | None = None,
    target_unit: str = "1",
    uncertainty: str = "single",
    system: str = "auto",
    use_bands: Sequence[str] | None = None,
    block_size_m: float | None = None,
    buffer_m: float = 0.0,
    split_by: str = "block",
    holdout: str | Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    onnx: bool = False,
    int8: bool = False,
    mask_clouds: bool = True,
    initial: Beginning | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Model:
    """Train a classifier (or, with `target`, a regression) from scenes and labels, calibrate it, write its bundle.

    The labelled area is split into blocks: one part is learned from, one stops the training, one fits
    temperature, class sets and outlier threshold, one is only measured on and gives the card's figures.

    Args:
        scenes: One path an acquisition.
        labels: Vector file (points, polygons, any CRS) or categorical raster.
        out: Folder of the bundle; replaced if it is one.
        label_field: Column of the class.
        target: Column of a number to learn instead of classes; for a raster of numbers, what to call them.
        target_unit: Unit of the number.
        uncertainty: How a network gets a predictive distribution of several members: `single` (none), or
            `ensemble`, `mc-dropout`, `laplace`, `augmentation` with a number, such as `ensemble:4`.
        system: Name from `ecumene systems`; `auto`: a series network from three dates on, else a
            compact U-Net, or a random forest where there are fewer than 50 labelled features.
        use_bands: Bands to learn from; None: all.
        block_size_m: Side of the blocks of the split; None: chosen from the labels.
        buffer_m: Least distance between parts of the split.
        split_by: `block` or `feature` (whole polygons).
        holdout: Write the test part's labels here as a vector file for `assess_map`.
        seed: Of everything random.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Share of pixels whose class set shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        int8: Add `model-int8.onnx` as well, scaled by windows of the scenes, for faster maps; a network that does not
            agree with float32 is left out, and the model has a note that says so.
        mask_clouds: Treat cloud, shadow and defects as nodata.
        initial: Bundle whose weights the network begins with; its system is trained where `system` is `auto`.
        progress: Called with (done, total, what).
        **declaration: `sensor`, `level`, `scale`, ... where the files do not say it.

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable scenes, labels or options.
    """
    out = Path(out)
    check_options(out, split_by, coverage, false_alarm_rate)
    members = parse_uncertainty(uncertainty)
    group: Literal["block", "feature"] = "block" if split_by == "block" else "feature"
    stack = select_bands(open_stack(scenes, mask_clouds=mask_clouds, **declaration), use_bands)
    system = system if initial is None else system_of(initial.model, system)
    raster, strata, chosen = _read_known(stack, labels, label_field, target, system)
    check_uncertainty(members, chosen)
    if onnx or int8:
        check_graphs(chosen, int8=int8)
    split = split_blocks(strata, block_size_m=block_size_m, buffer_m=buffer_m, seed=seed, group=group)
    data = collect_training_data(stack, raster, split, chosen, seed=seed)
    if isinstance(raster, TargetRaster):
        objective = number_objective(chosen, raster, target_unit, data)
    else:
        objective = settle_change(chosen, class_objective(chosen, raster.legend), data[Part.TRAIN])
    fitted = fit_system(
        chosen,
        stack,
        objective,
        data,
        seed=seed,
        epochs=epochs,
        max_minutes=max_minutes,
        folder=out,
        progress=progress,
        uncertainty=members,
        beginning=initial,
    )
    provenance = training_provenance(stack.sources, labels=Path(labels), seed=seed) | {
        "system": chosen.name,
        "mask_clouds": mask_clouds,
        "split": split.summary(),
        "history": fitted.summary,
        BAND_QUANTILES: training_quantiles(data[Part.TRAIN]),
    }
    model = _assemble(fitted, stack, chosen, out, provenance)
    numbers = isinstance(raster, TargetRaster)
    fit_classes = partial(fit_trust, decide_on=data[Part.VALIDATION])
    fit, evaluate = (fit_error_bars, evaluate_numbers) if numbers else (fit_classes, evaluate_classifier)
    model, notes = fit(
        model,
        data[Part.TRAIN],
        data[Part.CALIBRATION] if numbers else calibration_part(data, chosen),
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
        seed=seed,
    )
    figures = evaluate(model, data[Part.TEST], seed=seed)
    model = model.with_training(accuracy=figures, notes=notes)
    if holdout is not None:
        model = model.with_training(holdout=_write_holdout(Path(holdout), raster, split, seed))
    if (onnx or int8) and chosen.kind == "network":  # trees map without torch as they are
        model = add_graphs(model, stack, int8=int8, progress=progress)
    return keep_model(model, out)


def _read_known(
    stack: SceneStack, labels: str | Path, label_field: str, target: str | None, system: str
) -> tuple[LabelRaster | TargetRaster, LabelRaster, System]:
    """Return what is known of the ground, classes by which a split can balance it, and the system to train."""
    if target is not None:
        numbers = read_number(labels, target, stack.geobox)
        return numbers, numbers.strata(), choose_number_system(system, stack)
    classes = require_trainable(read_labels(labels, label_field, stack.geobox))
    return classes, classes, choose_system(system, stack, classes)


def _write_holdout(path: Path, known: LabelRaster | TargetRaster, split: Split, seed: int) -> dict[str, Any]:
    """Write the test part and return by what it is recognised again."""
    if isinstance(known, TargetRaster):
        points = write_number_holdout(path, known, split, seed=seed)
    else:
        points = write_holdout(path, known, split, seed=seed)
    return {"name": path.name, "sha256": sha256_of(path), "points": points}


def check_options(out: Path, split_by: str, coverage: float, false_alarm_rate: float) -> None:
    """Refuse before the training what could not be used after it."""
    if split_by not in ("block", "feature"):
        raise ConfigurationError(f"--split is 'block' or 'feature', not {split_by!r}.")
    for name, value in (("coverage", coverage), ("false_alarm_rate", false_alarm_rate)):
        if not 0 < value < 1:
            raise ConfigurationError(f"The {name} is a share between 0 and 1, not {value}.")
    ensure_writable_folder(out.parent)
    if out.exists() and not out.is_dir():
        raise ModelError(f"{out} is a file; choose another --out, it was not changed.")
    if out.exists() and not (out / "model.json").exists() and any(out.iterdir()):
        raise ModelError(f"{out} is a folder with other files; choose another --out, nothing there was changed.")
