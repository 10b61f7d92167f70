"""Filling from the clear surroundings of the same date: what can be done without other dates and without radar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.contract import Array
from ecumene.restoration.variogram import Variogram

MARGIN = 128
"""Pixels around a window that its filling looks at."""
_RANGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_TRIALS, _COVER, _FEWEST = 3, 0.3, 300


@dataclass(frozen=True)
class SpatialFill:
    """Pyramid interpolation ("push-pull", Gortler et al. 1996, The Lumigraph, section 3.5) of one date.

    A covered pixel takes the mean of the clear pixels around it at the scale of its distance from them, so that
    nothing finer than the gap is drawn into it. Its error grows with that distance, as clear pixels hidden under
    simulated clouds show: variance = nugget + sill (1 - exp(-distance / range)) in each band.

    Attributes:
        error: Mean squared error over the distance from clear sky in pixels (a variogram in space: `Variogram` with
            pixels for days).
    """

    error: Variogram
    name: str = "spatial"

    @classmethod
    def fit(cls, image: NDArray[np.floating], clear: NDArray[np.bool_], *, seed: int = 0) -> SpatialFill:
        """Learn the error from a part of the date.

        Args:
            image: `[K, H, W]`.
            clear: bool `[H, W]`.
            seed: Of the simulated clouds.

        Raises:
            LabelError: If too few clear pixels could be hidden.
        """
        distances, errors = [], []
        for trial in range(_TRIALS):
            cover = cover_field(clear.shape, _COVER, seed * 31 + trial, longest=max(8.0, min(clear.shape) / 3.0))
            hidden = cover & clear
            left = clear & ~cover
            if not left.any() or not hidden.any():
                continue
            error = interpolate(image, left)[:, hidden] - image[:, hidden]
            distances.append(distance_to(left)[hidden])
            errors.append(np.square(error, dtype=np.float64))
        if not errors or sum(part.shape[1] for part in errors) < _FEWEST:
            raise LabelError("Too little of the date is clear to fill the rest from; give more dates or radar.")
        return cls(_fit_error(np.concatenate(distances), np.concatenate(errors, axis=1)))

    def fill(
        self, image: NDArray[np.floating], clear: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation `[K, H, W]`; NaN everywhere if nothing is clear."""
        if not clear.any():
            nothing = np.full(image.shape, np.nan, np.float32)
            return nothing, nothing.copy()
        variance = self.error(np.maximum(distance_to(clear), 1e-3))
        return interpolate(image, clear), np.sqrt(variance).astype(np.float32)


def interpolate(image: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `[K, H, W]` with unknown pixels interpolated over a pyramid of means; known ones are unchanged.

    Raises:
        ConfigurationError: If nothing is known.
    """
    if not known.any():
        raise ConfigurationError("There is no known pixel to interpolate from.")
    weight = known.astype(np.float32)
    values = np.where(known, image, np.float32(0.0)).astype(np.float32)
    levels = [(values, weight)]
    while max(weight.shape) > 1 and weight.min() < 1.0:
        values, weight = _halve(values, weight)
        levels.append((values, weight))
    result, whole = levels[-1]
    if whole.min() <= 0.0:  # the coarsest level of one pixel is known, because some pixel is
        raise ConfigurationError("There is no known pixel to interpolate from.")
    for values, weight in reversed(levels[:-1]):
        result = weight * values + (1.0 - weight) * _double(result, (int(weight.shape[0]), int(weight.shape[1])))
    return np.asarray(result, np.float32)


def distance_to(clear: NDArray[np.bool_]) -> Array:
    """Return the distance of each pixel from the nearest clear one, in pixels."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~clear), np.float64)


def _halve(values: NDArray[np.float32], weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weighted means and weights (at most 1) of 2 x 2 pixels."""
    rows, cols = weight.shape[0] % 2, weight.shape[1] % 2
    w = np.pad(weight, ((0, rows), (0, cols)))
    v = np.pad(values * weight, ((0, 0), (0, rows), (0, cols)))
    total = w.reshape(w.shape[0] // 2, 2, w.shape[1] // 2, 2).sum(axis=(1, 3))
    sums = v.reshape(len(v), v.shape[1] // 2, 2, v.shape[2] // 2, 2).sum(axis=(2, 4))
    return sums / np.maximum(total, 1e-12), np.minimum(total, 1.0)


def _double(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image at twice the size by bilinear interpolation, cut to a shape."""
    for axis, size in ((1, shape[0]), (2, shape[1])):
        place = np.clip((np.arange(size) + 0.5) / 2.0 - 0.5, 0.0, values.shape[axis] - 1)
        low = np.floor(place).astype(np.intp)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        share = (place - low).astype(np.float32).reshape((-1, 1) if axis == 1 else (-1,))
        values = values.take(low, axis) * (1.0 - share) + values.take(high, axis) * share
    return values


def _fit_error(distance: Array, squared: Array) -> Variogram:
    """Fit squared errors `[K, N]` over distances `[N]` in bins of equal count, by non-negative least squares."""
    from scipy.optimize import nnls

    order = np.argsort(distance, kind="stable")
    bins = np.array_split(order, max(2, min(24, len(order) // 100)))
    at = np.array([distance[part].mean() for part in bins])
    seen = np.stack([squared[:, part].mean(axis=1) for part in bins])
    best: tuple[float, float, Array] | None = None
    for span in _RANGES:
        design = np.stack([np.ones_like(at), 1.0 - np.exp(-at / span)], axis=1)
        fits = [nnls(design / np.maximum(y, 1e-10)[:, None], np.ones_like(y)) for y in seen.T]
        misfit = sum(residual**2 for _, residual in fits)
        if best is None or misfit < best[0]:
            best = (misfit, span, np.stack([coefficients for coefficients, _ in fits]))
    assert best is not None
    return Variogram(np.maximum(best[2][:, 0], 1e-10), best[2][:, 1], best[1])
