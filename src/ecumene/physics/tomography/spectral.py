"""Classical estimators of the reflectivity profile: beamforming, Capon, SVD-Wiener, MUSIC.

All take a `SearchGrid` and give a profile over its L atoms for a batch of pixels. Beamforming and SVD-Wiener
are linear and work on single samples; Capon and MUSIC need a covariance matrix of many looks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.grid import SearchGrid


def sample_covariance(data: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the sample covariance of snapshots, `[P, N, M]` to `[P, N, N]`.

    Raises:
        ConfigurationError: If the data have no axis of snapshots.
    """
    if data.ndim != 3:
        raise ConfigurationError("A covariance needs snapshots; give data of pixels x acquisitions x snapshots.")
    return np.asarray(data @ data.conj().transpose(0, 2, 1) / data.shape[2])


def beamforming(grid: SearchGrid, data: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the matched filter A^H g / N, `[P, N(, M)]` to `[P, L(, M)]` (the periodogram's amplitude)."""
    atoms = grid.dictionary
    _check(grid, data.shape[1])
    return np.asarray(np.einsum("nl,pn...->pl...", atoms.conj(), data, optimize=True) / atoms.shape[0])


def beamforming_power(grid: SearchGrid, covariance: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the matched filter's power a^H C a / N^2 of covariances `[P, N, N]`, `[P, L]`."""
    atoms = grid.dictionary
    _check(grid, covariance.shape[1])
    return np.asarray(np.sum(atoms.conj() * (covariance @ atoms), axis=1).real / atoms.shape[0] ** 2)


def capon(grid: SearchGrid, covariance: NDArray[np.complex128], *, loading: float = 1e-3) -> NDArray[np.float64]:
    """Return the minimum-variance power 1 / (a^H C^-1 a) (Capon, Proc. IEEE 57(8), 1969).

    Args:
        grid: Where to look.
        covariance: `[P, N, N]`.
        loading: Diagonal loading as a share of the mean power; needed where looks are fewer than N.

    Returns:
        Power, `[P, L]`; with exact covariance of one scatterer of power p in noise sigma^2 the peak is
        p + sigma^2 / N.

    Raises:
        ConfigurationError: If the covariance does not fit, or stays singular.
    """
    _check(grid, covariance.shape[1])
    n = covariance.shape[1]
    level = np.trace(covariance, axis1=1, axis2=2).real / n
    loaded = covariance + loading * level[:, None, None] * np.eye(n)
    try:
        whitened = np.linalg.solve(loaded, np.broadcast_to(grid.dictionary, (len(loaded), *grid.dictionary.shape)))
    except np.linalg.LinAlgError as error:
        raise ConfigurationError("A covariance matrix is singular; use more looks or a positive loading.") from error
    return np.asarray(1.0 / np.sum(grid.dictionary.conj() * whitened, axis=1).real)


def svd_wiener(
    grid: SearchGrid,
    data: NDArray[np.complex128],
    *,
    noise_variance: ArrayLike,
    signal_variance: ArrayLike | None = None,
) -> NDArray[np.complex128]:
    """Return the linear maximum a posteriori profile for white noise and a white prior.

    Zhu & Bamler, IEEE TGRS 48(12), 2010: gamma = sum_i s_i / (s_i^2 + mu) (u_i^H g) v_i with the singular
    system of the dictionary and mu = noise over prior variance of one atom.

    Args:
        grid: Where to look.
        data: `[P, N]` or `[P, N, M]`.
        noise_variance: sigma^2 of one sample, one number or `[P]`.
        signal_variance: Prior variance of one atom; None: mean power above the noise, spread over all atoms.

    Returns:
        Reflectivity per atom, `[P, L(, M)]`.
    """
    _check(grid, data.shape[1])
    stack = data[:, :, None] if data.ndim == 2 else data
    left, values, right = np.linalg.svd(grid.dictionary, full_matrices=False)
    noise = np.broadcast_to(np.asarray(noise_variance, np.float64), stack.shape[:1])
    if signal_variance is None:
        power = np.mean(np.abs(stack) ** 2, axis=(1, 2)) - noise
        prior = np.maximum(power, 0.01 * noise) / grid.size
    else:
        prior = np.broadcast_to(np.asarray(signal_variance, np.float64), stack.shape[:1])
    weight = values / (values**2 + (noise / prior)[:, None])
    coefficients = weight[:, :, None] * np.einsum("nr,pnm->prm", left.conj(), stack, optimize=True)
    profile = np.einsum("rl,prm->plm", right.conj(), coefficients, optimize=True)
    return np.asarray(profile[:, :, 0] if data.ndim == 2 else profile)


def music(grid: SearchGrid, covariance: NDArray[np.complex128], scatterers: int) -> NDArray[np.float64]:
    """Return the MUSIC pseudo-spectrum N / |E_noise^H a|^2 (Schmidt, IEEE TAP 34(3), 1986).

    Args:
        grid: Where to look.
        covariance: `[P, N, N]`.
        scatterers: Dimension of the signal subspace, below N.

    Returns:
        Pseudo-spectrum (not a power), at least 1, `[P, L]`.

    Raises:
        ConfigurationError: If the covariance does not fit or `scatterers` is not between 1 and N - 1.
    """
    _check(grid, covariance.shape[1])
    n = covariance.shape[1]
    if not 1 <= scatterers < n:
        raise ConfigurationError(f"MUSIC finds 1 to {n - 1} scatterers in {n} acquisitions, not {scatterers}.")
    _, vectors = np.linalg.eigh(covariance)
    noise = vectors[:, :, : n - scatterers]
    distance = np.sum(np.abs(noise.conj().transpose(0, 2, 1) @ grid.dictionary) ** 2, axis=1)
    return np.asarray(n / np.maximum(distance, 1e-12 * n))


def profile_candidates(grid: SearchGrid, power: NDArray[np.float64], places: int) -> NDArray[np.int64]:
    """Return the local maxima of profiles, strongest first.

    Args:
        grid: The grid of the profiles.
        power: `[P, L]`.
        places: Most maxima a pixel.

    Returns:
        Atoms `[P, places]`, -1 in unused places. A maximum is not lower than its neighbours along each axis.
    """
    cube = power.reshape(-1, *grid.shape)
    peak = np.ones(cube.shape, np.bool_)
    for axis in range(1, cube.ndim):
        if cube.shape[axis] < 2:
            continue
        low = [slice(None)] * cube.ndim
        high = list(low)
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        rises = cube[tuple(high)] - cube[tuple(low)]
        peak[tuple(high)] &= rises > 0  # strictly above the lower neighbour, so that a plateau gives one maximum
        peak[tuple(low)] &= rises <= 0
    flat = np.where(peak.reshape(power.shape), power, -1.0)
    places = min(places, power.shape[1])
    order = np.argsort(-flat, axis=1, kind="stable")[:, :places]
    return np.ascontiguousarray(np.where(np.take_along_axis(flat, order, 1) > 0, order, -1).astype(np.int64))


def _check(grid: SearchGrid, acquisitions: int) -> None:
    if acquisitions != grid.geometry.count:
        raise ConfigurationError(f"Data of {acquisitions} acquisitions do not fit a stack of {grid.geometry.count}.")
