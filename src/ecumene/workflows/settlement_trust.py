"""Error bars of settlement extent and zones: sets of zones, errors of extents, outliers, and figures of a test part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import EcumeneError, LabelError
from ecumene.indicators.accuracy import accuracy_measures, confusion_matrix
from ecumene.indicators.zone_accuracy import ZONES, zone_metrics
from ecumene.models.bundle import Model
from ecumene.objectives import SettlementZones
from ecumene.objectives.arrays import to_numpy
from ecumene.samples.contract import IGNORE
from ecumene.samples.patch_set import PatchSet
from ecumene.trust.calibration import Calibration
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.scaling import IDENTITY

KNOTS = 6
"""Extents at which the error bar is known: 0, 0.2, ..., 1."""
PRIOR_PIXELS = 50.0
"""Pixels that the error of all extents counts for at each of them, so that a rare extent is no accident."""
MOST_PIXELS = 200_000


@dataclass(frozen=True)
class JointPixels:
    """What a model says at pixels of which zone or extent is known.

    Attributes:
        moments: Extent and probabilities of the zones, float32 `[N, 1 + K]`.
        features: Of the outlier detector, float32 `[N, F]`.
        extent: Known extent, float32 `[N]`, NaN where unknown.
        zone: Index of the known zone, int64 `[N]`, -1 where unknown.
        group: Block, int64 `[N]`; pixels of one block are not independent.
    """

    moments: NDArray[np.float32]
    features: NDArray[np.float32]
    extent: NDArray[np.float32]
    zone: NDArray[np.int64]
    group: NDArray[np.int64]


def joint_results(model: Model, patches: PatchSet, *, seed: int = 0, batch: int = 8) -> JointPixels:
    """Run a model over windows and keep what it says where zone or extent is known and the image valid.

    Args:
        model: With this objective.
        patches: Windows with targets `[N, 2, P, P]`.
        seed: Of the draw, where there are more than 200,000 such pixels.
        batch: Windows of one batch.
    """
    rows: list[list[NDArray[Any]]] = []
    for start in range(0, len(patches), batch):
        part = slice(start, start + batch)
        target = patches.mask[part]
        usable = patches.valid[part] & np.isfinite(target).any(axis=1)
        if not usable.any():
            continue
        output, features = model.raw_results(np.ascontiguousarray(patches.image[part], np.float32))
        moments = to_numpy(model.objective.moments(output))
        zone = np.where(np.isfinite(target[:, 1]), target[:, 1], IGNORE).astype(np.int64)
        maps = [np.moveaxis(moments, 1, -1), np.moveaxis(features, 1, -1), target[:, 0], zone, patches.group[part]]
        rows.append([each[usable] for each in maps])
    if not rows:
        raise LabelError("No labelled pixel with valid data is left; give more labels or smaller blocks.")
    joined = [np.concatenate(column) for column in zip(*rows, strict=True)]
    if len(joined[0]) > MOST_PIXELS:
        keep = np.sort(np.random.default_rng(seed).choice(len(joined[0]), MOST_PIXELS, replace=False))
        joined = [column[keep] for column in joined]
    return JointPixels(joined[0], joined[1], joined[2], joined[3], joined[4].astype(np.int64))


def extent_errors(guess: NDArray[np.floating], truth: NDArray[np.floating], knots: int = KNOTS) -> tuple[float, ...]:
    """Return the root mean square error of extents at evenly spaced predicted extents.

    Each pixel counts at the two knots beside its prediction, by its nearness; each knot also counts the error of all
    pixels as fifty pixels, so that a rare extent takes the general error.

    Args:
        guess: Predicted extents `[N]`.
        truth: Known ones.
        knots: At least two.

    Raises:
        LabelError: If there is no pixel.
    """
    if len(truth) == 0:
        raise LabelError("No calibration pixel has a known extent, so that its error bar is unknown.")
    square = (guess.astype(np.float64) - truth) ** 2
    places = guess.astype(np.float64) * (knots - 1)
    nearness = np.clip(1.0 - np.abs(places[None, :] - np.arange(knots)[:, None]), 0.0, None)
    mean = (nearness @ square + PRIOR_PIXELS * square.mean()) / (nearness.sum(axis=1) + PRIOR_PIXELS)
    return tuple(float(error) for error in np.sqrt(np.clip(mean, 0.0, 1.0)))


def fit_joint_trust(
    model: Model, train: PatchSet, held_out: PatchSet, coverage: float, false_alarm_rate: float, *, seed: int = 0
) -> tuple[Model, list[str]]:
    """Fit sets of zones, the extent's error bar and the outlier detector on blocks that the model has not seen.

    The zones' probabilities stay the network's own: one scaling of raw outputs would change the extent as well.

    Returns:
        The model, and sentences about what could not be fitted.
    """
    known, fresh = joint_results(model, train, seed=seed), joint_results(model, held_out, seed=seed)
    notes: list[str] = []
    sets = None
    labelled = fresh.zone != IGNORE
    try:
        sets = ConformalSets.fit(
            fresh.moments[labelled, 1:], fresh.zone[labelled], coverage, groups=fresh.group[labelled], aim="average"
        )
    except EcumeneError as error:
        notes.append(str(error))
    measured = np.isfinite(fresh.extent)
    try:
        errors = extent_errors(fresh.moments[measured, 0], fresh.extent[measured])
        objective = SettlementZones.from_config({**model.objective.to_config(), "extent_error": errors})
        spec = model.spec.model_copy(update={"objective": objective.to_config()})
        model = replace(model, spec=spec, objective=objective)
    except LabelError as error:
        notes.append(str(error))
    zones = np.where(known.zone == IGNORE, 0, known.zone) if (known.zone != IGNORE).all() else None
    detector = CombinedDetector.fit(known.features, zones, seed=seed)
    detector = detector.with_threshold(detector.score(fresh.features), false_alarm_rate, groups=fresh.group)
    return model.with_trust(calibration=Calibration(scaling=IDENTITY, sets=sets), detector=detector), notes


def joint_figures(model: Model, test: PatchSet, *, seed: int = 0) -> dict[str, Any]:
    """Return accuracy of zones and errors of extents on test blocks; empty without test pixels."""
    try:
        found = joint_results(model, test, seed=seed)
    except LabelError:
        return {}
    figures: dict[str, Any] = {"pixels": len(found.zone), "blocks": len(np.unique(found.group))}
    labelled, measured = found.zone != IGNORE, np.isfinite(found.extent)
    if labelled.any():
        truth, guess = found.zone[labelled], found.moments[labelled, 1:].argmax(axis=1)
        measures = accuracy_measures(confusion_matrix(truth, guess, found.moments.shape[1] - 1))
        names = ("overall_accuracy", "average_accuracy", "kappa", "macro_f1")
        figures |= {name: float(measures[name]) for name in names if np.isfinite(measures[name])}
        figures |= zone_metrics(truth, guess) if found.moments.shape[1] - 1 == ZONES else {}
    if measured.any():
        guess, extent = found.moments[measured, 0], found.extent[measured]
        settled, said = extent > 0.5, guess > 0.5
        figures["extent_mae"] = float(np.abs(guess - extent).mean())
        figures["extent_rmse"] = float(np.sqrt(((guess - extent) ** 2).mean()))
        total = int(settled.sum() + said.sum())
        figures["settled_f1"] = 2.0 * int((settled & said).sum()) / total if total else None
    return figures
