"""Error bars of models that remove clouds: recalibrated on held-out images, and judged on others."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, EcumeneError
from ecumene.models.bundle import Model
from ecumene.objectives.arrays import to_numpy
from ecumene.restoration.generative import image_features, precision_recall
from ecumene.restoration.metrics import error_bar_measures, image_measures, image_uncertainty_calibration
from ecumene.samples.restoration_set import RestorationSamples, RestorationSet
from ecumene.trust.calibration import Calibration
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.recalibration import IsotonicVariance
from ecumene.trust.scaling_fit import FEWEST_BLOCKS
from ecumene.trust.variance_choice import VarianceChoice, choose_variance

PIXELS_A_SAMPLE = 400
MOST_SAMPLES = 500
FEWEST_COVERED = 0.02
"""Share of covered pixels from which on error bars are fitted on these alone."""
BLOCK = 32
"""Side of the blocks, in pixels, that stand for places where there are too few of them."""
_TINY = 1e-12
NEIGHBOURS, FEWEST_ROWS = 3, 8
"""Of precision and recall; rows of an image from which on its features are known."""
MEASURES = ("mae", "rmse", "psnr", "ssim", "sam")


@dataclass(frozen=True)
class RestoredPixels:
    """What a model says at pixels whose clear reflectance is known.

    Attributes:
        mean: float64 `[N, K]`.
        deviation: float64 `[N, K]`.
        truth: float64 `[N, K]`.
        covered: bool `[N]`: under clouds or shadow in every date.
        group: int64 `[N]`: place.
        block: int64 `[N]`: block of a sample.
        features: float32 `[N, F]`, what the outlier detector reads.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    truth: NDArray[np.float64]
    covered: NDArray[np.bool_]
    group: NDArray[np.int64]
    block: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, chosen: NDArray[np.bool_]) -> RestoredPixels:
        """Return some of the pixels."""
        return RestoredPixels(*(getattr(self, name)[chosen] for name in _COLUMNS))


_COLUMNS = tuple(field.name for field in fields(RestoredPixels))


def restored_pixels(model: Model, samples: RestorationSamples, *, seed: int = 0) -> RestoredPixels:
    """Run a model and keep some pixels of each sample whose clear reflectance is known.

    Args:
        model: With a `restoration` objective, or members of one.
        samples: At most 500 of them are used.
        seed: Of the draws.
    """
    rows = []
    for number in _drawn(len(samples), MOST_SAMPLES, seed):
        sample = samples.read([number])
        prediction, features = _predicted(model, sample, features=True)
        rows += _pixels(sample, prediction, features, number, seed)
    return _joined(rows)


