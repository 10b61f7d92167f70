"""One robust height a building from the heights of its pixels (Huber's M-estimator, Ann. Math. Stat. 35(1), 1964)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError

_BEND = 1.345  # 95 % efficiency for Gaussian errors
_ITERATIONS = 50
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class BuildingHeights:
    """Heights of B buildings above their surroundings.

    Attributes:
        label: Labels, ascending, `[B]`.
        height_m: Robust mean over the pixels (minus that of the ground, if given), metres, `[B]`.
        standard_deviation_m: Standard error from the scatter of the pixels, never below what their own
            error bars and the looks they share allow, metres, `[B]`.
        pixels: Pixels in use, `[B]`.
        outlier_share: Share of pixels that Huber's weights reduce to less than half, `[B]`.
        outlier: Buildings of fewer than three pixels or with more than half outliers, `[B]`.
    """

    label: NDArray[np.int64]
    height_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    pixels: NDArray[np.int64]
    outlier_share: NDArray[np.float64]
    outlier: NDArray[np.bool_]


def building_heights(
    height_m: ArrayLike,
    standard_deviation_m: ArrayLike,
    labels: ArrayLike,
    *,
    ground: ArrayLike | None = None,
    correlated_pixels: float = 1.0,
) -> BuildingHeights:
    """Estimate one height for every labelled building.

    Args:
        height_m: Heights of pixels, metres, any shape; NaN where there is none.
        standard_deviation_m: Their standard deviations, metres.
        labels: Integer label of each pixel, 0 outside of buildings.
        ground: Label of the building to whose surroundings a pixel belongs, 0 elsewhere; the robust height of
            these pixels is subtracted. None: heights are taken as above ground already.
        correlated_pixels: Number of neighbouring pixels that share one measurement (equivalent looks of a filter
            over looks of a pixel); the standard error is widened by its square root.

    Returns:
        Buildings with at least one finite pixel (and, with `ground`, one ground pixel).

    Raises:
        ConfigurationError: If shapes differ or no building has a finite height.
    """
    height, deviation = np.asarray(height_m, np.float64), np.asarray(standard_deviation_m, np.float64)
    mark = np.asarray(labels)
    if not (height.shape == deviation.shape == mark.shape):
        raise ConfigurationError("Heights, standard deviations and labels differ in shape; put them on one grid.")
    if not correlated_pixels >= 1:
        raise ConfigurationError(f"correlated_pixels must be at least 1, not {correlated_pixels}.")
    tops = _groups(height, deviation, mark)
    floors = None if ground is None else _groups(height, deviation, np.asarray(ground))
    rows = []
    for label, (values, errors) in tops.items():
        if floors is not None and label not in floors:
            continue
        place, error, share = robust_mean(values, errors, correlated_pixels)
        if floors is not None:
            below, below_error, _ = robust_mean(*floors[label], correlated_pixels)
            place, error = place - below, float(np.hypot(error, below_error))
        rows.append((label, place, error, values.size, share))
    if not rows:
        raise ConfigurationError("No building has a pixel with a height; check that labels and heights overlap.")
    names = np.array([row[0] for row in rows], np.int64)
    size = np.array([row[3] for row in rows], np.int64)
    heights, errors, shares = np.array([[row[1], row[2], row[4]] for row in rows], np.float64).T
    return BuildingHeights(names, heights, errors, size, shares, np.asarray((size < 3) | (shares > 0.5)))


def robust_mean(
    values: NDArray[np.float64], errors: NDArray[np.float64], correlated: float = 1.0
) -> tuple[float, float, float]:
    """Return Huber's mean of values with known errors, its standard error, and the share of outliers.

    Args:
        values: `[n]`, finite.
        errors: Standard deviations, positive, `[n]`.
        correlated: See `building_heights`.
    """
    place = float(np.median(values))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(values - place) / errors))
    scale = max(spread, 1.0)  # pixels are never trusted beyond their own error bars
    weight = np.ones_like(values)
    for _ in range(_ITERATIONS):
        rest = np.abs(values - place) / (errors * scale)
        weight = np.minimum(1.0, _BEND / np.maximum(rest, 1e-12))
        total = weight / errors**2
        moved = float(np.sum(total * values) / np.sum(total))
        done = abs(moved - place) < 1e-9 * (1.0 + abs(place))
        place = moved
        if done:
            break
    # Huber 1981, ch. 6: variance of the estimating function over the square of its mean slope.
    rest = (values - place) / (errors * scale)
    score = np.clip(rest, -_BEND, _BEND) / errors
    slope = float(np.sum((np.abs(rest) <= _BEND) / errors**2)) / scale
    variance = float(np.sum(score**2)) / slope**2 if slope > 0 else float(np.mean(errors**2)) * scale**2
    least = 1.0 / float(np.sum(1.0 / errors**2))
    error = float(np.sqrt(max(variance, least) * min(correlated, values.size)))
    return place, error, float(np.mean(weight < 0.5))


def _groups(
    height: NDArray[np.float64], deviation: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    usable = (labels > 0) & np.isfinite(height) & np.isfinite(deviation) & (deviation > 0)
    names, values, errors = labels[usable], height[usable], deviation[usable]
    if names.size == 0:
        return {}
    order = np.argsort(names, kind="stable")
    labels_found, first = np.unique(names[order], return_index=True)
    pieces = zip(np.split(values[order], first[1:]), np.split(errors[order], first[1:]), strict=True)
    return {int(label): piece for label, piece in zip(labels_found, pieces, strict=True)}
