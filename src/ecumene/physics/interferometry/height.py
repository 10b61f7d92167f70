"""Phase to height, its error, and heights of several interferograms in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.checks import coherence_stack, phase_stack
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.phase_statistics import phase_deviation

NINETY_PERCENT = 1.6448536269514722
"""Two-sided 90 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class HeightMap:
    """Heights with error bars.

    Attributes:
        height_m: Metres above the surface whose phase was removed, `[...]`; NaN without data.
        standard_deviation_m: From the phase noise alone, metres, `[...]`.
        outlier: The heights that were combined contradict each other (or nothing was combined: False).
        valid: Pixels with a height.
    """

    height_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    outlier: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def phase_to_height(
    phase: ArrayLike,
    baseline_m: ArrayLike,
    geometry: RadarGeometry,
    coherence: ArrayLike,
    looks: float,
    *,
    reference_phase: float = 0.0,
) -> HeightMap:
    """Turn the unwrapped phase of one interferogram into heights.

    `h = phase / height_rate`, `sigma_h = h_ambiguity * sigma_phase / (2 pi)` (Bamler and Hartl 1998, section 3;
    Rodriguez and Martin 1992), with sigma_phase from the exact phase density in place of its bound.

    Args:
        phase: Unwrapped phase without that of the reference surface, radians, `[...]`; NaN means no data.
        baseline_m: Perpendicular baseline, metres; a number or an array that fits `phase`.
        geometry: Wavelength, range, incidence, passes.
        coherence: Coherence magnitude, 0..1, `[...]`.
        looks: Independent looks behind coherence and phase.
        reference_phase: Phase, radians, at which the height is zero (a ground control point's).

    Returns:
        The heights.

    Raises:
        ConfigurationError: If a baseline is zero, so that the phase knows no height.
        ContractError: If phase and coherence do not fit, the phase has no finite value, or no coherence.
    """
    values = phase_stack(np.asarray(phase, np.float64)[None], 1)[0]
    rate = geometry.height_rate(baseline_m)
    if not (np.isfinite(rate) & (rate != 0)).all():
        raise ConfigurationError(
            "The perpendicular baseline is zero, so the phase knows no height; use a pair with another baseline."
        )
    quality = coherence_stack(coherence, values.shape)
    height = (values - reference_phase) / rate
    deviation = phase_deviation(quality, looks) / np.abs(rate)
    valid = np.isfinite(height) & (quality > 0)
    height, deviation = np.where(valid, height, np.nan), np.where(valid, deviation, np.nan)
    return HeightMap(height, deviation, np.zeros(valid.shape, bool), valid)


def relative_height_error(
    standard_deviation_m: NDArray[np.float64], cell: int | None = None
) -> NDArray[np.float64] | float:
    """Return the 90 % point-to-point height error, metres: `1.645 * sqrt(2) * sigma_h`.

    The TanDEM-X specification (2 m for slopes below 20 %, 4 m above, within a cell of one degree; Krieger et
    al., "TanDEM-X: a satellite formation for high-resolution SAR interferometry", IEEE TGRS 45(11), 2007).

    Args:
        standard_deviation_m: Standard deviation of the heights, metres, `[H, W]`.
        cell: Pixels of a cell's side; None: one figure for the whole image.

    Returns:
        One figure a cell `[ceil(H / cell), ceil(W / cell)]`, or one number; from the root mean square of sigma.

    Raises:
        ContractError: If nothing is finite.
    """
    variance = np.square(np.asarray(standard_deviation_m, np.float64))
    if not np.isfinite(variance).any():
        raise ContractError("No pixel has a height error, so there is no relative height error.")
    factor = NINETY_PERCENT * np.sqrt(2.0)
    if cell is None:
        return float(factor * np.sqrt(np.nanmean(variance)))
    if cell < 1:
        raise ConfigurationError(f"A cell needs at least one pixel, not {cell}.")
    rows, cols = np.indices(variance.shape) // cell
    labels = rows * (cols.max() + 1) + cols
    known = np.isfinite(variance)
    index = np.arange(labels.max() + 1)
    total = ndimage.sum_labels(np.where(known, variance, 0.0), labels, index)
    number = ndimage.sum_labels(known, labels, index)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(number > 0, total / number, np.nan)
    return np.asarray(factor * np.sqrt(mean).reshape(rows.max() + 1, cols.max() + 1))


def combine_heights(maps: Sequence[HeightMap], *, level: float = 1e-3) -> HeightMap:
    """Combine heights of several acquisitions by weights `1 / sigma_h^2`.

    Args:
        maps: Heights on one grid.
        level: Probability at which contradicting heights (chi-square of their scatter) are flagged.

    Returns:
        The weighted mean with `sigma = (sum 1 / sigma_k^2)^(-1/2)`.

    Raises:
        ContractError: If no map is given or the grids differ.
    """
    from scipy.stats import chi2

    if not maps:
        raise ContractError("There is no height map to combine.")
    if len({entry.height_m.shape for entry in maps}) != 1:
        raise ContractError("The height maps lie on different grids; bring them to one first.")
    height = np.stack([entry.height_m for entry in maps])
    deviation = np.stack([entry.standard_deviation_m for entry in maps])
    usable = np.isfinite(height) & (deviation > 0)
    weight = np.where(usable, 1.0 / np.square(np.where(usable, deviation, 1.0)), 0.0)
    total = weight.sum(axis=0)
    valid = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid, (weight * np.where(usable, height, 0.0)).sum(axis=0) / total, np.nan)
        sigma = np.where(valid, 1.0 / np.sqrt(total), np.nan)
    scatter = (weight * np.square(np.where(usable, height - mean, 0.0))).sum(axis=0)
    freedom = usable.sum(axis=0) - 1
    limit = chi2.isf(level, np.maximum(freedom, 1))
    return HeightMap(mean, sigma, (freedom > 0) & (scatter > limit), valid)
