"""How the phase and the coherence of averaged interferograms scatter.

For circular Gaussian images of coherence magnitude `g` averaged over `L` independent looks:

- density of the phase: Lee, Hoppel, Mango and Miller, "Intensity and phase statistics of multilook
  polarimetric and interferometric SAR imagery", IEEE TGRS 32(5), 1994, eq. 11 (also Bamler and Hartl 1998,
  eq. 51); the standard deviation here is its second central moment over one cycle, by quadrature;
- Cramer-Rao bound of the phase, `sqrt((1 - g^2) / (2 L g^2))`: Rodriguez and Martin, "Theory and design of
  interferometric synthetic aperture radars", IEE Proc. F 139(2), 1992, eq. 11; what many tools state as
  the error, optimistic at low coherence and few looks;
- expected value of the sample coherence: Touzi, Lopes, Bruniquel and Vachon, "Coherence estimation for SAR
  imagery", IEEE TGRS 37(1), 1999, eq. 18; its inverse removes the bias.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.interpolate import CubicSpline

from ecumene.physics.interferometry.checks import positive_looks

_NODES = 256  # coherences of the table, evenly in arcsin
_QUADRATURE = 512  # phases of the quadrature over half a cycle, dense where the density peaks
_MOST_LOOKS = 100.0  # beyond, the hypergeometric series of scipy overflows
_SERIES = 1025  # nodes of the hypergeometric function, even in arcsin, in which it is analytic


def phase_density(phase: ArrayLike, coherence: float, looks: float) -> NDArray[np.float64]:
    """Return the probability density of the interferometric phase about its mean, per radian.

    Args:
        phase: Deviations from the mean phase, radians, -pi..pi.
        coherence: Coherence magnitude, 0 <= coherence < 1.
        looks: Independent looks, at least 1.
    """
    coherence, count = _fewer_looks(coherence, positive_looks(looks))
    beta = coherence * np.cos(np.asarray(phase, np.float64))
    rest = 1.0 - beta**2
    # Everything times ((1 - g^2) / (1 - beta^2))^L, which stays in 0..1 where the separate factors do not.
    ratio = np.exp(count * (np.log1p(-(coherence**2)) - np.log(rest)))
    gamma = np.exp(special.gammaln(count + 0.5) - special.gammaln(count))
    peak = gamma * beta / (2.0 * np.sqrt(np.pi) * np.sqrt(rest))
    floor = _hypergeometric(count)(np.arcsin(np.abs(beta))) / (2.0 * np.pi * np.sqrt(rest))
    return np.asarray(np.maximum(ratio * (peak + floor), 0.0))


def _fewer_looks(coherence: Any, looks: float) -> tuple[Any, float]:
    """Coherence at 100 looks with the Cramer-Rao bound of more looks, on which the density depends by then to 0.5 %."""
    if looks <= _MOST_LOOKS:
        return coherence, looks
    squared = np.square(np.clip(np.asarray(coherence, np.float64), 0.0, 1.0)) * (looks / _MOST_LOOKS)
    return np.sqrt(squared / (squared + 1.0 - squared * (_MOST_LOOKS / looks))), _MOST_LOOKS


@lru_cache(maxsize=32)
def _hypergeometric(looks: float) -> CubicSpline:
    """2F1(L, 1; 1/2; sin^2 t) cos(t)^(2 L + 1), which is 2F1(1/2 - L, -1/2; 1/2; sin^2 t) by Euler's transformation."""
    t = np.linspace(0.0, 0.5 * np.pi, _SERIES)
    return CubicSpline(t, special.hyp2f1(0.5 - looks, -0.5, 0.5, np.sin(t) ** 2))


