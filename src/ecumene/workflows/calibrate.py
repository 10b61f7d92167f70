"""Fits what makes a model honest on blocks that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import EcumeneError
from ecumene.models.bundle import Model
from ecumene.samples.contract import IGNORE
from ecumene.samples.patch_set import PatchSet
from ecumene.trust.calibration import Calibration
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.temperature import fit_temperature


@dataclass(frozen=True)
class LabelledPixels:
    """Model results at labelled, valid pixels.

    Attributes:
        output: Raw output before temperature, float32 `[N, K]`.
        features: Features of the outlier detector, float32 `[N, F]`.
        target: Class index, int64 `[N]`.
        group: Block or feature of the pixel, int64 `[N]`; pixels of one group are not independent.
    """

    output: NDArray[np.float32]
    features: NDArray[np.float32]
    target: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


def results_at_labels(
    model: Model, patches: PatchSet, *, limit: int = 200_000, seed: int = 0, batch_pixels: int = 1 << 18
) -> LabelledPixels:
    """Run the model over patches and keep what it says at labelled pixels.

    Args:
        model: The model.
        patches: Windows or single pixels with labels.
        limit: Most pixels to keep (drawn at random).
        seed: Of the draw.
        batch_pixels: Pixels of one batch.

    Returns:
        The results, in the order of the patches.
    """
    generator = np.random.default_rng(seed)
    side = patches.image.shape[-1] * patches.image.shape[-2]
    step = max(1, batch_pixels // side)
    outputs, features, targets, groups = [], [], [], []
    for start in range(0, len(patches), step):
        part = slice(start, min(start + step, len(patches)))
        mask = patches.mask[part]
        valid = patches.valid[part]
        usable = (mask != IGNORE) & (valid if valid.ndim == mask.ndim else valid.any(axis=1))
        if not usable.any():
            continue
        dates = None
        if model.spec.temporal:
            dates = patches.dates[part].astype(np.float32)
        image = np.ascontiguousarray(patches.image[part], np.float32)
        output = model.raw_output(image, dates)
        feature = model.detector_features(image, dates)
        outputs.append(np.moveaxis(output, 1, -1)[usable])
        features.append(np.moveaxis(feature, 1, -1)[usable])
        targets.append(mask[usable].astype(np.int64))
        groups.append(patches.group[part][usable].astype(np.int64))
    if not targets:
        classes, channels = model.objective.n_outputs, 1
        return LabelledPixels(
            np.empty((0, classes), np.float32),
            np.empty((0, channels), np.float32),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )
    result = LabelledPixels(
        np.concatenate(outputs), np.concatenate(features), np.concatenate(targets), np.concatenate(groups)
    )
    if len(result) > limit:
        keep = np.sort(generator.choice(len(result), limit, replace=False))
        result = LabelledPixels(result.output[keep], result.features[keep], result.target[keep], result.group[keep])
    return result


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return class probabilities `[N, K]` of logits."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    raised = np.exp(scaled)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_trust(
    model: Model,
    train: PatchSet,
    held_out: PatchSet,
    *,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
) -> tuple[Model, list[str]]:
    """Fit temperature, class sets and the outlier detector; return the model with them.

    Args:
        model: A fitted classifier.
        train: What it has learned from: reference of the outlier detector.
        held_out: Blocks that it has not learned from: temperature, class sets, outlier threshold.
        coverage: Share of pixels whose class set shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged.
        seed: Of subsampling.

    Returns:
        The model, and sentences about what could not be fitted and why.
    """
    known = results_at_labels(model, train, limit=50_000, seed=seed)
    fresh = results_at_labels(model, held_out, seed=seed)
    notes: list[str] = []
    temperature, sets = 1.0, None
    try:
        temperature = fit_temperature(fresh.output, fresh.target)
        probabilities = softmax(fresh.output, temperature)
        sets = ConformalSets.fit(probabilities, fresh.target, coverage=coverage)
    except EcumeneError as error:
        notes.append(str(error))
    detector = CombinedDetector.fit(known.features, known.target, seed=seed)
    reference = fresh if len(fresh) >= 50 else known
    if reference is known:
        notes.append("The outlier threshold was set on training pixels, because fewer than 50 held-out pixels exist.")
    # Neighbouring pixels repeat each other: a quantile over pixels would be broken by the next block.
    detector = detector.with_threshold(detector.score(reference.features), false_alarm_rate, groups=reference.group)
    calibration = Calibration(temperature=temperature, sets=sets)
    return model.with_trust(calibration=calibration, detector=detector), notes
