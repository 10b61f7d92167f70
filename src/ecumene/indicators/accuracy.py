"""Accuracy of classified pixels: confusion matrix, derived measures, intervals.

Everywhere in this module the confusion matrix has the REFERENCE in its rows and the PREDICTION in its
columns. `ecumene.indicators.olofsson`, which follows its paper, has the map in its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

_PER_CLASS = ("producers_accuracy", "users_accuracy", "f1", "iou")
_OVERALL = ("overall_accuracy", "kappa", "macro_f1", "mean_iou", "average_accuracy")


def confusion_matrix(reference: ArrayLike, prediction: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count pairs of reference (row) and predicted (column) class.

    Args:
        reference: Class indices of any shape; negative means unlabelled.
        prediction: Class indices of the same shape; negative means no prediction.
        n_classes: Number of classes.

    Returns:
        int64 `[n_classes, n_classes]`; rows = reference, columns = prediction. Pairs with a negative
        index are not counted.

    Raises:
        ConfigurationError: If the shapes differ or an index is too large.
    """
    rows, cols = np.asarray(reference).reshape(-1), np.asarray(prediction).reshape(-1)
    if rows.shape != cols.shape:
        raise ConfigurationError("Reference and prediction must have the same number of elements.")
    usable = (rows >= 0) & (cols >= 0)
    rows, cols = rows[usable].astype(np.int64), cols[usable].astype(np.int64)
    if rows.size and max(int(rows.max()), int(cols.max())) >= n_classes:
        raise ConfigurationError(f"A class index is {max(rows.max(), cols.max())}, but there are {n_classes} classes.")
    return np.bincount(rows * n_classes + cols, minlength=n_classes**2).reshape(n_classes, n_classes)