@lru_cache(maxsize=32)
def _deviation_table(looks: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard deviations at coherences that lie evenly in arcsin, where they are smooth."""
    nodes = np.sin(np.linspace(0.0, 0.5 * np.pi, _NODES))
    x, weight = np.polynomial.legendre.leggauss(_QUADRATURE)
    x = 0.5 * (x + 1.0)
    phase, weight = np.pi * x**4, 4.0 * np.pi * x**3 * weight  # half a cycle, crowded around zero
    deviations = np.zeros(_NODES)  # without noise at a coherence of one
    for k, coherence in enumerate(nodes[:-1]):
        density = phase_density(phase, float(coherence), looks)
        deviations[k] = np.sqrt(np.sum(weight * density * phase**2) / np.sum(weight * density))
    return nodes, deviations


def phase_deviation(coherence: ArrayLike, looks: float) -> NDArray[np.float64]:
    """Return the standard deviation of the interferometric phase, radians.

    The second moment of the exact density: pi / sqrt(3) without coherence, the Cramer-Rao bound for many looks.

    Args:
        coherence: Coherence magnitude, 0..1; NaN stays NaN.
        looks: Independent looks, at least 1 (may be a fraction).
    """
    coherence, count = _fewer_looks(coherence, positive_looks(looks))
    magnitude = np.asarray(coherence, np.float64)
    _, table = _deviation_table(count)
    angle = np.arcsin(np.clip(magnitude, 0.0, 1.0)) / (0.5 * np.pi) * (_NODES - 1)
    return np.asarray(np.interp(angle, np.arange(_NODES), table))


def phase_deviation_bound(coherence: ArrayLike, looks: float) -> NDArray[np.float64]:
    """Return the Cramer-Rao bound of the phase's standard deviation, radians; infinite without coherence."""
    count = positive_looks(looks)
    magnitude = np.asarray(coherence, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(np.maximum(1.0 - magnitude**2, 0.0) / (2.0 * count)) / magnitude)


def expected_coherence(coherence: ArrayLike, looks: float) -> NDArray[np.float64]:
    """Return the mean of the sample coherence magnitude for a true coherence.

    Args:
        coherence: True coherence, 0..1.
        looks: Independent looks that were averaged, at least 1.
    """
    count = positive_looks(looks)
    magnitude = np.clip(np.asarray(coherence, np.float64), 0.0, 1.0)
    flat = np.atleast_1d(magnitude).ravel()
    squared = flat**2
    # Gamma(L) Gamma(3/2) / Gamma(L + 1/2) 3F2(3/2, L, L; L + 1/2, 1; g^2) (1 - g^2)^L, as a mixture over k:
    # (1 - g^2)^L (L)_k g^(2k) / k! is a negative binomial distribution, so that the sum is one of probabilities.
    with np.errstate(divide="ignore", over="ignore"):
        spread = count * squared / np.maximum(1.0 - squared, 1e-12)
    result = np.ones_like(flat)
    usable = squared < 1.0 - 1e-6
    terms = (
        int(np.ceil(np.max(spread[usable] + 12.0 * np.sqrt(spread[usable] / (1.0 - squared[usable])), initial=0))) + 40
    )
    terms = min(terms, 200_000)
    k = np.arange(terms, dtype=np.float64)
    value = np.exp(
        special.gammaln(k + 1.5)
        - special.gammaln(k + 1.0)
        + special.gammaln(count + k)
        - special.gammaln(count + k + 0.5)
    )
    normal = special.gammaln(count + k) - special.gammaln(count) - special.gammaln(k + 1.0)
    for index in np.flatnonzero(usable):
        if squared[index] == 0.0:
            result[index] = value[0]
            continue
        weight = np.exp(normal + k * np.log(squared[index]) + count * np.log1p(-squared[index]))
        result[index] = float(np.sum(weight * value))
    return np.asarray(result.reshape(magnitude.shape))


@lru_cache(maxsize=32)
def _bias_table(looks: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true = np.sin(np.linspace(0.0, 0.5 * np.pi, 129)[:-1])
    return np.append(true, 1.0), np.append(expected_coherence(true, looks), 1.0)


def unbiased_coherence(sample: ArrayLike, looks: float) -> NDArray[np.float64]:
    """Return the coherence whose expected sample magnitude is the one seen; 0 where noise alone explains it.

    Args:
        sample: Sample coherence magnitude, 0..1; NaN stays NaN.
        looks: Independent looks that were averaged.
    """
    true, expected = _bias_table(positive_looks(looks))
    seen = np.asarray(sample, np.float64)
    return np.asarray(np.interp(seen, expected, true))
