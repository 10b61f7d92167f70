"""Change of height and volume between two dates, with error and significance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import norm

from ecumene.core.errors import ConfigurationError, ContractError

_ROUNDS = 20
_TUKEY = 4.685  # 95 % efficiency of Tukey's biweight for Gaussian residuals


@dataclass(frozen=True)
class HeightChange:
    """Difference of two height rasters.

    Attributes:
        change_m: Second minus first, tilt removed, metres, `[H, W]`; NaN without data.
        standard_deviation_m: `sqrt(s1^2 + s2^2)`, metres, `[H, W]`, enlarged where stable ground scatters more.
        probability: Two-sided probability that no change looks like this, `[H, W]`.
        significant: Beyond `k` standard deviations and beyond the least height, `[H, W]`.
        tilt_m: The plane that was removed, metres, `[H, W]`.
        error_scale: Scatter of stable ground over what the stated errors say; errors were multiplied by it if above 1.
        valid: Pixels with data at both dates.
    """

    change_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    probability: NDArray[np.float64]
    significant: NDArray[np.bool_]
    tilt_m: NDArray[np.float64]
    error_scale: float
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class ChangedObjects:
    """Connected areas of significant change, one row each.

    Attributes:
        labels: Number of the object of every pixel, 0 for none, `[H, W]`.
        area_m2: `[K]`.
        mean_change_m: `[K]`.
        mean_deviation_m: Its standard deviation, `[K]`.
        volume_m3: Sum of changes times pixel area, `[K]`.
        volume_deviation_m3: Its standard deviation, `[K]`.
        probability: Two-sided probability of the volume without change, `[K]`.
    """

    labels: NDArray[np.int64]
    area_m2: NDArray[np.float64]
    mean_change_m: NDArray[np.float64]
    mean_deviation_m: NDArray[np.float64]
    volume_m3: NDArray[np.float64]
    volume_deviation_m3: NDArray[np.float64]
    probability: NDArray[np.float64]


def robust_plane(
    values: NDArray[np.float64], stable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a plane to stable pixels by Tukey's biweight; return (plane `[H, W]`, residuals of stable pixels).

    Raises:
        ContractError: If fewer than three stable pixels have data.
    """
    usable = stable & np.isfinite(values)
    if usable.sum() < 3:
        raise ContractError("Fewer than three stable pixels have heights at both dates, so no tilt can be fitted.")
    rows, cols = (np.indices(values.shape) + 0.5) / np.reshape(values.shape, (2, 1, 1)) - 0.5
    design = np.stack([np.ones(values.shape), rows, cols], axis=-1)
    samples, data = design[usable], values[usable]
    plane = np.array([np.median(data), 0.0, 0.0])
    for _ in range(_ROUNDS):
        residual = data - samples @ plane
        spread = 1.4826 * float(np.median(np.abs(residual)))
        if spread == 0.0:
            break
        weight = np.square(np.maximum(0.0, 1.0 - np.square(residual / (_TUKEY * spread))))
        root = np.sqrt(weight)
        updated = np.linalg.lstsq(samples * root[:, None], data * root, rcond=None)[0]
        settled = np.allclose(updated, plane, rtol=1e-9, atol=1e-9)
        plane = updated
        if settled:
            break
    return np.asarray(design @ plane), np.asarray(data - samples @ plane)


def height_change(
    first_m: NDArray[np.float64],
    second_m: NDArray[np.float64],
    first_deviation_m: ArrayLike,
    second_deviation_m: ArrayLike,
    *,
    stable: NDArray[np.bool_] | None = None,
    remove_tilt: bool = True,
    k: float = 3.0,
    least_m: float = 2.5,
) -> HeightChange:
    """Difference two height rasters with propagated error.

    Lane, Westaway and Hicks, "Estimation of erosion and deposition volumes in a large, gravel-bed, braided river
    using synoptic remote sensing", Earth Surf. Process. Landforms 28(3), 2003, for the propagation and the
    threshold; the residual tilt and the scale of the errors come from stable ground.

    Args:
        first_m: Heights at the first date, metres, `[H, W]`; NaN means no data.
        second_m: Heights at the second date.
        first_deviation_m: Standard deviations, metres, `[H, W]` or a number.
        second_deviation_m: The same for the second date.
        stable: Ground that did not change; None: all, against which changes stand out as outliers.
        remove_tilt: Subtract a robust plane over stable ground.
        k: Standard deviations of significance.
        least_m: Smallest change that counts, metres.

    Raises:
        ConfigurationError: If `k` is not positive or `least_m` negative.
        ContractError: If shapes differ, a deviation is negative, there are no common data, or (with the tilt) no
            stable ground.
    """
    before, after = np.asarray(first_m, np.float64), np.asarray(second_m, np.float64)
    if before.shape != after.shape or before.ndim != 2:
        raise ContractError(f"The heights have the shapes {before.shape} and {after.shape}; bring them to one grid.")
    if not (k > 0 and least_m >= 0):
        raise ConfigurationError("The significance k must be positive and the least change not negative.")
    deviations = [
        np.broadcast_to(np.asarray(d, np.float64), before.shape) for d in (first_deviation_m, second_deviation_m)
    ]
    if any((d < 0).any() for d in deviations):
        raise ContractError("A standard deviation of the heights is negative.")
    difference = after - before
    sigma = np.hypot(*deviations)
    valid = np.isfinite(difference) & np.isfinite(sigma) & (sigma > 0)
    if not valid.any():
        raise ContractError("No pixel has heights and error bars at both dates.")
    difference = np.where(valid, difference, np.nan)
    ground = valid if stable is None else valid & np.asarray(stable, bool)
    tilt = np.zeros(before.shape)
    scale = 1.0
    if remove_tilt:
        tilt, residual = robust_plane(difference, ground)
        scale = float(1.4826 * np.median(np.abs(residual / sigma[ground])))
    change = difference - tilt
    error = np.where(valid, sigma * max(scale, 1.0), np.nan)
    with np.errstate(invalid="ignore"):
        probability = np.asarray(2.0 * norm.sf(np.abs(change) / error))
        significant = valid & (np.abs(change) > k * error) & (np.abs(change) > least_m)
    return HeightChange(change, error, probability, significant, tilt, scale, valid)


