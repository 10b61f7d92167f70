"""One robust height a pixel from the phases of few interferograms with different baselines.

The phase of interferogram k is `k_k s` plus noise of variance 1 / w_k, w_k = 2 L c^2 / (1 - c^2) for coherence c
and L looks (Rodriguez & Martin, IEE Proc. F 139(2), 1992). The estimate maximises

    J(s) = sum_k w_k (cos(phi_k - k_k s) - 1)

which is the likelihood of small errors, needs no unwrapping, and is bounded in each interferogram, so that one
broken phase cannot pull the height away. Long baselines give precision and short ones resolve the ambiguity; how
well, the second highest maximum of J tells (cf. Shi, Bamler, Wang & Zhu, IEEE TGRS 58(12), 2020, who build on the same
non-local averages and then regularise per building).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from ecumene.core.errors import ConfigurationError

_BATCH = 1 << 14
_NEWTON = 8
_STEPS_A_CYCLE = 12
_LARGEST_WEIGHT = 1e6  # a phase is never known better than a milliradian


@dataclass(frozen=True)
class PixelHeights:
    """Heights of P pixels.

    Attributes:
        height_m: Above the surface whose phase was removed, metres, `[P]`; NaN where not valid.
        standard_deviation_m: sin(incidence) / sqrt(sum w k^2), metres, `[P]`.
        second_best: Likelihood of the second highest maximum over that of the highest, 0 to 1, `[P]`.
        misfit: sum_k w_k (phase residual)^2, chi-square with K - 1 degrees of freedom for one scatterer, `[P]`.
        outlier: Misfit refuses one scatterer (layover, broken phase), or the ambiguity is not resolved, `[P]`.
        valid: Pixels with a height, `[P]`.
    """

    height_m: NDArray[np.float64]
    standard_deviation_m: NDArray[np.float64]
    second_best: NDArray[np.float64]
    misfit: NDArray[np.float64]
    outlier: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def estimate_heights(
    coherence: ArrayLike,
    looks: ArrayLike,
    baselines_m: ArrayLike,
    wavelength_m: float,
    slant_range_m: float,
    incidence_deg: float,
    height_range_m: tuple[float, float],
    *,
    passes: int = 1,
    sign: int = 1,
    level: float = 1e-3,
    ambiguity: float = 0.1,
) -> PixelHeights:
    """Estimate one height a pixel.

    Args:
        coherence: Complex coherences (magnitude 0..1, phase of the interferogram), `[K, P]`.
        looks: Equivalent looks, `[P]` or `[K, P]`.
        baselines_m: Perpendicular baseline of each interferogram, metres, `[K]`.
        wavelength_m: Radar wavelength, metres.
        slant_range_m: Distance from sensor to scene, metres.
        incidence_deg: Incidence angle, degrees.
        height_range_m: Lowest and highest height to search, metres.
        passes: 1 for bistatic pairs, 2 for repeat pass.
        sign: +1 if phase grows with height for a positive baseline, else -1.
        level: Chance that a pixel with one scatterer is flagged for its misfit.
        ambiguity: Largest `second_best` that is not flagged.

    Returns:
        Heights with error bars and flags.

    Raises:
        ConfigurationError: If baselines are all equal, the geometry or range is wrong, shapes do not fit, or
            coherence is zero or not finite everywhere.
    """
    values = np.asarray(coherence, np.complex128)
    baselines = np.asarray(baselines_m, np.float64)
    _check(values, baselines, wavelength_m, slant_range_m, incidence_deg, height_range_m, passes, sign)
    rates = sign * 2.0 * np.pi * passes * baselines / (wavelength_m * slant_range_m * np.sin(np.radians(incidence_deg)))
    magnitude = np.abs(values)
    number = np.broadcast_to(np.asarray(looks, np.float64), values.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = 2.0 * number * magnitude**2 / np.maximum(1.0 - magnitude**2, 1e-12)
    weight = np.minimum(np.where(np.isfinite(values) & np.isfinite(weight), weight, 0.0), _LARGEST_WEIGHT)
    valid = (weight > 0).sum(axis=0) >= 2
    if not valid.any():
        raise ConfigurationError(
            "Coherence is zero or not finite in all pixels, so phases are pure noise; use better pairs."
        )
    phase = np.where(weight > 0, np.angle(np.where(np.isfinite(values), values, 1.0)), 0.0)
    parts = [
        _estimate(phase[:, k : k + _BATCH], weight[:, k : k + _BATCH], rates, height_range_m)
        for k in range(0, values.shape[1], _BATCH)
    ]
    height, second, misfit = (np.concatenate(group) for group in zip(*parts, strict=True))
    with np.errstate(divide="ignore"):
        deviation = 1.0 / np.sqrt(np.sum(weight * rates[:, None] ** 2, axis=0))
    freedom = np.maximum((weight > 0).sum(axis=0) - 1, 1)
    outlier = valid & ((misfit > chi2.isf(level, freedom)) | (second > ambiguity))
    blank = np.where(valid, 0.0, np.nan)
    return PixelHeights(height + blank, deviation + blank, second + blank, misfit + blank, outlier, valid)


def _check(
    values: NDArray[np.complex128],
    baselines: NDArray[np.float64],
    wavelength_m: float,
    slant_range_m: float,
    incidence_deg: float,
    height_range_m: tuple[float, float],
    passes: int,
    sign: int,
) -> None:
    if values.ndim != 2 or baselines.shape != values.shape[:1]:
        raise ConfigurationError(
            f"Coherences of shape {values.shape} do not fit {baselines.size} baselines; give interferograms x pixels."
        )
    if not np.isfinite(baselines).all():
        raise ConfigurationError(
            "A baseline is not finite; give every interferogram its perpendicular baseline in metres."
        )
    if baselines.size < 2 or np.ptp(baselines) <= 1e-9 * max(1.0, float(np.abs(baselines).max())):
        raise ConfigurationError(
            "All baselines are equal, so height ambiguities cannot be resolved; give different baselines."
        )
    if not (wavelength_m > 0 and slant_range_m > 0 and 0 < incidence_deg < 90):
        raise ConfigurationError(
            "Wavelength and range must be positive and the incidence angle between 0 and 90 degrees."
        )
    if passes not in (1, 2) or sign not in (-1, 1):
        raise ConfigurationError(f"passes must be 1 or 2 and sign 1 or -1, not {passes} and {sign}.")
    if not (np.isfinite(height_range_m).all() and height_range_m[0] < height_range_m[1]):
        raise ConfigurationError(
            f"The height range {height_range_m} is empty; give lowest and highest height in metres."
        )


def _estimate(
    phase: NDArray[np.float64], weight: NDArray[np.float64], rates: NDArray[np.float64], limits: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Grid search, Newton steps, and the second maximum, for some pixels."""
    cycle = 2.0 * np.pi / np.abs(rates).max()
    grid = np.linspace(*limits, max(8, int(np.ceil((limits[1] - limits[0]) / cycle * _STEPS_A_CYCLE)) + 1))
    turned = np.exp(1j * rates[:, None] * grid)
    profile = ((weight * np.exp(1j * phase)).T @ turned.conj()).real  # [P, S]; sum of weights subtracted below
    height = _refine(phase, weight, rates, grid[np.argmax(profile, axis=1)], grid[1] - grid[0], limits)
    best = _objective(phase, weight, rates, height)
    # A second maximum must be another lobe, not the flank of the first.
    inner = np.zeros(profile.shape, np.bool_)
    inner[:, 1:-1] = (profile[:, 1:-1] >= profile[:, :-2]) & (profile[:, 1:-1] > profile[:, 2:])
    other = inner & (np.abs(grid - height[:, None]) > 2.0 * (grid[1] - grid[0]))
    place = np.argmax(np.where(other, profile, -np.inf), axis=1)
    rival = _refine(phase, weight, rates, grid[place], grid[1] - grid[0], limits)
    second = np.where(other.any(axis=1), np.exp(np.minimum(_objective(phase, weight, rates, rival) - best, 0.0)), 0.0)
    rest = phase - rates[:, None] * height
    rest = np.angle(np.exp(1j * rest))
    return height, second, np.sum(weight * rest**2, axis=0)


def _objective(
    phase: NDArray[np.float64], weight: NDArray[np.float64], rates: NDArray[np.float64], height: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.sum(weight * (np.cos(phase - rates[:, None] * height) - 1.0), axis=0))


def _refine(
    phase: NDArray[np.float64],
    weight: NDArray[np.float64],
    rates: NDArray[np.float64],
    start: NDArray[np.float64],
    step: float,
    limits: tuple[float, float],
) -> NDArray[np.float64]:
    height = start.copy()
    for _ in range(_NEWTON):
        rest = phase - rates[:, None] * height
        slope = np.sum(weight * rates[:, None] * np.sin(rest), axis=0)
        bend = np.sum(weight * rates[:, None] ** 2 * np.cos(rest), axis=0)
        curvature = np.maximum(bend, 0.1 * np.sum(weight * rates[:, None] ** 2, axis=0) + 1e-300)
        # The maximum lies within a step of its grid point.
        height = np.clip(height + np.clip(slope / curvature, -step, step), start - step, start + step)
    return np.clip(height, *limits)
