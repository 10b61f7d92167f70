"""Entropy, anisotropy and mean alpha angle of coherency matrices, with standard deviations from Wishart statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.physics.polarimetry.matrices import usable_matrices
from ecumene.physics.speckle.checks import check_looks

INVALID = 1
"""Not finite, not Hermitian, or not positive semidefinite."""
FEW_LOOKS = 2
"""Fewer looks than 4 d: eigenvalues are biased apart, entropy too low (Lopez-Martinez et al. 2005)."""
DEGENERATE = 4
"""Two eigenvalues are closer than their joint standard deviation: alpha's error bar is a lower bound."""

_FLOOR = 1e-12
_LOWEST_NEAR_NOISE_DEG = 53.85


@dataclass(frozen=True)
class Polarimetry:
    """Cloude-Pottier parameters of pixels of any leading shape S.

    Attributes:
        entropy: 0 (one mechanism) to 1 (noise), S.
        anisotropy: (l2 - l3) / (l2 + l3), 0 to 1, S; for 2 x 2 matrices (l1 - l2) / (l1 + l2).
        alpha_deg: Mean alpha angle, 0 to 90 degrees, S.
        span: Total power (trace), S.
        eigenvalues: Descending, `S + [d]`.
        entropy_deviation: Standard deviation of `entropy`; so the others.
        anisotropy_deviation: See above.
        alpha_deviation_deg: See above.
        span_deviation: See above.
        flags: Bits of this module, S.
    """

    entropy: NDArray[np.float64]
    anisotropy: NDArray[np.float64]
    alpha_deg: NDArray[np.float64]
    span: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    entropy_deviation: NDArray[np.float64]
    anisotropy_deviation: NDArray[np.float64]
    alpha_deviation_deg: NDArray[np.float64]
    span_deviation: NDArray[np.float64]
    flags: NDArray[np.uint8]


def h_a_alpha(coherency: NDArray[Any], looks: float) -> Polarimetry:
    """Decompose coherency matrices into entropy, anisotropy and mean alpha.

    Cloude and Pottier (1997, doi 10.1109/36.551935): with eigenvalues l_i, pseudo-probabilities p_i = l_i / sum l and
    eigenvectors e_i, H = -sum p_i log_d p_i, A = (l2 - l3)/(l2 + l3), alpha = sum p_i arccos |e_i1|.
    For 2 x 2 (dual-pol) matrices of two Pauli or two lexicographic channels the same formulas hold with d = 2.

    Error bars are ours: first order in dT = T - E T, whose elements in the eigenbasis are uncorrelated with
    variances l_i l_j / L for Wishart matrices (Anderson 1963, doi 10.1214/aoms/1177704248, for eigenvalues; the
    eigenvector part by first-order perturbation).

    Args:
        coherency: `[..., d, d]`, d = 2 or 3, Pauli basis for d = 3.
        looks: Equivalent number of looks of the matrices (averaging included).

    Raises:
        ConfigurationError: If looks is not positive.
        SceneError: If the shape is wrong or no matrix is usable.
    """
    looks = check_looks(looks)
    matrix = np.asarray(coherency, np.complex128)
    usable = usable_matrices(matrix)
    if not usable.any():
        raise SceneError("No matrix is finite, Hermitian and positive semidefinite; check the order of its channels.")
    size = matrix.shape[-1]
    clean = np.where(usable[..., None, None], matrix, np.eye(size))
    values, vectors = np.linalg.eigh(0.5 * (clean + clean.conj().swapaxes(-1, -2)))
    values, vectors = values[..., ::-1], vectors[..., ::-1]
    span = np.trace(clean, axis1=-2, axis2=-1).real
    values = np.maximum(values, _FLOOR * span[..., None])
    share = values / values.sum(axis=-1, keepdims=True)
    first = np.clip(np.abs(vectors[..., 0, :]), 0.0, 1.0)
    angles = np.arccos(first)
    entropy = -(share * np.log(share)).sum(axis=-1) / np.log(size)
    alpha = (share * angles).sum(axis=-1)
    large, small = values[..., -2], values[..., -1]
    anisotropy = (large - small) / (large + small)
    deviations = _deviations(values, vectors, share, angles, entropy, alpha, looks)
    gaps = values[..., :-1] - values[..., 1:]
    joint = np.sqrt((values[..., :-1] ** 2 + values[..., 1:] ** 2) / looks)
    flags = np.where((gaps < joint).any(axis=-1), DEGENERATE, 0).astype(np.uint8)
    flags |= np.uint8(FEW_LOOKS if looks < 4 * size else 0)
    flags = np.where(usable, flags, INVALID).astype(np.uint8)
    power = np.sqrt((values**2).sum(axis=-1) / looks)
    fields = [
        entropy,
        anisotropy,
        np.degrees(alpha),
        span,
        deviations[0],
        deviations[1],
        np.degrees(deviations[2]),
        power,
    ]
    h, a, angle, total, dh, da, dangle, dspan = (np.where(usable, field, np.nan) for field in fields)
    kept = np.where(usable[..., None], values, np.nan)
    return Polarimetry(h, a, angle, total, kept, dh, da, dangle, dspan, flags)


