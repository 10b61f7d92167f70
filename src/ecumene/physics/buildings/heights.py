"""Heights of buildings from a height raster or from points, above the ground around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError

INVALID = 1
"""No usable height on the roof or on the ground around."""
FEW_SAMPLES = 2
"""Fewer samples than asked for: the error bar is coarse."""
NOT_HIGHER = 4
"""The roof is not significantly higher than the ground (2 standard deviations)."""

_GAUSS = 1.4826  # median absolute deviation to standard deviation


@dataclass(frozen=True)
class BuildingHeights:
    """Heights of K buildings.

    Attributes:
        labels: Number of each building, `[K]`.
        height_m: Roof above ground, metres, `[K]`.
        standard_deviation_m: Metres, `[K]`.
        ground_m: Height of the ground around, in the datum of the input, metres, `[K]`.
        ground_deviation_m: Metres, `[K]`.
        samples: Heights on each roof, `[K]`.
        flags: Bits of this module, uint8 `[K]`.
    """

    labels: NDArray[np.int64]
    height_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    ground_m: NDArray[np.float64]
    ground_deviation_m: NDArray[np.float64]
    samples: NDArray[np.int64]
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Buildings with a height."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Buildings whose height must not be trusted."""
        return np.asarray((self.flags & (FEW_SAMPLES | NOT_HIGHER)) != 0)


def robust_level(
    values: NDArray[np.float64],
    deviation: NDArray[np.float64],
    quantile: float = 0.5,
    correlated_samples: float = 1.0,
) -> tuple[float, float]:
    """Return a quantile of samples and its standard error.

    The error is the larger of what the scatter says and of what the stated errors say, for n / correlated_samples
    independent samples; away from the median it grows as that of a Gaussian's quantile (Cramer, "Mathematical
    Methods of Statistics", 1946, section 28.5).

    Args:
        values: `[S]`, finite, at least one.
        deviation: Standard deviations of the samples, `[S]`.
        quantile: 0 < quantile < 1.
        correlated_samples: Samples that share their error, at least 1.
    """
    from scipy.stats import norm

    level = float(np.quantile(values, quantile))
    middle = float(np.median(values))
    scatter = _GAUSS * float(np.median(np.abs(values - middle)))
    stated = float(np.sqrt(np.mean(np.square(deviation))))
    place = float(norm.pdf(norm.ppf(quantile)))
    factor = np.sqrt(quantile * (1.0 - quantile)) / place
    independent = max(1.0, len(values) / max(correlated_samples, 1.0))
    return level, float(factor * max(scatter, stated) / np.sqrt(independent))


def building_heights(
    height_m: NDArray[np.float64],
    deviation_m: ArrayLike,
    labels: NDArray[np.integer],
    *,
    ground_m: NDArray[np.float64] | None = None,
    ground_deviation_m: ArrayLike = 0.0,
    ring_pixels: int = 3,
    gap_pixels: int = 1,
    quantile: float = 0.5,
    minimum_samples: int = 4,
    correlated_pixels: float = 1.0,
) -> BuildingHeights:
    """Measure buildings in a height raster.

    Args:
        height_m: Surface heights, metres, `[H, W]`; NaN means no data.
        deviation_m: Their standard deviations, metres, `[H, W]` or a number.
        labels: Number of the building of every pixel, 0 for none, `[H, W]`.
        ground_m: Terrain heights `[H, W]`; None: the median of a ring of pixels around each building.
        ground_deviation_m: Standard deviation of `ground_m`.
        ring_pixels: Width of that ring.
        gap_pixels: Pixels between building and ring (mixed pixels, layover).
        quantile: Of the roof's heights; 0.5 is the median.
        minimum_samples: Fewer roof pixels are flagged.
        correlated_pixels: Pixels that share their error.

    Returns:
        Heights of all labels other than 0, in rising order.

    Raises:
        ConfigurationError: If the quantile is not between 0 and 1 or a width is negative.
        ContractError: If shapes differ or there is no building.
    """
    surface = np.asarray(height_m, np.float64)
    numbers = np.asarray(labels)
    if not 0 < quantile < 1 or ring_pixels < 1 or gap_pixels < 0:
        raise ConfigurationError("The quantile must lie between 0 and 1, the ring be at least 1 pixel wide.")
    if numbers.shape != surface.shape or surface.ndim != 2:
        raise ContractError(f"The buildings have the shape {numbers.shape}, the heights {surface.shape}.")
    present = np.unique(numbers[numbers > 0]).astype(np.int64)
    if present.size == 0:
        raise ContractError("There is no building in the label image.")
    sigma = np.broadcast_to(np.asarray(deviation_m, np.float64), surface.shape)
    below = None if ground_m is None else np.asarray(ground_m, np.float64)
    below_sigma = np.broadcast_to(np.asarray(ground_deviation_m, np.float64), surface.shape)
    boxes = ndimage.find_objects(numbers.astype(np.int64))
    rows = np.full((present.size, 5), np.nan)
    flags = np.zeros(present.size, np.uint8)
    reach = ring_pixels + gap_pixels
    for k, number in enumerate(present):
        box = _grown(boxes[number - 1], reach, surface.shape)
        roof = (numbers[box] == number) & np.isfinite(surface[box]) & np.isfinite(sigma[box])
        if below is None:
            floor, heights, errors = _ring(numbers[box], number, gap_pixels, reach), surface[box], sigma[box]
        else:
            floor, heights, errors = numbers[box] == number, below[box], below_sigma[box]
        floor = floor & np.isfinite(heights) & np.isfinite(errors)
        if not roof.any() or not floor.any():
            flags[k] |= INVALID
            rows[k, 4] = roof.sum()
            continue
        top, top_error = robust_level(surface[box][roof], sigma[box][roof], quantile, correlated_pixels)
        low, low_error = robust_level(heights[floor], errors[floor], 0.5, correlated_pixels)
        rows[k] = top - low, np.hypot(top_error, low_error), low, low_error, roof.sum()
        flags[k] |= FEW_SAMPLES if roof.sum() < minimum_samples else 0
        flags[k] |= NOT_HIGHER if rows[k, 0] <= 2.0 * rows[k, 1] else 0
    return BuildingHeights(present, rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4].astype(np.int64), flags)


