"""SL1MMER: scale-down by L1, model order selection, and maximum likelihood estimation of what is left.

Zhu & Bamler, IEEE TGRS 50(1):247-258, 2012. Here (1) the L1 problem is solved to a certified duality gap,
(2) orders are compared by their *maximum* likelihood: the best subsets of the active atoms are refined off
the grid before their residuals are penalised, so that the grid's step does not masquerade as a second
scatterer, and (3) every error bar is the inverse Fisher information of the selected model.
With motion models this is differential tomography: the grid then spans elevation and motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from ecumene.core.errors import ConfigurationError
from ecumene.core.threads import run_ranges
from ecumene.physics.tomography.grid import SearchGrid
from ecumene.physics.tomography.l1 import solve_l1, universal_threshold
from ecumene.physics.tomography.noise import estimate_noise
from ecumene.physics.tomography.order import order_penalties
from ecumene.physics.tomography.result import (
    AT_BORDER,
    INVALID,
    NOT_CONVERGED,
    POOR_FIT,
    UNRESOLVED,
    Scatterers,
)
from ecumene.physics.tomography.spectral import profile_candidates, svd_wiener

_PIXELS_A_BATCH = 1 << 16
_CANDIDATES = 10
METHODS = ("sl1mmer", "svd-wiener")


@dataclass(frozen=True)
class TomographyOptions:
    """How scatterers are searched.

    Attributes:
        method: `sl1mmer`, or `svd-wiener` (peaks of the linear profile instead of L1 atoms; the rest is the same).
        max_scatterers: Most scatterers a pixel.
        criterion: Model order criterion, see `order`.
        false_alarm: Chance that noise alone gives an L1 atom in a pixel; sets kappa.
        tolerance: Relative duality gap of the L1 solver.
        minimum_separation: Closest scatterers that are told apart, Rayleigh units.
        fit_level: Chance that a pixel with a right model is flagged as a poor fit.
        pooled_noise: Where the noise is estimated: one level for all pixels given together.
        threads: Threads; None: all processors. Results do not depend on it.
    """

    method: str = "sl1mmer"
    max_scatterers: int = 2
    criterion: str = "map"
    false_alarm: float = 0.5
    tolerance: float = 1e-4
    minimum_separation: float = 0.05
    fit_level: float = 1e-3
    pooled_noise: bool = True
    threads: int | None = None


def invert_stack(
    grid: SearchGrid,
    data: ArrayLike,
    *,
    noise_variance: ArrayLike | None = None,
    options: TomographyOptions | None = None,
) -> Scatterers:
    """Find the scatterers of every pixel.

    Args:
        grid: Where to search; its geometry says what the acquisitions are.
        data: Complex samples, `[P, N]`, or `[P, N, M]` for M snapshots that share their scatterers.
        noise_variance: sigma^2 of one complex sample, one number or `[P]`; None: estimated from the data.
        options: How to search.

    Returns:
        Scatterers with standard deviations and flags. Pixels that are not finite, or zero everywhere, are
        flagged invalid.

    Raises:
        ConfigurationError: If shapes or options do not fit, an acquisition holds no finite sample, there are
            fewer acquisitions than unknowns, or the noise can neither be estimated nor is given.
    """
    chosen = options or TomographyOptions()
    if chosen.method not in METHODS:
        raise ConfigurationError(f"The method {chosen.method!r} is unknown; choose of: {', '.join(METHODS)}.")
    stack = _checked(grid, data)
    pixels, n, looks = stack.shape
    penalties = order_penalties(chosen.criterion, chosen.max_scatterers, n, len(grid.axes), looks)
    valid = np.asarray(np.isfinite(stack).all(axis=(1, 2)) & (np.abs(stack) > 0).any(axis=(1, 2)))
    if not valid.any():
        raise ConfigurationError("No pixel has finite data in all acquisitions; check the files of the stack.")
    used = stack[valid]
    if noise_variance is None:
        noise = estimate_noise(grid, used, pooled=chosen.pooled_noise).variance
    else:
        noise = np.broadcast_to(np.asarray(noise_variance, np.float64), (pixels,))[valid]
    if not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ConfigurationError("The noise variance must be a positive number for every pixel; state the noise level.")
    parts = [
        _invert(grid, used[start : start + _PIXELS_A_BATCH], noise[start : start + _PIXELS_A_BATCH], penalties, chosen)
        for start in range(0, used.shape[0], _PIXELS_A_BATCH)
    ]
    return _spread(parts, valid)


def _checked(grid: SearchGrid, data: ArrayLike) -> NDArray[np.complex128]:
    stack = np.asarray(data)
    if not np.iscomplexobj(stack):
        raise ConfigurationError(
            "Tomography needs complex data (amplitude and phase); give single-look complex images."
        )
    stack = np.asarray(stack, np.complex128)
    stack = stack[:, :, None] if stack.ndim == 2 else stack
    if stack.ndim != 3 or stack.shape[1] != grid.geometry.count or 0 in stack.shape:
        raise ConfigurationError(
            f"Data of shape {np.shape(data)} do not fit {grid.geometry.count} acquisitions; give pixels x acquisitions."
        )
    dead = ~np.isfinite(stack).any(axis=(0, 2))
    if dead.any():
        raise ConfigurationError(
            f"Acquisition {int(np.argmax(dead)) + 1} holds no finite sample; leave it out of the stack."
        )
    return stack


def _candidates(
    grid: SearchGrid, data: NDArray[np.complex128], noise: NDArray[np.float64], options: TomographyOptions
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return candidate atoms of each pixel, strongest first, -1 in unused places; and whether they are complete."""
    n, looks = data.shape[1:]
    if options.method == "svd-wiener":
        profile = svd_wiener(grid, data, noise_variance=noise)
        return profile_candidates(grid, np.mean(np.abs(profile) ** 2, axis=2), _CANDIDATES), np.ones(
            len(data), np.bool_
        )
    extent = np.prod(
        [max(1.0, np.ptp(axis) / unit) for axis, unit in zip(grid.axes, grid.geometry.resolution(), strict=True)]
    )
    kappa = universal_threshold(np.sqrt(noise), n, float(extent), snapshots=looks, false_alarm=options.false_alarm)
    sparse = solve_l1(grid.dictionary, data, kappa, tolerance=options.tolerance, threads=options.threads)
    power = np.where(sparse.index >= 0, np.sum(np.abs(sparse.amplitude) ** 2, axis=2), -1.0)
    order = np.argsort(-power, axis=1, kind="stable")[:, :_CANDIDATES]
    return np.ascontiguousarray(np.take_along_axis(sparse.index, order, axis=1)), sparse.converged