def _deviations(
    values: NDArray[np.float64],
    vectors: NDArray[np.complex128],
    share: NDArray[np.float64],
    angles: NDArray[np.float64],
    entropy: NDArray[np.float64],
    alpha: NDArray[np.float64],
    looks: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return first-order standard deviations of entropy, anisotropy and alpha (radians)."""
    size = values.shape[-1]
    total = values.sum(axis=-1, keepdims=True)
    # dH/dl_k = -(log_d p_k + H) / sum l
    slope = -(np.log(share) / np.log(size) + entropy[..., None]) / total
    of_entropy = np.sqrt(((slope * values) ** 2).sum(axis=-1) / looks)
    large, small = values[..., -2], values[..., -1]
    of_anisotropy = 2.0 * large * small / (large + small) ** 2 * np.sqrt(2.0 / looks)
    variance = (((angles - alpha[..., None]) / total * values) ** 2).sum(axis=-1) / looks
    top = vectors[..., 0, :]
    modulus = np.maximum(np.abs(top), 1e-9)
    sine = np.maximum(np.sin(angles), 1e-9)
    for i in range(size):
        for j in range(i + 1, size):
            gap = np.maximum(values[..., i] - values[..., j], 1e-9 * total[..., 0])
            # d alpha_k = -Re(conj(e_k1) de_k1) / (|e_k1| sin alpha_k); de_k = sum_m e_m (e_m^H dT e_k) / (l_k - l_m)
            to_j = share[..., j] * top[..., j].conj() * top[..., i] / (modulus[..., j] * sine[..., j])
            to_i = share[..., i] * top[..., i] * top[..., j].conj() / (modulus[..., i] * sine[..., i])
            pull = np.abs(to_j - to_i) / gap
            variance += pull**2 * values[..., i] * values[..., j] / (2.0 * looks)
    # An angle cannot scatter more than over its whole range.
    return of_entropy, of_anisotropy, np.minimum(np.sqrt(variance), np.pi / 4.0)


def zones(entropy: NDArray[np.float64], alpha_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the H/alpha zone 1..9 of pixels (0 where not finite).

    Zones of Cloude and Pottier (1997), figure 4: entropy breaks 0.5 and 0.9; alpha breaks 42.5 and 47.5 degrees at
    low, 40 and 50 at medium, 40 and 55 at high entropy. 1: high-entropy multiple scattering, 2: high-entropy
    vegetation, 3: high-entropy surface (not feasible), 4: medium multiple, 5: medium vegetation, 6: medium surface,
    7: low multiple (dihedral), 8: low dipole, 9: low surface.
    """
    finite = np.isfinite(entropy) & np.isfinite(alpha_deg)
    level = np.digitize(np.where(finite, entropy, 0.0), (0.5, 0.9))  # 0 low, 1 medium, 2 high
    lower = np.choose(level, (42.5, 40.0, 40.0))
    upper = np.choose(level, (47.5, 50.0, 55.0))
    angle = np.where(finite, alpha_deg, 0.0)
    row = np.where(angle > upper, 0, np.where(angle > lower, 1, 2))
    return np.where(finite, (2 - level) * 3 + row + 1, 0).astype(np.int64)


def feasible_alpha_deg(entropy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest mean alpha (degrees) that an entropy of a 3 x 3 coherency matrix allows.

    The boundary curves of Cloude and Pottier (1997), section V: for eigenvalues (1, m, m), 0 <= m <= 1, alpha is
    at least 180 m / (1 + 2 m) degrees; the upper curve has eigenvalues (0, 1, 2 m) for m < 1/2, where alpha is 90
    degrees, then (2 m - 1, 1, 1) with the smallest one's angle 0 and the others' 90 degrees.
    They are sharp below an entropy of 0.988. Above it, eigenvectors that share the first component equally reach lower
    (arccos(1/sqrt 3) at entropy 1), which the azimuthally symmetric curve leaves out; there the lower bound is cut at
    53.85 degrees, the smallest value that a numerical search over eigenvalues and eigenvectors finds.
    """
    steps = np.linspace(0.0, 1.0, 4001)

    def entropy_of(eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
        share = np.maximum(eigenvalues, 1e-300) / eigenvalues.sum(axis=0)
        return np.asarray(-(share * np.log(share)).sum(axis=0) / np.log(3.0))

    low_h = entropy_of(np.stack([np.ones_like(steps), steps, steps]))
    low = 180.0 * steps / (1.0 + 2.0 * steps)
    dark = np.where(steps < 0.5, 0.0, 2.0 * steps - 1.0)
    second = np.where(steps < 0.5, 2.0 * steps, 1.0)
    high_h = entropy_of(np.stack([dark, np.ones_like(steps), second]))
    high = 90.0 * (1.0 + second) / (dark + 1.0 + second)
    clipped = np.clip(entropy, 0.0, 1.0)
    lowest = np.minimum(np.interp(clipped, low_h, low), _LOWEST_NEAR_NOISE_DEG)
    return lowest, np.interp(clipped, high_h, high)
