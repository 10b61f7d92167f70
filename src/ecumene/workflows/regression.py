"""Models of numbers: what `train --target` does differently from classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, EcumeneError, LabelError
from ecumene.core.files import atomic_path
from ecumene.indicators.regression import regression_report
from ecumene.models.bundle import Model
from ecumene.objectives import build_objective
from ecumene.objectives.arrays import to_numpy
from ecumene.objectives.contract import Objective
from ecumene.samples.contract import Part
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.split import Split
from ecumene.samples.targets import TargetRaster, read_targets
from ecumene.scenes.stack import SceneStack
from ecumene.systems import System, get_system
from ecumene.trust.calibration import Calibration
from ecumene.trust.intervals import ConformalIntervals
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.quantile import best_coverage
from ecumene.trust.regression_measures import interval_report
from ecumene.trust.variance_choice import VarianceChoice, choose_variance
from ecumene.workflows.evaluate import error_bar_figures
from ecumene.workflows.fit import with_own_members
from ecumene.workflows.training_data import TrainingData, require_pair

SERIES_FROM = 3
MOST_PIXELS = 200_000
FEWEST_HELD_OUT = 50
CHOICE = "error_bar_choice"
"""Key of `ModelSpec.training` that says how error bars were recalibrated, and why."""


@dataclass(frozen=True)
class NumberPixels:
    """What a model says at pixels with a known number.

    Attributes:
        mean: Predicted mean, float64 `[N]`, in the target's unit.
        deviation: Predicted standard deviation, float64 `[N]`.
        epistemic: Part of it on which members differ, float64 `[N]`; 0 for a single network.
        features: Of the outlier detector, float32 `[N, F]`.
        target: Known number, float64 `[N]`.
        group: Block or feature, int64 `[N]`; pixels of one group are not independent.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    epistemic: NDArray[np.float64]
    features: NDArray[np.float32]
    target: NDArray[np.float64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


def choose_number_system(name: str, stack: SceneStack) -> System:
    """Return a system that learns numbers; `auto`: a series network from three dates on, else the compact U-Net.

    Raises:
        ConfigurationError: If the system is unknown, learns classes only, or needs a series that is not there.
    """
    if name == "auto":
        name = "ltae-series" if len(stack.times) >= SERIES_FROM else "unet-small"
    system = get_system(name)
    if system.reads == "series" and len(stack.times) < 2:
        raise ConfigurationError(
            f"{name} learns from a series, but only one date was given; add dates or choose another --system."
        )
    require_pair(system, stack)
    if system.kind != "network" or system.objective == "jaccard-segmentation":
        raise ConfigurationError(f"{name} learns classes only; choose a network for numbers, such as unet-small.")
    if system.task == "regression":
        return system
    training = {key: value for key, value in system.training.items() if key != "class_balance"}
    return system.model_copy(
        update={"task": "regression", "objective": "pixel-regression", "objective_arguments": {}, "training": training}
    )


def read_number(path: str | Path, name: str, geobox: GeoBox) -> TargetRaster:
    """Read the column `name` of a vector file, or a raster of numbers that is to be called so.

    Raises:
        LabelError: If the file cannot be used or no number falls into the grid.
    """
    from ecumene.samples.vectors import is_vector

    return replace(read_targets(path, name if is_vector(path) else None, geobox), name=name)


def number_objective(system: System, target: TargetRaster, unit: str, data: TrainingData) -> Objective:
    """Return the objective of a system for one number, standardised by its training pixels.

    Raises:
        LabelError: If the number is the same everywhere.
    """
    patches = data[Part.TRAIN]
    known = patches.mask[patches.labelled].astype(np.float64)
    if known.size == 0 or not float(np.ptp(known)) > 0.0:
        raise LabelError(f"The number {target.name!r} is the same at all training pixels; there is nothing to learn.")
    base = build_objective(
        {
            "name": system.objective,
            "targets": [target.name],
            "unit": unit,
            "target_mean": [float(known.mean())],
            "target_std": [float(known.std())],
            **system.objective_arguments,
        }
    )
    return with_own_members(system, base)


def numbers_at_labels(model: Model, patches: PatchSet, *, seed: int = 0, batch_pixels: int = 1 << 18) -> NumberPixels:
    """Run a model of one number over patches and keep what it says at pixels with a known number.

    Args:
        model: With an objective for one number.
        patches: Windows or single pixels with numbers.
        seed: Of the draw, where there are more than 200,000 such pixels.
        batch_pixels: Pixels of one batch.
    """
    side = patches.image.shape[-1] * patches.image.shape[-2]
    step = max(1, batch_pixels // side)
    rows: list[list[NDArray[Any]]] = []
    for start in range(0, len(patches), step):
        part = slice(start, start + step)
        valid = patches.valid[part]
        usable = patches.labelled[part] & (valid if valid.ndim == 3 else valid.any(axis=1))
        if not usable.any():
            continue
        dates = patches.dates[part].astype(np.float32) if model.spec.temporal else None
        image = np.ascontiguousarray(patches.image[part], np.float32)
        prediction = model.objective.predict(model.raw_output(image, dates))
        epistemic = 0.0 * prediction.total if prediction.epistemic is None else prediction.epistemic
        maps = [to_numpy(entry)[:, 0][usable] for entry in (prediction.value, prediction.total, epistemic)]
        features = np.moveaxis(model.detector_features(image, dates), 1, -1)[usable]
        rows.append([*maps, features, patches.mask[part][usable], patches.group[part][usable]])
    if not rows:
        none = np.empty(0)
        return NumberPixels(none, none, none, np.empty((0, 1), np.float32), none, np.empty(0, np.int64))
    joined = [np.concatenate(column) for column in zip(*rows, strict=True)]
    if len(joined[0]) > MOST_PIXELS:
        keep = np.sort(np.random.default_rng(seed).choice(len(joined[0]), MOST_PIXELS, replace=False))
        joined = [column[keep] for column in joined]
    mean, deviation, spread, features, target, group = joined
    return NumberPixels(
        mean=mean.astype(np.float64),
        deviation=deviation.astype(np.float64),
        epistemic=spread.astype(np.float64),
        features=features,
        target=target.astype(np.float64),
        group=group.astype(np.int64),
    )


def fit_error_bars(
    model: Model,
    train: PatchSet,
    held_out: PatchSet,
    *,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> tuple[Model, list[str]]:
    """Recalibrate error bars, fit conformal intervals and the outlier detector; return the model with them.

    Error bars are left alone, multiplied by one factor or mapped isotonically, by what surely gains on left-out blocks
    (`trust.variance_choice`); intervals are fitted after it.

    Args:
        model: A fitted model of one number.
        train: What it has learned from: reference of the outlier detector.
        held_out: Blocks that it has not learned from.
        coverage: Share of pixels whose interval shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged.
        seed: Of subsampling.

    Returns:
        The model, and sentences about what could not be fitted and why.
    """
    bare = model.with_trust(calibration=Calibration())  # an earlier recalibration is replaced, not added to
    known, fresh = (numbers_at_labels(bare, patches, seed=seed) for patches in (train, held_out))
    notes: list[str] = []
    choice, intervals = VarianceChoice(), None
    try:
        choice = choose_variance(fresh.mean, fresh.deviation, fresh.target, fresh.group)
        notes.append(choice.note)
        intervals = _intervals(
            replace(fresh, deviation=choice.apply(fresh.deviation).astype(np.float64)), coverage, notes
        )
    except EcumeneError as error:
        notes.append(str(error))
    detector = CombinedDetector.fit(known.features, None, seed=seed)
    reference = fresh if len(fresh) >= FEWEST_HELD_OUT else known
    if reference is known:
        notes.append("The outlier threshold was set on training pixels, because fewer than 50 held-out pixels exist.")
    detector = detector.with_threshold(detector.score(reference.features), false_alarm_rate, groups=reference.group)
    maps = None if choice.isotonic is None else (choice.isotonic,)
    calibration = Calibration(intervals=intervals, variance_scale=choice.scale, variances=maps)
    trusted = bare.with_trust(calibration=calibration, detector=detector)
    return trusted.with_training(**{CHOICE: choice.to_dict()}), notes


def _intervals(fresh: NumberPixels, coverage: float, notes: list[str]) -> ConformalIntervals:
    """Fit intervals that hit the coverage on average over blocks, and say what they can promise."""
    fitted = ConformalIntervals.fit(
        fresh.mean, fresh.deviation, fresh.target, coverage, groups=fresh.group, aim="average"
    )
    blocks = len(np.unique(fresh.group))
    needed = math.ceil(coverage / (1.0 - coverage) - 1e-9)
    if blocks < needed:
        notes.append(
            f"The intervals aim at {coverage:.0%}, but with {blocks} calibration block{'s' * (blocks > 1)} nobody can "
            f"promise more than {best_coverage(blocks):.0%} for a new block; {coverage:.0%} needs {needed} blocks."
        )
    return fitted


def evaluate_numbers(model: Model, test: PatchSet, *, seed: int = 0) -> dict[str, Any]:
    """Measure errors, error bars, intervals and false alarms on held-out test pixels.

    Args:
        model: A model of one number with its error bars fitted.
        test: Pixels of the test blocks with known numbers.
        seed: Of subsampling.

    Returns:
        JSON-able figures; empty if there is no test pixel.
    """
    held_out = numbers_at_labels(model, test, seed=seed)
    if len(held_out) == 0:
        return {}
    before = numbers_at_labels(model.with_trust(calibration=Calibration()), test, seed=seed)
    errors = regression_report(held_out.target, held_out.mean, blocks=held_out.group, seed=seed)
    figures: dict[str, Any] = {
        "pixels": len(held_out),
        "blocks": len(np.unique(held_out.group)),
        "errors": errors.to_dict(),
        "error_bars": {
            "recalibration": str((model.spec.training.get(CHOICE) or {}).get("chosen", "none")),
            "mean_epistemic_standard_deviation": float(held_out.epistemic.mean()),
            **bar_figures(held_out.mean, held_out.deviation, held_out.target),
        },
        "error_bars_before": _scalars(bar_figures(before.mean, before.deviation, before.target)),
    }
    intervals = None if model.calibration is None else model.calibration.intervals
    if intervals is not None:
        figures["intervals"] = interval_figures(
            intervals, held_out.mean, held_out.deviation, held_out.target, held_out.group
        )
    if model.detector is not None and model.detector.threshold is not None:
        flagged = model.detector.score(held_out.features) > model.detector.threshold
        figures["outlier"] = {"flagged_share_in_distribution": float(flagged.mean())}
    return figures


def bar_figures(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], target: NDArray[np.float64]
) -> dict[str, Any]:
    """Return how honest error bars `[N]` of numbers are, as JSON-able figures."""
    error, variance = target - mean, deviation**2
    likelihood = 0.5 * np.log(2.0 * np.pi * variance) + 0.5 * error**2 / variance
    return {
        "mean_standard_deviation": float(deviation.mean()),
        "within_one_standard_deviation": float((np.abs(error) <= deviation).mean()),
        "negative_log_likelihood": float(likelihood.mean()),
        **error_bar_figures(mean, deviation, target),
    }


def interval_figures(
    intervals: ConformalIntervals,
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    target: NDArray[np.float64],
    group: NDArray[np.int64],
) -> dict[str, Any]:
    """Return how often intervals hold the truth, over all and block by block, as JSON-able figures."""
    lower, upper = intervals.interval(mean, deviation)
    return {
        "wanted_coverage": intervals.coverage,
        "promised_coverage": intervals.promised,
        **interval_report(lower, upper, target, intervals.coverage, group).to_dict(),
    }


def _scalars(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that are one number, and AUSE of the curve."""
    found = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    return found | ({"ause": figures["sparsification"]["ause"]} if "sparsification" in figures else {})


def write_number_holdout(path: Path, target: TargetRaster, split: Split, *, seed: int, most: int = 2000) -> int:
    """Write points at pixel centres of the test part with the number and the column `block`.

    Args:
        path: GeoPackage or GeoJSON to write.
        target: The numbers.
        split: The split; its part TEST is written.
        seed: Of the draw.
        most: Most points.

    Returns:
        Number of points.

    Raises:
        LabelError: If the test part is empty.
    """
    import geopandas

    rows, cols = np.nonzero(np.isfinite(target.values) & (split.parts == Part.TEST))
    if len(rows) == 0:
        raise LabelError("The test part of the split has no known number, so no held-out points can be written.")
    if len(rows) > most:
        keep = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
        rows, cols = rows[keep], cols[keep]
    affine = target.geobox.transform
    across, down = cols + target.window.col + 0.5, rows + target.window.row + 0.5
    x, y = affine.a * across + affine.b * down + affine.c, affine.d * across + affine.e * down + affine.f
    frame = geopandas.GeoDataFrame(
        {target.name: target.values[rows, cols], "block": split.block_id[rows, cols]},
        geometry=geopandas.points_from_xy(x, y),
        crs=target.geobox.crs.to_wkt() if target.geobox.crs is not None else None,
    )
    driver = "GeoJSON" if path.suffix.lower() in {".geojson", ".json"} else "GPKG"
    with atomic_path(path) as temporary:
        frame.to_file(temporary, driver=driver, layer=path.stem)
    return len(frame)
