"""The atmosphere in interferograms: ramps, delay that follows height, and turbulence.

- Orbit ramps and stratified delay are fitted per interferogram by robust least squares (iteratively reweighted,
  Huber) on what the caller calls stable.
- Turbulence is what is smooth in space and rough in time (Ferretti, Prati and Rocca, "Permanent scatterers in
  SAR interferometry", IEEE TGRS 39(1), 2001; Berardino et al. 2002): residuals of the motion model minus their
  temporal low-pass, through a spatial low-pass. What differs: both filters are normalised convolutions, so that
  gaps neither leak in nor cost anything, and the filter acts on residuals of the model, so that steady motion
  cannot be taken for air.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.network import PairNetwork
from ecumene.physics.interferometry.sbas import MotionSeries, model_design

_HUBER = 1.345  # 95 % efficiency for Gaussian residuals
_ROUNDS = 20


def robust_fit(
    design: NDArray[np.float64], values: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return coefficients of a linear model by Huber's M-estimator, `[D]`.

    Args:
        design: `[S, D]`.
        values: `[S]`, finite.
        weight: Further weights of the samples, `[S]`.

    Raises:
        ContractError: If there are fewer samples than coefficients.
    """
    if len(values) < design.shape[1]:
        raise ContractError(f"{len(values)} stable pixels cannot decide {design.shape[1]} coefficients; allow more.")
    base: NDArray[Any] = np.ones(len(values)) if weight is None else weight
    current: NDArray[Any] = base
    coefficients: NDArray[np.float64] = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(current)
        updated = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        residual = values - design @ updated
        spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
        settled = np.allclose(updated, coefficients, rtol=1e-9, atol=1e-12)
        coefficients = updated
        if settled or spread == 0.0:
            break
        current = base * np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(residual), 1e-300))
    return np.asarray(coefficients)


def fit_ramp(
    phase: NDArray[np.float64],
    *,
    height_m: ArrayLike | None = None,
    degree: int = 1,
    stable: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Fit a polynomial ramp, and delay proportional to height, to one unwrapped interferogram.

    Args:
        phase: Unwrapped phase, radians, `[H, W]`; NaN means no data.
        height_m: Heights `[H, W]`, metres: adds stratified delay (Hanssen 2001, section 4.4).
        degree: 0 (offset only), 1 (plane) or 2 of the ramp.
        stable: Pixels that do not move; None: all.

    Returns:
        The fitted phase, radians, `[H, W]`, to be subtracted.

    Raises:
        ConfigurationError: If the degree is not 0, 1 or 2.
        ContractError: If too few stable pixels have data.
    """
    if degree not in (0, 1, 2):
        raise ConfigurationError(f"The degree of the ramp must be 0, 1 or 2, not {degree}.")
    values = np.asarray(phase, np.float64)
    rows, cols = (2.0 * np.indices(values.shape) + 1.0) / np.reshape(values.shape, (2, 1, 1)) - 1.0
    terms = [np.ones(values.shape)]
    if degree >= 1:
        terms += [rows, cols]
    if degree == 2:
        terms += [rows**2, rows * cols, cols**2]
    usable = np.isfinite(values) if stable is None else np.isfinite(values) & stable
    if height_m is not None:
        height = np.asarray(height_m, np.float64)
        if height.shape != values.shape:
            raise ContractError(f"The DEM has the shape {height.shape}, the interferogram {values.shape}.")
        usable &= np.isfinite(height)
        middle = np.mean(height[usable]) if usable.any() else 0.0
        spread = float(np.std(height[usable])) if usable.any() else 0.0
        if spread > 0:
            terms.append(np.nan_to_num((height - middle) / spread))
    design = np.stack(terms, axis=-1)
    return np.asarray(design @ robust_fit(design[usable], values[usable]))


def smooth_in_space(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian mean over the last two axes that leaves NaN out; NaN only where nothing is in reach.

    Args:
        values: `[..., H, W]`.
        sigma: Standard deviation of the Gaussian, pixels.
    """
    known = np.isfinite(values)
    along = (0.0,) * (values.ndim - 2) + (sigma, sigma)
    weight = ndimage.gaussian_filter(known.astype(np.float64), along, mode="constant")
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), along, mode="constant")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 1e-6, total / weight, np.nan))


def smooth_in_time(values: NDArray[np.float64], days: NDArray[np.float64], cutoff_days: float) -> NDArray[np.float64]:
    """Return a Gaussian mean over uneven dates, `[N, ...]`, that leaves NaN out.

    Args:
        values: `[N, ...]`.
        days: Times, days, `[N]`.
        cutoff_days: Standard deviation of the Gaussian, days.
    """
    kernel = np.exp(-0.5 * np.square((days[:, None] - days[None]) / cutoff_days))
    known = np.isfinite(values)
    total = np.tensordot(kernel, np.where(known, values, 0.0), axes=1)
    weight = np.tensordot(kernel, known.astype(np.float64), axes=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 1e-9, total / weight, np.nan))


def atmospheric_screens(
    series: MotionSeries,
    geometry: RadarGeometry,
    *,
    sigma_pixels: float,
    cutoff_days: float = 30.0,
    motion: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """Estimate the turbulent atmosphere of every acquisition, relative to their mean.

    Args:
        series: A first inversion `[N, H, W]`.
        geometry: That of the inversion.
        sigma_pixels: Standard deviation of the spatial low-pass, pixels (about 1 km on the ground is usual).
        cutoff_days: Standard deviation of the temporal low-pass, days; slower departures from the model stay.
        motion: Names of the motion model that was inverted; None: read from the series.

    Returns:
        Phase screens, radians, `[N, H, W]`; `screens[second] - screens[first]` is to be subtracted from a pair
        (`remove_screens`).

    Raises:
        ConfigurationError: If a width is not positive.
        ContractError: If the series is not an image.
    """
    if not (sigma_pixels > 0 and cutoff_days > 0):
        raise ConfigurationError("The filter of the atmosphere needs positive widths in pixels and days.")
    if series.displacement_m.ndim != 3:
        raise ContractError("The atmosphere is smooth in space; give a series of images [N, H, W].")
    names = tuple(motion) if motion is not None else _motion_names(series)
    design, labels, _ = model_design(series.network, geometry_at_centre(geometry), names, False)
    phase = -geometry.phase_per_metre * series.displacement_m
    model = np.einsum("nd,dhw->nhw", design, series.parameters[: len(labels)])
    residual = phase - model  # the series holds no DEM error: see `invert_series`
    residual -= np.nanmean(residual, axis=0)
    days = series.network.years * 365.25
    rough = residual - smooth_in_time(residual, days, cutoff_days)
    screens = smooth_in_space(rough, sigma_pixels)
    return np.asarray(np.nan_to_num(screens))


def _motion_names(series: MotionSeries) -> tuple[str, ...]:
    names = ["linear"]
    if "acceleration" in series.names:
        names.append("quadratic")
    if "sine" in series.names:
        names.append("seasonal")
    return tuple(names)


def geometry_at_centre(geometry: RadarGeometry) -> RadarGeometry:
    """Return the geometry with its mean range and incidence."""
    return RadarGeometry(
        geometry.wavelength_m,
        float(np.mean(geometry.slant_range_m)),
        float(np.mean(geometry.incidence_deg)),
        geometry.passes,
        geometry.sign,
    )


def remove_screens(
    phase: NDArray[np.float64], screens: NDArray[np.float64], network: PairNetwork
) -> NDArray[np.float64]:
    """Return interferograms without the screens of their two acquisitions, radians, `[M, H, W]`."""
    return np.asarray(phase - (screens[network.second_index] - screens[network.first_index]))
