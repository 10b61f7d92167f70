"""Error bars of a speckle filter checked by repeating it on simulated speckle over its own result."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ecumene.physics.speckle.checks import check_looks, check_share
from ecumene.physics.speckle.result import Despeckled
from ecumene.physics.speckle.simulate import gamma_speckle

Image = NDArray[np.float64]

ONE_SIGMA = 0.6826894921370859
"""Probability of a normal value to lie within one standard deviation."""
_LEAST_PIXELS = 400
_WHITE = 0.95  # shares above it are taken as white


def error_bar_factor(
    run: Callable[[Image], Despeckled],
    result: Despeckled,
    looks: float,
    *,
    independent_share: float = 1.0,
    edge: int = 256,
    seed: int = 0,
) -> float:
    """Return by what factor a filter's standard deviations have to be enlarged to hold for its own result.

    A parametric bootstrap (Efron and Tibshirani 1993, chapter 6): the result is taken as the truth, speckle is
    simulated on it, the filter is run again, and its errors are compared with its error bars. The factor is the
    68.3 % quantile of |error| / standard deviation, at least 1. It contains what formulas leave out: weights that have
    seen the speckle they average, and structure that the filter blurs. Speckle that is left in the result counts as
    structure, so that the factor is rather too large.

    Args:
        run: The filter, intensity `[h, w]` to its result.
        result: What it gave for the scene, `[H, W]`.
        looks: Equivalent number of looks of the scene.
        independent_share: Independent share of neighbouring samples.
        edge: Edge of the part of the scene that is used, pixels.
        seed: Of the simulated speckle.

    Returns:
        The factor; 1 where too few pixels are valid.

    Raises:
        ConfigurationError: If looks or share are out of range.
    """
    looks, share = check_looks(looks), check_share(independent_share)
    place = _fullest(result.valid & (result.value > 0), edge)
    truth = np.where(result.valid & (result.value > 0), result.value, np.nan)[place]
    known = np.isfinite(truth)
    if known.sum() < _LEAST_PIXELS:
        return 1.0
    speckle = gamma_speckle(np.random.default_rng(seed), truth.shape, looks, correlation_px=_correlation(share))
    again = run(np.asarray(truth * speckle))
    usable = known & again.valid & ~again.outlier & (again.standard_deviation > 0)
    if usable.sum() < _LEAST_PIXELS:
        return 1.0
    size = np.abs(again.value - truth)[usable] / again.standard_deviation[usable]
    return max(1.0, float(np.quantile(size, ONE_SIGMA)))


def _fullest(valid: NDArray[np.bool_], edge: int) -> tuple[slice, slice]:
    """The window with the most valid pixels out of nine; the middle one first."""
    starts = [[max(0, (length - edge) * k // 2) for k in (1, 0, 2)] for length in valid.shape]
    places = [(slice(row, row + edge), slice(col, col + edge)) for row in starts[0] for col in starts[1]]
    return max(places, key=lambda place: int(valid[place].sum()))


def _correlation(share: float) -> float:
    """Width in pixels of the Gaussian kernel whose speckle has a share of independent samples."""
    if share >= _WHITE:
        return 0.0

    def excess(sigma: float) -> float:
        reach = int(4.0 * sigma + 0.5)  # of scipy's Gaussian filter, which the simulator uses
        kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2.0 * sigma**2))
        return float((kernel.sum() ** 2 / (kernel**2).sum()) ** 2) - 1.0 / share

    return float(brentq(excess, 0.1, max(2.0, 2.0 / math.sqrt(share)), xtol=1e-3))