def _pixels(
    sample: RestorationSet, prediction: Any, features: NDArray[np.float32], number: int, seed: int
) -> list[RestoredPixels]:
    """Return some pixels of a sample whose clear reflectance is known; none where there is no such pixel."""
    usable = np.flatnonzero((np.isfinite(sample.target[0]).all(axis=0) & sample.valid[0]).ravel())
    if usable.size == 0:
        return []
    generator = np.random.default_rng([seed, number, 11])
    kept = generator.choice(usable, min(PIXELS_A_SAMPLE, usable.size), replace=False)
    width = sample.target.shape[-1]
    across = -(-width // BLOCK)
    block = (kept // width // BLOCK) * across + kept % width // BLOCK
    maps = [to_numpy(part)[0] for part in (prediction.value, prediction.total)] + [sample.target[0]]
    mean, deviation, truth = (
        np.moveaxis(part, 0, -1).reshape(-1, part.shape[0])[kept].astype(np.float64) for part in maps
    )
    group = np.full(len(kept), int(sample.group[0]))
    found = np.moveaxis(features[0], 0, -1).reshape(-1, features.shape[1])[kept]
    return [RestoredPixels(mean, deviation, truth, sample.cloudy[0].ravel()[kept], group, number * 4096 + block, found)]


def _joined(parts: list[RestoredPixels]) -> RestoredPixels:
    if not parts:
        none = np.empty((0, 1))
        return RestoredPixels(
            none, none, none, np.empty(0, bool), np.empty(0, np.int64), np.empty(0, np.int64), none.astype(np.float32)
        )
    return RestoredPixels(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))


def _drawn(count: int, most: int, seed: int) -> list[int]:
    """Return the numbers of at most `most` samples, ascending."""
    if count <= most:
        return list(range(count))
    chosen = np.sort(np.random.default_rng([seed, 5]).choice(count, most, replace=False))
    return [int(number) for number in chosen]


def _predicted(model: Model, sample: RestorationSet, *, features: bool = False) -> tuple[Any, NDArray[np.float32]]:
    dates = sample.dates.astype(np.float32) if model.spec.temporal else None
    image = np.ascontiguousarray(sample.image, np.float32)
    if not features:
        return model.objective.predict(model.raw_output(image, dates)), np.empty((1, 0), np.float32)
    output, found = model.raw_results(image, dates)
    return model.objective.predict(output), found


def fit_restoration_trust(
    model: Model,
    train: RestorationSamples,
    held_out: RestorationSamples,
    *,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> tuple[Model, list[str]]:
    """Recalibrate the variance of each band on held-out samples, and fit the outlier detector.

    Each band is left alone, multiplied by a factor or mapped isotonically (`trust.variance_choice`, places as blocks;
    blocks of 32 x 32 pixels where there are too few places). Variances that a network did not learn get at least the
    factor. Covered pixels alone count where there are enough of them, because those are the ones that are filled.

    Args:
        model: A fitted model.
        train: What it has learned from: reference of the outlier detector.
        held_out: What it has not learned from.
        false_alarm_rate: Share of held-out pixels that may be flagged.
        seed: Of the draws.

    Returns:
        The model, and sentences about what was done and could not be done.
    """
    bare = model.with_trust(calibration=Calibration())
    known, fresh = (restored_pixels(bare, samples, seed=seed) for samples in (train, held_out))
    if len(fresh) == 0:
        return bare, ["The error bars are the model's own: no held-out image was left to calibrate them on."]
    notes: list[str] = []
    used = fresh
    if fresh.covered.mean() >= FEWEST_COVERED and len(np.unique(fresh.block[fresh.covered])) >= FEWEST_BLOCKS:
        used = fresh.take(fresh.covered)
        notes.append("The error bars are calibrated on pixels under clouds; on clear ones they may be too wide.")
    few = len(np.unique(used.group)) < FEWEST_BLOCKS
    if few:
        notes.append(
            f"Calibration images come from {len(np.unique(used.group))} places only, so that blocks of {BLOCK} x "
            f"{BLOCK} pixels count as independent and error bars elsewhere may be off."
        )
    learned = _learns_variance(model)
    maps, names, unfit = [], [], []
    for band in range(used.mean.shape[1]):
        change, name, problem = _recalibrated(used, band, used.block if few else used.group, learned)
        maps.append(change)
        names.append(name)
        unfit += [problem] if problem else []
    kinds = ", ".join(f"{names.count(kind)} {kind}" for kind in dict.fromkeys(names))
    notes.append(f"Recalibration of the bands' variances on {len(used)} held-out pixels: {kinds}.")
    notes += [f"{unfit.count(problem)} of {len(names)} bands: {problem}" for problem in dict.fromkeys(unfit)]
    detector = CombinedDetector.fit(known.features, None, seed=seed)
    try:
        detector = detector.with_threshold(
            detector.score(fresh.features), false_alarm_rate, groups=fresh.block if few else fresh.group
        )
    except ConfigurationError as error:
        notes.append(f"Outliers are not flagged: {error}")
    trusted = bare.with_trust(calibration=Calibration(variances=tuple(maps)), detector=detector)
    return trusted.with_training(error_bar_choice={"bands": names, "notes": notes}), notes


def _learns_variance(model: Model) -> bool:
    config = model.spec.objective
    base = config.get("base", config)
    return bool(base.get("loss") == "likelihood")


def _recalibrated(
    pixels: RestoredPixels, band: int, groups: NDArray[np.int64], learned: bool
) -> tuple[IsotonicVariance, str, str]:
    """Return the map of one band's variance, what it is called, and why nothing could be chosen (else empty)."""
    mean, deviation, truth = (part[:, band] for part in (pixels.mean, pixels.deviation, pixels.truth))
    try:
        choice = choose_variance(mean, deviation, truth, groups)
        problem = ""
    except EcumeneError as error:
        choice, problem = VarianceChoice(), str(error)
    if choice.isotonic is not None:
        return choice.isotonic, "isotonic", problem
    scale, name = choice.scale, choice.name
    if name == "none" and not learned:
        scale, name = float(np.mean((truth - mean) ** 2 / deviation**2)), "factor"
    # A factor is a map with one knot at a variance below all others.
    return IsotonicVariance((_TINY,), (_TINY * max(scale, 1e-9),)), name, problem


def evaluate_restoration(
    model: Model, test: RestorationSamples, *, seed: int = 0, most: int = 10_000
) -> dict[str, Any]:
    """Measure a model on test samples: errors as the papers have them, and how honest its error bars are.

    MAE, RMSE, PSNR (peak 1), SSIM and SAM are of each image and averaged over images, as in the published codes;
    `cloudy` and `clear` are of the pixels under clouds in every date and of all others. `precision` and `recall` are
    those of `restoration.generative`, where there are enough images.

    Args:
        model: With its error bars calibrated.
        test: What nothing was fitted on.
        seed: Of the draws.
        most: Images at most.

    Returns:
        JSON-able figures; empty if there is no test sample.
    """
    rows: dict[str, list[dict[str, float | None]]] = {"metrics": [], "cloudy": [], "clear": [], "input": []}
    errors, deviations, places = [], [], set()
    looks: dict[str, list[NDArray[np.float64]]] = {"real": [], "made": []}
    numbers = _drawn(len(test), most, seed)
    looked_at = {numbers[place] for place in _drawn(len(numbers), MOST_SAMPLES, seed)}
    parts: list[RestoredPixels] = []
    for number in numbers:
        sample = test.read([number])
        prediction, features = _predicted(model, sample, features=number in looked_at)
        if number in looked_at:
            parts += _pixels(sample, prediction, features, number, seed)
        value, total = (to_numpy(part)[0] for part in (prediction.value, prediction.total))
        known = np.isfinite(sample.target[0]).all(axis=0) & sample.valid[0]
        target = np.where(known, sample.target[0], np.float32(np.nan))
        if not known.any():
            continue
        rows["metrics"].append(image_measures(value, target))
        rows["cloudy"].append(image_measures(value, target, sample.cloudy[0]))
        rows["clear"].append(image_measures(value, target, ~sample.cloudy[0]))
        rows["input"].append(image_measures(sample.observed[0], target))
        errors.append(float(np.sqrt(np.mean((value - target)[:, known] ** 2))))
        deviations.append(float(np.sqrt(np.mean(total[:, known].astype(np.float64) ** 2))))
        places.add(int(sample.group[0]))
        if known.all() and len(looks["real"]) < MOST_SAMPLES and min(known.shape) >= FEWEST_ROWS:
            looks["real"].append(image_features(target[None])[0])
            looks["made"].append(image_features(value[None])[0])
    if not errors:
        return {}
    figures: dict[str, Any] = {"images": len(errors), "places": len(places)}
    figures |= {part: _mean(found) for part, found in rows.items()}
    uce, auce = image_uncertainty_calibration(np.array(errors), np.array(deviations))
    figures["metrics"] |= {"uce": uce, "auce": auce}
    if len(looks["real"]) > NEIGHBOURS:
        quality, diversity = precision_recall(np.array(looks["real"]), np.array(looks["made"]), NEIGHBOURS)
        figures["metrics"] |= {"precision": quality, "recall": diversity}
    pixels = _joined(parts)
    figures["error_bars"] = _bars(pixels)
    if pixels.covered.any():
        figures["error_bars_cloudy"] = _bars(pixels.take(pixels.covered))
    if model.detector is not None and model.detector.threshold is not None:
        flagged = model.detector.score(pixels.features) > model.detector.threshold
        figures["outlier"] = {"flagged_share_in_distribution": float(flagged.mean())}
    return figures


def _bars(pixels: RestoredPixels) -> dict[str, Any]:
    found = error_bar_measures(pixels.mean, pixels.deviation, pixels.truth)
    return {key: value for key, value in found.items() if isinstance(value, int | float)}


def _mean(rows: list[dict[str, float | None]]) -> dict[str, float]:
    """Return the mean over images of each figure that some image has."""
    result = {}
    for name in MEASURES:
        known = [value for row in rows if (value := row.get(name)) is not None]
        if known:
            result[name] = float(np.mean(known))
    return result
