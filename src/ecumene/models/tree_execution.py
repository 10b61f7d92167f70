"""Executes forests and boosted trees by pixel or image; neither torch nor the library that grew them is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.threads import available_threads
from ecumene.models.contract import ModelSpec
from ecumene.models.row_execution import RowExecutor, row_arguments
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble
from ecumene.objectives import PixelRegression, SceneClassification, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.objectives.numeric import LOG_VARIANCE_LIMITS
from ecumene.trust.scaling import Scaling

PROBABILITY_FLOOR = 1e-7
"""Classes that no tree votes for keep this probability, so that its logarithm is finite."""


class TreeExecutor(RowExecutor):
    """See `models.contract.Executor`.

    Args:
        spec: The model.
        trees: Validated trees.
        objective: `Segmentation`, `PixelRegression` of one target, or `SceneClassification` of whole images.
        scaling: Of the calibration, or None.
        detector: Outlier detector or None.
        threads: Threads of one run; None: all cores.
    """

    backend = "trees"
    precision = "fp32"

    def __init__(
        self,
        spec: ModelSpec,
        trees: TreeEnsemble,
        *,
        objective: Objective,
        scaling: Scaling | None = None,
        detector: Any = None,
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        if precision not in ("auto", "fp32"):
            raise ConfigurationError(f"Trees compute in fp32, not in {precision!r}; leave out the precision.")
        n_features, n_dates = row_arguments(spec)
        if trees.n_features != n_features:
            raise ModelError(
                f"The trees read {trees.n_features} features, but the model's bands and dates give {n_features}; "
                "get the model again from its source."
            )
        self._regression = objective if isinstance(objective, PixelRegression) else None
        one_target = self._regression is None or len(self._regression.targets) == 1
        if not isinstance(objective, Segmentation | SceneClassification | PixelRegression) or not one_target:
            raise ModelError("Trees map classes or one number a pixel; the model's objective asks for something else.")
        super().__init__(spec, n_dates, scaling, detector)
        self._centre = float(trees.bias[0])
        self._walk = TreeWalker(trees, threads or available_threads())

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the raw output of rows; see `RowExecutor.values`."""
        return self._scores(self._walk(rows))

    def _scores(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the trees' sums into the raw output that the objective reads."""
        if self._regression is None:
            return np.log(np.maximum(sums, PROBABILITY_FLOOR)) if self.spec.kind == "forest" else _log_softmax(sums)
        mean, second = sums[:, 0], sums[:, 1]
        if self.spec.kind == "forest":
            variance = np.maximum(second - (mean - self._centre) ** 2, 0.0)
            with np.errstate(divide="ignore"):
                second = np.log(variance)
        scale = self._regression.target_std[0]
        log_variance = second - 2.0 * np.log(scale)
        return np.stack([(mean - self._regression.target_mean[0]) / scale, unbound(log_variance)], axis=1)


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def unbound(log_variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the raw value that `PixelRegression` turns into this log-variance (inverse of its two softplus)."""
    low, high = LOG_VARIANCE_LIMITS
    inside = np.clip(log_variance, low + 1e-3, high - 1e-3)
    upper = low + _inverse_softplus(inside - low)
    return high - _inverse_softplus(np.maximum(high - upper, 1e-6))


def _inverse_softplus(y: NDArray[np.float64]) -> NDArray[np.float64]:
    return y + np.log(-np.expm1(-y))