def accuracy_measures(matrix: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Derive measures from confusion matrices.

    Args:
        matrix: `[..., K, K]`, rows = reference, columns = prediction; counts or weights.

    Returns:
        Per class `[..., K]`: `producers_accuracy` (recall), `users_accuracy` (precision), `f1`, `iou`;
        overall `[...]`: `overall_accuracy`, `kappa` (Cohen 1960), `macro_f1` and `mean_iou` (means over
        classes that occur in reference or prediction), `average_accuracy` (mean producer's accuracy over classes of
        the reference). NaN where a denominator is 0.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    rows, cols = counts.sum(axis=-1), counts.sum(axis=-2)
    total = rows.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        producers, users = hits / rows, hits / cols
        f1, iou = 2 * hits / (rows + cols), hits / (rows + cols - hits)
        overall = hits.sum(axis=-1) / total
        chance = (rows * cols).sum(axis=-1) / total**2
        kappa = (overall - chance) / (1 - chance)
        occurs = (rows + cols) > 0
        number = occurs.sum(axis=-1)
        macro = np.where(occurs, f1, 0).sum(axis=-1) / number
        mean_iou = np.where(occurs, iou, 0).sum(axis=-1) / number
        average = np.where(rows > 0, producers, 0).sum(axis=-1) / (rows > 0).sum(axis=-1)
    return {
        "producers_accuracy": producers,
        "users_accuracy": users,
        "f1": f1,
        "iou": iou,
        "overall_accuracy": overall,
        "kappa": kappa,
        "macro_f1": macro,
        "mean_iou": mean_iou,
        "average_accuracy": average,
    }


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Wilson's score interval of proportions (Wilson 1927, JASA 22).

    It assumes independent trials; pixels of one polygon are not, see `block_bootstrap`.

    Args:
        successes: Counts.
        trials: Counts; NaN comes out where 0.
        confidence: Two-sided level in (0, 1).
    """
    z = _quantile(confidence)
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def block_bootstrap(
    reference: ArrayLike,
    prediction: ArrayLike,
    blocks: ArrayLike,
    n_classes: int,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return percentile intervals of all measures by resampling whole spatial blocks.

    Neighbouring pixels err together; drawing blocks (or polygons) with replacement keeps that
    dependence (Lahiri 2003, Resampling Methods for Dependent Data).

    Args:
        reference: Class indices; negative is ignored.
        prediction: Class indices; negative is ignored.
        blocks: Block of each element.
        n_classes: Number of classes.
        resamples: Bootstrap replicates.
        confidence: Two-sided level in (0, 1).
        seed: The same seed gives the same intervals.

    Returns:
        For each measure of `accuracy_measures` (low, high); NaN with fewer than two blocks.
    """
    _quantile(confidence)
    rows, cols = np.asarray(reference).reshape(-1), np.asarray(prediction).reshape(-1)
    usable = (rows >= 0) & (cols >= 0)
    names, inverse = np.unique(np.asarray(blocks).reshape(-1)[usable], return_inverse=True)
    cells = n_classes**2
    pairs = rows[usable].astype(np.int64) * n_classes + cols[usable]
    tables = np.bincount(inverse * cells + pairs, minlength=len(names) * cells).reshape(len(names), cells)
    if len(names) < 2:
        empty = accuracy_measures(np.zeros((n_classes, n_classes)))
        return {key: (np.full_like(value, np.nan), np.full_like(value, np.nan)) for key, value in empty.items()}
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    measures = accuracy_measures((draws @ tables).reshape(resamples, n_classes, n_classes))
    tail = (1 - confidence) / 2
    out = {}
    for key, values in measures.items():
        seen = np.isfinite(values).any(axis=0)
        filled = np.where(seen, values, 0.0)
        low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
        out[key] = (np.where(seen, low, np.nan), np.where(seen, high, np.nan))
    return out


def accuracy_table(matrix: NDArray[np.number], class_names: Sequence[str]) -> dict[str, Any]:
    """Return the measures of one confusion matrix as JSON-able numbers; undefined ones are None.

    Args:
        matrix: `[K, K]`, rows = reference, columns = prediction.
        class_names: Names in channel order.

    Returns:
        The overall measures by name, and `per_class`: name to measures and `reference_pixels`.
    """
    measures = accuracy_measures(matrix)
    rows = np.asarray(matrix).sum(axis=1)
    per_class = {
        name: {"reference_pixels": int(rows[index])} | {key: number(measures[key][index]) for key in _PER_CLASS}
        for index, name in enumerate(class_names)
    }
    return {key: number(measures[key]) for key in _OVERALL} | {"per_class": per_class}


@dataclass(frozen=True)
class AccuracyReport:
    """Accuracy with intervals.

    Attributes:
        class_names: Names in channel order.
        matrix: int64 `[K, K]`, rows = reference, columns = prediction.
        measures: See `accuracy_measures`.
        wilson: (low, high) of `overall_accuracy`, `producers_accuracy`, `users_accuracy` for
            independent pixels.
        bootstrap: (low, high) of all measures for dependent pixels; empty where no blocks were given.
        n_blocks: Blocks behind the bootstrap.
        confidence: Level of the intervals.
    """

    class_names: tuple[str, ...]
    matrix: NDArray[np.int64]
    measures: dict[str, NDArray[np.float64]]
    wilson: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    bootstrap: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    n_blocks: int = 0
    confidence: float = 0.95

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class with measures, intervals and numbers of pixels."""
        import pandas as pd

        columns: dict[str, Any] = {"reference_pixels": self.matrix.sum(axis=1), "map_pixels": self.matrix.sum(axis=0)}
        for key in _PER_CLASS:
            columns[key] = self.measures[key]
            for kind, intervals in (("wilson", self.wilson), ("block", self.bootstrap)):
                if key in intervals:
                    columns[f"{key}_{kind}_low"], columns[f"{key}_{kind}_high"] = intervals[key]
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    def matrix_frame(self) -> pd.DataFrame:
        """Return the confusion matrix with named axes."""
        import pandas as pd

        return pd.DataFrame(
            self.matrix,
            index=pd.Index(self.class_names, name="reference"),
            columns=pd.Index(self.class_names, name="prediction"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able numbers; undefined ones are None."""
        overall: dict[str, dict[str, Any]] = {}
        for key in _OVERALL:
            overall[key] = {"value": number(self.measures[key])}
            for kind, intervals in (("wilson", self.wilson), ("block", self.bootstrap)):
                if key in intervals:
                    overall[key][f"{kind}_interval"] = [number(end) for end in intervals[key]]
        classes = {
            str(name): {str(key): number(value) for key, value in row.items()}
            for name, row in self.to_frame().iterrows()
        }
        return {
            "axes": "rows = reference, columns = prediction",
            "class_names": list(self.class_names),
            "confusion_matrix": self.matrix.tolist(),
            "overall": overall,
            "classes": classes,
            "confidence": self.confidence,
            "blocks": self.n_blocks,
        }


def accuracy_report(
    reference: ArrayLike,
    prediction: ArrayLike,
    class_names: Sequence[str],
    *,
    blocks: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> AccuracyReport:
    """Return matrix, measures and intervals.

    Args:
        reference: Class indices; negative is ignored.
        prediction: Class indices of the same shape; negative is ignored.
        class_names: Names in channel order.
        blocks: Spatial block (or polygon) of each element, for bootstrap intervals.
        confidence: Two-sided level in (0, 1).
        resamples: Bootstrap replicates.
        seed: Seed of the bootstrap.
    """
    n_classes = len(class_names)
    matrix = confusion_matrix(reference, prediction, n_classes)
    hits = np.diag(matrix)
    wilson = {
        "overall_accuracy": wilson_interval(hits.sum(), matrix.sum(), confidence),
        "producers_accuracy": wilson_interval(hits, matrix.sum(axis=1), confidence),
        "users_accuracy": wilson_interval(hits, matrix.sum(axis=0), confidence),
    }
    bootstrap = {}
    n_blocks = 0
    if blocks is not None:
        usable = (np.asarray(reference).reshape(-1) >= 0) & (np.asarray(prediction).reshape(-1) >= 0)
        n_blocks = int(np.unique(np.asarray(blocks).reshape(-1)[usable]).size)
        bootstrap = block_bootstrap(
            reference, prediction, blocks, n_classes, resamples=resamples, confidence=confidence, seed=seed
        )
    return AccuracyReport(
        tuple(class_names), matrix, accuracy_measures(matrix), wilson, bootstrap, n_blocks, confidence
    )


def number(value: Any) -> float | None:
    """Return a float for JSON; None where it is not finite."""
    converted = float(value)
    return converted if np.isfinite(converted) else None


def _quantile(confidence: float) -> float:
    """Return the two-sided normal quantile of a confidence level."""
    from scipy.special import ndtri

    if not 0 < confidence < 1:
        raise ConfigurationError("The confidence level must lie between 0 and 1, for example 0.95.")
    return float(ndtri((1 + confidence) / 2))
