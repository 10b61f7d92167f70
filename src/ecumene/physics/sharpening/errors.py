"""How wrong a sharpener is: an error model learnt one scale up, and how errors grow from scale to scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.sharpening.guides import FusionInput, Image

Sharpener = Callable[[FusionInput], Image]

SMALLEST_EDGE = 8
"""Pixels of the twice degraded image that an error model needs along each axis."""

LARGEST_GROWTH = 4.0
"""Of the standard deviation from one scale to the next; more is taken for a failure of the comparison."""


def degrade_pair(data: FusionInput) -> tuple[FusionInput, Image, NDArray[np.bool_]]:
    """Return (both images one scale up, the reference they should give back, where it is valid): Wald's protocol.

    Wald, Ranchin and Mangolini (1997), PE&RS 63(6):691-699, property two. Incomplete borders are cut off.

    Raises:
        ConfigurationError: If the image is too small.
    """
    ratio = data.pair.ratio
    if min(data.pair.shape) // ratio < SMALLEST_EDGE:
        raise ConfigurationError(
            f"A coarse image of {data.pair.shape[0]} x {data.pair.shape[1]} pixels is too small to learn the error of "
            f"sharpening from; give at least {SMALLEST_EDGE * ratio} pixels along each side."
        )
    pair = data.pair.coarser()
    rows, cols = pair.fine_shape
    reference, valid = data.low[:, :rows, :cols], data.low_valid[:rows, :cols]
    guide = data.high_at_low[:, :rows, :cols]
    complete = np.asarray(valid.reshape(pair.shape[0], ratio, pair.shape[1], ratio).all(axis=(1, 3)))
    if not complete.any():
        raise ConfigurationError("No block of pixels is free of gaps, so the error of sharpening cannot be learnt.")
    return FusionInput(pair, pair.degrade(reference), guide, complete, valid), reference, valid


def detail_power(value: Image, data: FusionInput) -> Image:
    """Return the mean square of the injected detail, result minus interpolation, around every pixel, `[B, H, W]`."""
    from scipy.ndimage import uniform_filter

    detail = (value - data.pair.interpolate(data.low)) ** 2
    return np.stack([uniform_filter(band, data.pair.ratio + 1, mode="nearest") for band in detail])


def near_gap(data: FusionInput) -> NDArray[np.bool_]:
    """Return bool `[H, W]`: gaps and what lies within reach of the coarse sensor's blur from them."""
    from scipy.ndimage import binary_dilation

    gap = np.asarray(~data.high_valid | ~data.pair.repeat(data.low_valid))
    if not gap.any():
        return gap
    reach = int(np.ceil(2.0 * data.pair.blur_deviation)) + data.pair.ratio
    return np.asarray(binary_dilation(gap, iterations=reach))


def fit_error_model(data: FusionInput, method: Sharpener) -> NDArray[np.float64]:
    """Learn variance = alpha + beta d^2 for each band, d^2 being `detail_power`, to be used at the pair's fine scale.

    Fitted one scale up, where the coarse image is the reference, by quasi-likelihood for squared errors. Details
    of different bands agree less the finer they are, so errors grow relative to the model from scale to scale. How
    much is measured by carrying a model from two scales up to one scale up, and the variance is multiplied by that
    growth, at least 1, once more; where the image is too small for two scales the growth is taken as 1.

    Args:
        data: The pair.
        method: The sharpener.

    Returns:
        `[B, 2]`: alpha >= 0 in squared units of the coarse image, beta >= 0.

    Raises:
        ConfigurationError: If the image is too small for one scale.
    """
    reduced, reference, valid = degrade_pair(data)
    squares, detail, _ = _errors_at(reduced, reference, valid, method)
    model = np.stack([_fit_variance(error, power) for error, power in zip(squares, detail, strict=True)])
    try:
        twice, coarse_reference, coarse_valid = degrade_pair(reduced)
    except ConfigurationError:
        return model
    coarse_squares, coarse_detail, _ = _errors_at(twice, coarse_reference, coarse_valid, method)
    for band in range(len(model)):
        coarse = _fit_variance(coarse_squares[band], coarse_detail[band])
        growth = float(np.mean(squares[band] / (coarse[0] + coarse[1] * detail[band])))
        model[band] *= min(max(growth, 1.0), LARGEST_GROWTH**2)
    return model


def _errors_at(
    data: FusionInput, reference: Image, valid: NDArray[np.bool_], method: Sharpener
) -> tuple[Image, Image, NDArray[np.bool_]]:
    """Return (squared errors `[B, N]`, detail power `[B, N]`, the pixels) of a method where a reference exists."""
    result = method(data)
    usable = valid & ~near_gap(data)
    usable = usable if usable.any() else valid
    return ((result - reference) ** 2)[:, usable], detail_power(result, data)[:, usable], usable


def _fit_variance(squares: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (alpha, beta) by non-negative iteratively reweighted least squares (gamma family, identity link)."""
    from scipy.optimize import nnls

    floor = max(1e-6 * float(squares.mean()), 1e-300)
    design = np.column_stack([np.ones_like(power), power])
    size = np.maximum(np.sqrt(np.mean(design**2, axis=0)), 1e-150)
    variance = np.full_like(squares, max(float(squares.mean()), floor))
    solution = np.array([variance[0], 0.0])
    for _ in range(8):  # squared errors have a spread in proportion to their mean
        triangle = np.linalg.qr(design / size / variance[:, None])
        solution = nnls(triangle.R, triangle.Q.T @ (squares / variance))[0] / size
        variance = np.maximum(design @ solution, floor)
    return np.array([max(float(solution[0]), floor), float(solution[1])])
