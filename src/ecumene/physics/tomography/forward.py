"""The forward model: what a stack measures of given scatterers, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.physics.tomography.geometry import StackGeometry
from ecumene.physics.tomography.grid import steering


def simulate_stack(
    geometry: StackGeometry,
    parameters: ArrayLike,
    amplitude: ArrayLike,
    noise_variance: ArrayLike,
    generator: np.random.Generator,
) -> NDArray[np.complex128]:
    """Return samples g = A(theta) x + circular Gaussian noise.

    Args:
        geometry: The stack.
        parameters: `[P, K, D]`, elevation (m) first, then motion in its units.
        amplitude: Complex, `[P, K]`, or `[P, K, M]` for M snapshots.
        noise_variance: sigma^2 of one complex sample, one number or `[P]`.
        generator: Source of the noise.

    Returns:
        `[P, N]`, or `[P, N, M]`.
    """
    theta = np.asarray(parameters, np.float64)
    x = np.asarray(amplitude, np.complex128)
    snapshots = x[..., None] if x.ndim == 2 else x
    clean = np.einsum("npk,pkm->pnm", steering(geometry, theta), snapshots, optimize=True)
    deviation = np.sqrt(np.broadcast_to(np.asarray(noise_variance, np.float64), theta.shape[:1]) / 2.0)
    noise = generator.standard_normal((*clean.shape, 2)) @ np.array([1.0, 1j])
    noisy = clean + deviation[:, None, None] * noise
    return np.asarray(noisy[:, :, 0] if x.ndim == 2 else noisy)
