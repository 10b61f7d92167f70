"""Filling from the clear surroundings of the same date: what can be done without other dates and without radar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.contract import Array
from ecumene.restoration.variogram import Variogram

REACH = 128
"""Pixels from clear sky up to which a pixel is filled; what is further away is not known."""
LEVELS = 5
CELL = 2**LEVELS
"""Side in pixels of the cells that a scene is seen as where it is filled part by part (`cells_of`)."""
_RANGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_TRIALS, _COVER, _FEWEST = 3, 0.3, 300


@dataclass(frozen=True)
class SpatialFill:
    """Pyramid interpolation ("push-pull", Gortler et al. 1996, The Lumigraph, section 3.5) of one date.

    A covered pixel takes the mean of the clear pixels around it at the scale of its distance from them, so that
    nothing finer than the gap is drawn into it. Its error grows with that distance, as clear pixels hidden under
    simulated clouds show: variance = nugget + sill (1 - exp(-distance / range)) in each band. Pixels further than
    `REACH` from clear sky stay unknown.

    A scene may be filled part by part with the result of the whole: see `fill`.

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
        self, image: NDArray[np.floating], clear: NDArray[np.bool_], coarse: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation `[K, H, W]`; NaN where no clear pixel is within `REACH`.

        Args:
            image: `[K, H, W]`.
            clear: bool `[H, W]`.
            coarse: For a part of a scene the interpolated cells (`fill_cells`) of these pixels. The part begins at
                whole cells and ends there or at the scene's border; the result is that of the whole scene in all
                pixels that are `REACH` or more from an edge inside of it.
        """
        if not clear.any():
            nothing = np.full(image.shape, np.nan, np.float32)
            return nothing, nothing.copy()
        distance = distance_to(clear)
        mean = interpolate(image, clear) if coarse is None else _pushed(image, clear, coarse)
        deviation = np.sqrt(self.error(np.maximum(distance, 1e-3))).astype(np.float32)
        mean[:, distance > REACH] = np.nan
        deviation[:, distance > REACH] = np.nan
        return mean, deviation


def interpolate(image: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `[K, H, W]` with unknown pixels interpolated over a pyramid of means; known ones are unchanged.

    Raises:
        ConfigurationError: If nothing is known.
    """
    return fill_cells(*_start(image, known))


def cells_of(image: NDArray[np.floating], known: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return means `[K, h, w]` and weights `[h, w]` of the cells of a part of a scene that begins at whole cells."""
    values, weight = _start(image, known)
    for _ in range(LEVELS):
        values, weight = _halve(values, weight)
    return values, weight


def fill_cells(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a level of the pyramid `[K, h, w]` with what is unknown interpolated from the coarser ones.

    Args:
        values: Of all cells of a scene (or pixels).
        weight: `[h, w]`, 0 where nothing is known, 1 where all is.

    Raises:
        ConfigurationError: If nothing is known.
    """
    if not weight.any():
        raise ConfigurationError("There is no known pixel to interpolate from.")
    if max(weight.shape) == 1 or weight.min() >= 1.0:
        return values
    return _mixed(values, weight, fill_cells(*_halve(values, weight)))


def _start(image: NDArray[np.floating], known: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.where(known, image, np.float32(0.0)).astype(np.float32), known.astype(np.float32)


def _mixed(
    values: NDArray[np.float32], weight: NDArray[np.float32], coarse: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a level filled from the next coarser one."""
    shape = (int(weight.shape[0]), int(weight.shape[1]))
    return np.asarray(weight * values + (1.0 - weight) * _double(coarse, shape), np.float32)


def _pushed(image: NDArray[np.floating], known: NDArray[np.bool_], coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a part of a scene filled from its interpolated cells.

    What is missing beyond an edge is missed by less than a cell: 1 pixel of the second coarsest level, 3 of the next.
    """
    levels = [_start(image, known)]
    for _ in range(LEVELS - 1):
        levels.append(_halve(*levels[-1]))
    for values, weight in reversed(levels):
        coarse = _mixed(values, weight, coarse)
    return coarse


def distance_to(clear: NDArray[np.bool_]) -> Array:
    """Return the distance of each pixel from the nearest clear one, in pixels."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~clear), np.float64)


def _halve(values: NDArray[np.float32], weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weighted means and weights (at most 1) of 2 x 2 pixels."""
    rows, cols = weight.shape[0] % 2, weight.shape[1] % 2
    w = np.pad(weight, ((0, rows), (0, cols)))
    v = np.pad(values * weight, ((0, 0), (0, rows), (0, cols)))
    # Written out, so that the order of the sums does not depend on the array's size.
    total = (w[::2, ::2] + w[1::2, ::2]) + (w[::2, 1::2] + w[1::2, 1::2])
    sums = (v[:, ::2, ::2] + v[:, 1::2, ::2]) + (v[:, ::2, 1::2] + v[:, 1::2, 1::2])
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