def volume_change(
    change: HeightChange,
    pixel_area_m2: float,
    labels: NDArray[np.integer],
    *,
    correlation_pixels: float = 1.0,
    shared_deviation_m: float = 0.0,
) -> ChangedObjects:
    """Sum the change over objects (footprints, or connected areas), with errors that know of correlation.

    `sigma_V^2 = A^2 (c sum sigma_i^2 + n^2 s^2)`: pixel errors that are shared by `c` neighbours (area of their
    correlation, Rolstad, Haug and Denby, J. Glaciology 55(192), 2009) and a shift `s` that all pixels have in common.

    Args:
        change: From `height_change`.
        pixel_area_m2: Area of a pixel, square metres.
        labels: Number of the object of every pixel, 0 for none, `[H, W]`.
        correlation_pixels: Pixels that share their error, at least 1.
        shared_deviation_m: Standard deviation of a common shift, metres.

    Raises:
        ConfigurationError: If an argument is out of range.
        ContractError: If the labels have another shape.
    """
    if not (pixel_area_m2 > 0 and correlation_pixels >= 1 and shared_deviation_m >= 0):
        raise ConfigurationError(
            "Pixel area must be positive, correlation at least 1 pixel, a shared shift not negative."
        )
    numbers = np.where(change.valid, np.asarray(labels, np.int64), 0) if labels.shape == change.valid.shape else None
    if numbers is None:
        raise ContractError(f"The objects have the shape {labels.shape}, the change {change.valid.shape}.")
    index = np.unique(numbers[numbers > 0])
    count = ndimage.sum_labels(numbers > 0, numbers, index)
    total = ndimage.sum_labels(np.nan_to_num(change.change_m), numbers, index)
    variance = ndimage.sum_labels(np.square(np.nan_to_num(change.standard_deviation_m)), numbers, index)
    # n pixels that share their error wholly cannot scatter more than one pixel n times
    own = np.minimum(correlation_pixels, count) * variance
    deviation = np.sqrt(own + np.square(count * shared_deviation_m))
    with np.errstate(invalid="ignore", divide="ignore"):
        probability = 2.0 * norm.sf(np.abs(total) / deviation)
    relabelled = np.searchsorted(index, numbers) + 1 if index.size else numbers
    return ChangedObjects(
        labels=np.where(numbers > 0, relabelled, 0),
        area_m2=count * pixel_area_m2,
        mean_change_m=total / np.maximum(count, 1),
        mean_deviation_m=deviation / np.maximum(count, 1),
        volume_m3=total * pixel_area_m2,
        volume_deviation_m3=deviation * pixel_area_m2,
        probability=np.asarray(probability),
    )


def changed_objects(
    change: HeightChange,
    pixel_area_m2: float,
    *,
    least_area_m2: float = 0.0,
    correlation_pixels: float = 1.0,
    shared_deviation_m: float = 0.0,
) -> ChangedObjects:
    """Find connected areas of significant growth and of significant loss, apart, and sum them.

    Args:
        change: From `height_change`.
        pixel_area_m2: Area of a pixel, square metres.
        least_area_m2: Smaller areas are left out.
        correlation_pixels: See `volume_change`.
        shared_deviation_m: See `volume_change`.
    """
    labels = np.zeros(change.valid.shape, np.int64)
    for sign in (1, -1):
        part, number = ndimage.label(change.significant & (np.sign(np.nan_to_num(change.change_m)) == sign))
        sizes = np.bincount(part.ravel(), minlength=number + 1) * pixel_area_m2
        keep = sizes >= least_area_m2
        keep[0] = False
        labels = np.where(keep[part], part + labels.max(), labels)
    return volume_change(
        change,
        pixel_area_m2,
        labels,
        correlation_pixels=correlation_pixels,
        shared_deviation_m=shared_deviation_m,
    )