def _grown(box: tuple[slice, ...], by: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(0, s.start - by), min(n, s.stop + by)) for s, n in zip(box, shape, strict=True))


def _ring(numbers: NDArray[np.integer], number: int, gap: int, reach: int) -> NDArray[np.bool_]:
    """Pixels between `gap` and `reach` pixels from the building that belong to none, nor are near another's wall."""
    away = ndimage.distance_transform_cdt(numbers != number, metric="chessboard")
    any_building = numbers > 0
    clear = ndimage.distance_transform_cdt(~any_building, metric="chessboard")
    return np.asarray((away > gap) & (away <= reach) & (clear > gap))


def heights_of_points(
    height_m: ArrayLike,
    deviation_m: ArrayLike,
    labels: ArrayLike,
    buildings: ArrayLike,
    ground_m: ArrayLike,
    ground_deviation_m: ArrayLike = 0.0,
    *,
    quantile: float = 0.5,
    minimum_samples: int = 4,
    correlated_points: float = 1.0,
) -> BuildingHeights:
    """Measure buildings in a point cloud, as of tomography or persistent scatterers.

    Args:
        height_m: Heights of the points, metres, `[S]`.
        deviation_m: Their standard deviations, metres, `[S]` or a number.
        labels: Building of every point, 0 for none, `[S]`.
        buildings: Numbers of the buildings to measure, `[K]`.
        ground_m: Ground height of each building, metres, `[K]` or a number.
        ground_deviation_m: Its standard deviation, metres.
        quantile: Of the points' heights; walls scatter too, so that roofs lie at 0.9 rather than 0.5.
        minimum_samples: Fewer points are flagged.
        correlated_points: Points that share their error.

    Raises:
        ConfigurationError: If the quantile is not between 0 and 1.
        ContractError: If the numbers of points and labels differ.
    """
    if not 0 < quantile < 1:
        raise ConfigurationError(f"The quantile must lie between 0 and 1, not {quantile}.")
    heights, numbers = np.asarray(height_m, np.float64), np.asarray(labels)
    if heights.shape != numbers.shape or heights.ndim != 1:
        raise ContractError(f"There are {heights.size} points and {numbers.size} labels; give one label a point.")
    sigma = np.broadcast_to(np.asarray(deviation_m, np.float64), heights.shape)
    asked = np.asarray(buildings, np.int64)
    ground = np.broadcast_to(np.asarray(ground_m, np.float64), asked.shape)
    ground_sigma = np.broadcast_to(np.asarray(ground_deviation_m, np.float64), asked.shape)
    rows = np.full((asked.size, 2), np.nan)
    samples, flags = np.zeros(asked.size, np.int64), np.zeros(asked.size, np.uint8)
    for k, number in enumerate(asked):
        mine = (numbers == number) & np.isfinite(heights) & np.isfinite(sigma)
        samples[k] = mine.sum()
        if samples[k] == 0 or not np.isfinite(ground[k]):
            flags[k] |= INVALID
            continue
        level, error = robust_level(heights[mine], sigma[mine], quantile, correlated_points)
        rows[k] = level - ground[k], np.hypot(error, ground_sigma[k])
        flags[k] |= FEW_SAMPLES if samples[k] < minimum_samples else 0
        flags[k] |= NOT_HIGHER if rows[k, 0] <= 2.0 * rows[k, 1] else 0
    return BuildingHeights(asked, rows[:, 0], rows[:, 1], ground.copy(), ground_sigma.copy(), samples, flags)
