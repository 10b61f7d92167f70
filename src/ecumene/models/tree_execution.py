"""Executes forests and boosted trees pixel by pixel; neither torch nor the library that grew them is needed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.contract import ModelSpec
from ecumene.models.local_average import averaging_radius, check_detector, local_average, normalise
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble
from ecumene.objectives import PixelRegression, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.objectives.numeric import LOG_VARIANCE_LIMITS
from ecumene.trust.scaling import IDENTITY, Scaling

PROBABILITY_FLOOR = 1e-7
"""Classes that no tree votes for keep this probability, so that its logarithm is finite."""


def tree_arguments(spec: ModelSpec) -> tuple[int, int]:
    """Return (features of a pixel, dates of a pixel) that a tree model was fitted on.

    Raises:
        ModelError: If the description is inconsistent.
    """
    arguments = spec.architecture.get("arguments", {})
    dates = arguments.get("n_dates", 1) if isinstance(arguments, dict) else 0
    if not isinstance(dates, int) or not 1 <= dates <= 10_000:
        raise ModelError("The model does not say how many dates it reads; get the model again from its source.")
    return dates * len(spec.inputs), dates


class TreeExecutor:
    """See `models.contract.Executor`.

    A pixel's features are its bands in physical units, date after date. A pixel is run where at least
    one date has all bands; bands that are missing at other dates are missing values of the trees.

    Args:
        spec: The model.
        trees: Validated trees.
        objective: `Segmentation`, or `PixelRegression` of one target.
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
        n_features, self.n_dates = tree_arguments(spec)
        if trees.n_features != n_features:
            raise ModelError(
                f"The trees read {trees.n_features} features, but the model's bands and dates give {n_features}; "
                "get the model again from its source."
            )
        self.spec = spec
        self._regression = objective if isinstance(objective, PixelRegression) else None
        one_target = self._regression is None or len(self._regression.targets) == 1
        if not isinstance(objective, Segmentation | PixelRegression) or not one_target:
            raise ModelError("Trees map classes or one number a pixel; the model's objective asks for something else.")
        self.scaling = IDENTITY if scaling is None else scaling
        check_detector(detector, len(spec.inputs))
        self.detector = detector
        self._centre = float(trees.bias[0])
        self._walk = TreeWalker(trees, threads or os.cpu_count() or 1)
        self._mean = np.array([band.mean for band in spec.inputs], np.float32)
        self._std = np.array([band.std for band in spec.inputs], np.float32)
        self._radius = averaging_radius(spec.margin)

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        output, valid = self._output(image)
        score = np.zeros(valid.shape, np.float32)
        if self.detector is not None and valid.any():
            features = np.moveaxis(self._features(image), 1, -1)
            score[valid] = self.detector.score(np.ascontiguousarray(features[valid]))
        return np.asarray(self.scaling.apply(output), np.float32), score

    def raw(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (output before scaling `[B, n, H, W]`, detector features `[B, F, H, W]`)."""
        return self._output(image)[0], self._features(image)

    def _features(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return local_average(*normalise(image, self._mean, self._std), self._radius)

    def _output(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        batch, height, width = image.shape[0], image.shape[-2], image.shape[-1]
        series = image.reshape(batch, self.n_dates, len(self.spec.inputs), height, width)
        valid: NDArray[np.bool_] = np.logical_or.reduce(np.logical_and.reduce(np.isfinite(series), axis=2), axis=1)
        rows = np.moveaxis(series.reshape(batch, -1, height, width), 1, -1)[valid]
        values = self._scores(self._walk(np.where(np.isfinite(rows), rows, np.float32(np.nan))))
        output = np.zeros((batch, height, width, values.shape[1]), np.float32)
        output[valid] = values
        return np.ascontiguousarray(np.moveaxis(output, -1, 1)), valid

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
