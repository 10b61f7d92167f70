"""Cramer-Rao bounds and super-resolution: how well elevation can be known, whatever the estimator.

`cramer_rao` inverts the Fisher information of any number of scatterers with motion; the two closed forms
are special cases kept for planning and as checks of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.geometry import StackGeometry
from ecumene.physics.tomography.grid import steering


def cramer_rao(
    geometry: StackGeometry, parameters: ArrayLike, amplitude: ArrayLike, noise_variance: ArrayLike
) -> NDArray[np.float64]:
    """Return the Cramer-Rao bound of the parameters, amplitudes being unknown.

    For g = A(theta) x + CN(0, sigma^2) the amplitudes are projected out of the Fisher information:
    F = 2 / sigma^2 Re[(P V)^H (P V) o (conj(x) x^T)], V the derivatives of the steering vectors and P the
    projector away from A (Stoica & Nehorai, IEEE TASSP 37(5), 1989, deterministic bound).

    Args:
        geometry: The stack.
        parameters: True parameters, `[..., K, D]`.
        amplitude: True complex amplitudes, `[..., K]`, or `[..., K, M]` for M snapshots (give `parameters`
            with as many leading axes as needed to tell them apart).
        noise_variance: sigma^2 of one complex sample, `[...]`.

    Returns:
        Standard deviations, `[..., K, D]`; inf where scatterers coincide.

    Raises:
        ConfigurationError: If shapes do not fit.
    """
    theta = np.asarray(parameters, np.float64)
    x = np.asarray(amplitude, np.complex128)
    if theta.ndim < 2 or theta.shape[-1] != len(geometry.parameter_names):
        raise ConfigurationError(
            f"Parameters must have the axes scatterer x {', '.join(geometry.parameter_names)}, not {theta.shape}."
        )
    x = x[..., None] if x.ndim == theta.ndim - 1 else x
    if x.shape[:-1] != theta.shape[:-1]:
        raise ConfigurationError(f"Amplitudes of shape {x.shape} do not fit parameters of shape {theta.shape}.")
    scatterers, dims = theta.shape[-2:]
    unit = geometry.resolution()
    atoms = np.moveaxis(steering(geometry, theta), 0, -2)  # [..., N, K]
    slopes = 1j * atoms[..., :, :, None] * (geometry.phase_rates * unit)[:, None, :]
    slopes = slopes.reshape(*atoms.shape[:-1], scatterers * dims)
    # An orthonormal basis is used, not (A^H A)^-1: close scatterers would square the condition.
    basis, triangle = np.linalg.qr(atoms)
    slopes = slopes - basis @ (basis.conj().swapaxes(-1, -2) @ slopes)
    power = np.repeat(np.repeat(x.conj() @ x.swapaxes(-1, -2), dims, axis=-2), dims, axis=-1)
    noise = np.asarray(noise_variance, np.float64)[..., None, None]
    fisher = 2.0 / noise * np.real((slopes.conj().swapaxes(-1, -2) @ slopes) * power)
    diagonal = np.abs(np.diagonal(triangle, axis1=-2, axis2=-1))
    merged = (diagonal.min(axis=-1) < 1e-7 * diagonal.max(axis=-1)) | ~(np.linalg.det(fisher) > 0)
    safe = np.where(merged[..., None, None], np.eye(scatterers * dims), fisher)
    variance = np.diagonal(np.linalg.inv(safe), axis1=-2, axis2=-1)
    deviation = np.where(merged[..., None], np.inf, np.sqrt(np.maximum(variance, 0.0)))
    return np.asarray(deviation.reshape(theta.shape) * unit)


def single_scatterer_bound(geometry: StackGeometry, snr: ArrayLike) -> NDArray[np.float64]:
    """Return the bound of one scatterer's elevation without motion, metres.

    sigma_s = wavelength * range / (2 pi passes sqrt(N) sqrt(2 SNR) sigma_b), with the standard deviation
    sigma_b of the baselines (divisor N): for a repeat pass the formula of Zhu & Bamler, IEEE TGRS 48(12), 2010.

    Args:
        geometry: The stack; its motion models are left out of account.
        snr: Signal-to-noise ratio of one sample, linear.
    """
    ratio = np.asarray(snr, np.float64)
    spread = float(np.std(geometry.baselines_m))
    scale = geometry.wavelength_m * geometry.slant_range_m / (2.0 * np.pi * geometry.passes * spread)
    return np.asarray(scale / np.sqrt(2.0 * geometry.count * ratio))


def interference_factor(separation: ArrayLike, phase_difference: ArrayLike) -> NDArray[np.float64]:
    """Return how much a second scatterer of the same power widens the bound of the first (c0, at least 1).

    The closed form of Zhu & Bamler, IEEE TGRS 50(1), 2012, for baselines spread evenly:

        c0 = max{ sqrt( 40 a^-2 (1 - a/3) / (9 - 6 (3 - 2 a) cos(2 dphi) + (3 - 2 a)^2) ), 1 }

    It holds below about one Rayleigh unit; beyond, it is 1. `cramer_rao` is exact for any stack.

    Args:
        separation: a, distance in Rayleigh units, positive.
        phase_difference: dphi, phase difference of the scatterers at the mean baseline, radians.
    """
    a = np.asarray(separation, np.float64)
    phase = np.asarray(phase_difference, np.float64)
    rest = 3.0 - 2.0 * a
    denominator = np.maximum(9.0 - 6.0 * rest * np.cos(2.0 * phase) + rest**2, 1e-300)
    inner = 40.0 / a**2 * (1.0 - a / 3.0) / denominator
    return np.asarray(np.where(a < 1.5, np.sqrt(np.maximum(inner, 1.0)), 1.0))


def super_resolution_factor(separation: ArrayLike, detection: ArrayLike, level: float = 0.5) -> float:
    """Return one Rayleigh unit over the distance at which two scatterers are detected at a given rate.

    Args:
        separation: Distances in Rayleigh units, ascending.
        detection: Measured detection rates at these distances.
        level: The rate that counts as success; 0.5 in Zhu & Bamler, IEEE TGRS 50(1), 2012.

    Returns:
        The factor, by linear interpolation of the first crossing; the reciprocal of the smallest distance
        where even that is detected (a lower bound), and nan where none is.

    Raises:
        ConfigurationError: If the two lists differ in length or distances do not ascend.
    """
    distance, rate = np.asarray(separation, np.float64), np.asarray(detection, np.float64)
    if distance.shape != rate.shape or distance.ndim != 1 or not (np.diff(distance) > 0).all():
        raise ConfigurationError("Distances must ascend and have one detection rate each.")
    reached = np.flatnonzero(rate >= level)
    if reached.size == 0:
        return float("nan")
    i = int(reached[0])
    if i == 0:
        return float(1.0 / distance[0])
    share = (level - rate[i - 1]) / (rate[i] - rate[i - 1])
    return float(1.0 / (distance[i - 1] + share * (distance[i] - distance[i - 1])))
