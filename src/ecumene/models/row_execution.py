"""What executes models that read a pixel, or an image, as one row; neither torch nor what has fitted them is needed."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.contract import ModelSpec
from ecumene.models.image_statistics import STATISTICS, image_statistics, standardised_statistics
from ecumene.models.local_average import averaging_radius, check_detector, local_average, normalise
from ecumene.models.row_features import RowFeatures
from ecumene.trust.scaling import IDENTITY, Scaling


def row_arguments(spec: ModelSpec) -> tuple[int, int]:
    """Return (features of a pixel or image, dates) that a model of rows was fitted on.

    Raises:
        ModelError: If the description is inconsistent.
    """
    arguments = spec.architecture.get("arguments", {})
    dates = arguments.get("n_dates", 1) if isinstance(arguments, dict) else 0
    if not isinstance(dates, int) or not 1 <= dates <= 10_000:
        raise ModelError("The model does not say how many dates it reads; get the model again from its source.")
    if spec.patch_size is not None:
        return len(STATISTICS) * len(spec.inputs), 1
    return RowFeatures.of(spec).count(len(spec.inputs), dates), dates


class RowExecutor(ABC):
    """See `models.contract.Executor`. A row is a pixel's bands in physical units, date after date.

    It is something else where `RowFeatures` says so.

    A pixel is run where at least one date has all bands; what is missing at other dates is NaN in its row. The row of a
    model with a `patch_size` is an image's statistics (`image_statistics`), over the pixels that have all bands.

    Args:
        spec: The model.
        n_dates: Dates of a row.
        scaling: Of the calibration, or None.
        detector: Outlier detector or None.
    """

    backend: str
    precision = "fp32"

    def __init__(self, spec: ModelSpec, n_dates: int, scaling: Scaling | None, detector: Any) -> None:
        self.spec = spec
        self.features = RowFeatures.of(spec)
        self.n_dates = 1 if self.features.yearly_median else n_dates
        self.scaling = IDENTITY if scaling is None else scaling
        check_detector(detector, len(spec.inputs) * (1 if spec.patch_size is None else len(STATISTICS)))
        self.detector = detector
        self._mean = np.array([band.mean for band in spec.inputs], np.float32)
        self._std = np.array([band.std for band in spec.inputs], np.float32)
        self._radius = averaging_radius(spec.margin)

    def side_by_side(self, number: int) -> list[RowExecutor]:
        """Return executors that share this one's arrays, this one among them; a run changes nothing of them.

        Args:
            number: Of executors; each has as many threads as this one.
        """
        return [self, *(copy.copy(self) for _ in range(number - 1))]

    @abstractmethod
    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the raw output `[N, n_outputs]` of rows `[N, F]` of valid pixels; NaN is a missing value."""

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        image = self.features.composed(image)
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
        image = self.features.composed(image)
        return self._output(image)[0], self._features(image)

    def _features(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.spec.patch_size is not None:
            return standardised_statistics(image_statistics(image), self._mean, self._std)[:, :, None, None]
        return local_average(*normalise(image, self._mean, self._std), self._radius)

    def _output(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self.spec.patch_size is not None:
            return self._output_of_images(image)
        batch, height, width = image.shape[0], image.shape[-2], image.shape[-1]
        series = image.reshape(batch, self.n_dates, len(self.spec.inputs), height, width)
        valid: NDArray[np.bool_] = np.logical_or.reduce(np.logical_and.reduce(np.isfinite(series), axis=2), axis=1)
        image = self.features.extended(series.reshape(batch, -1, height, width), self.spec.inputs)
        rows = np.moveaxis(image, 1, -1)[valid]
        values = self.values(np.where(np.isfinite(rows), rows, np.float32(np.nan)))
        output = np.zeros((batch, height, width, values.shape[1]), np.float32)
        output[valid] = values
        return np.ascontiguousarray(np.moveaxis(output, -1, 1)), valid

    def _output_of_images(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        rows = image_statistics(image)
        valid: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
        values = self.values(rows[valid])
        output = np.zeros((len(rows), values.shape[1]), np.float32)
        output[valid] = values
        return output[:, :, None, None], valid[:, None, None]