def _invert(
    grid: SearchGrid,
    data: NDArray[np.complex128],
    noise: NDArray[np.float64],
    penalties: NDArray[np.float64],
    options: TomographyOptions,
) -> Scatterers:
    from ecumene.physics.tomography.fit_kernels import select_pixels

    geometry = grid.geometry
    pixels, n, looks = data.shape
    dims, largest = len(grid.axes), penalties.size - 1
    candidates, converged = _candidates(grid, data, noise, options)
    unit = geometry.resolution()
    margin = grid.steps / unit
    limits = grid.limits / unit[:, None] + margin[:, None] * np.array([-1.0, 1.0])
    count = np.zeros(pixels, np.int64)
    theta, theta_std = (np.full((pixels, largest, dims), np.nan) for _ in range(2))
    amplitude = np.full((pixels, largest, looks), np.nan, np.complex128)
    amplitude_std, phase_std = np.full((pixels, largest), np.nan), np.full((pixels, largest, looks), np.nan)
    residual, scores = np.zeros(pixels), np.full((pixels, largest + 1), np.inf)
    data, noise = np.ascontiguousarray(data), np.ascontiguousarray(noise)
    rates, points = geometry.phase_rates * unit, np.ascontiguousarray(grid.points / unit)

    def select(start: int, stop: int) -> None:
        select_pixels(
            data, rates, points, limits, candidates, noise, penalties, options.minimum_separation, start, stop, count,
            theta, theta_std, amplitude, amplitude_std, phase_std, residual, scores,
        )  # fmt: skip

    run_ranges(select, pixels, options.threads)
    energy = np.sum(np.abs(data) ** 2, axis=(1, 2))
    freedom = 2.0 * n * looks - count * (2 * looks + dims)
    flags = np.zeros(pixels, np.uint8)
    flags[2.0 * residual / noise > chi2.isf(options.fit_level, freedom)] |= POOR_FIT
    with np.errstate(invalid="ignore"):
        outside = (theta < grid.limits[:, 0] / unit) | (theta > grid.limits[:, 1] / unit)
    flags[outside.any(axis=(1, 2))] |= AT_BORDER
    flags[~converged] |= NOT_CONVERGED
    flags[_unresolved(theta, theta_std)] |= UNRESOLVED
    found = Scatterers(
        geometry=geometry,
        count=count,
        parameters=theta * unit,
        standard_deviation=theta_std * unit,
        amplitude=amplitude,
        amplitude_standard_deviation=amplitude_std,
        phase_standard_deviation=phase_std,
        noise_variance=np.array(noise),
        residual=residual,
        coherence=np.sqrt(np.clip(1.0 - residual / energy, 0.0, 1.0)),
        scores=scores,
        flags=flags,
    )
    return _sorted(found)


def _unresolved(theta: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.bool_]:
    close = np.zeros(theta.shape[0], np.bool_)
    for i in range(theta.shape[1]):
        for j in range(i):
            apart = np.abs(theta[:, i] - theta[:, j])
            joint = np.hypot(deviation[:, i], deviation[:, j])
            with np.errstate(invalid="ignore"):
                close |= (apart <= joint).all(axis=1)
    return close


def _sorted(found: Scatterers) -> Scatterers:
    order = np.argsort(-np.nan_to_num(found.power, nan=-1.0), axis=1, kind="stable")

    def taken(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, order.reshape(order.shape + (1,) * (values.ndim - 2)), 1)

    return replace(
        found,
        parameters=taken(found.parameters),
        standard_deviation=taken(found.standard_deviation),
        amplitude=taken(found.amplitude),
        amplitude_standard_deviation=taken(found.amplitude_standard_deviation),
        phase_standard_deviation=taken(found.phase_standard_deviation),
    )


def _spread(parts: list[Scatterers], valid: NDArray[np.bool_]) -> Scatterers:
    """Join batches and put them back among invalid pixels."""
    joined = {}
    for name in Scatterers.__dataclass_fields__:
        if name == "geometry":
            continue
        values = np.concatenate([getattr(part, name) for part in parts])
        empty = {"count": 0, "flags": INVALID}.get(name, np.nan)
        full = np.full((valid.size, *values.shape[1:]), empty, values.dtype)
        full[valid] = values
        joined[name] = full
    return Scatterers(geometry=parts[0].geometry, **joined)
