"""Thresholds of a magnitude without labels: two means, Otsu, Kittler-Illingworth in several families, noise limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from ecumene.change.contract import Threshold
from ecumene.change.histogram import MagnitudeHistogram
from ecumene.core.errors import ConfigurationError, SceneError

Numbers = NDArray[np.float64]

_LEAST_SHARE = 1e-4  # Kittler-Illingworth looks for classes at least this large


def find_threshold(histogram: MagnitudeHistogram, rule: str) -> Threshold:
    """Find where "changed" begins.

    Args:
        histogram: Of the magnitudes of all valid pixels.
        rule: One of `RULES`.

    Raises:
        ConfigurationError: If there is no such rule.
        SceneError: If all magnitudes are the same.
    """
    if rule not in RULES:
        raise ConfigurationError(f"There is no threshold rule {rule!r}; choose one of {', '.join(RULES)}.")
    if np.count_nonzero(histogram.counts) < 2:
        raise SceneError("The magnitude of change is the same in all pixels; are both dates the same image?")
    value, details = RULES[rule](histogram)
    return Threshold(float(value), rule, details)


def two_means(histogram: MagnitudeHistogram) -> tuple[float, dict[str, float]]:
    """Return the middle between the two means of k-means (k = 2), begun at the extremes.

    Args:
        histogram: Of the magnitudes.
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    used = np.flatnonzero(counts)
    number, total = np.cumsum(counts), np.cumsum(counts * centres)
    middle = (centres[used[0]] + centres[used[-1]]) / 2.0
    low = high = middle
    for _ in range(1000):
        below = int(np.clip(np.searchsorted(centres, middle, side="right") - 1, used[0], used[-1] - 1))
        low = total[below] / number[below]
        high = (total[-1] - total[below]) / (number[-1] - number[below])
        if (low + high) / 2.0 == middle:
            break
        middle = (low + high) / 2.0
    return middle, {"low_mean": float(low), "high_mean": float(high)}


def otsu(histogram: MagnitudeHistogram) -> tuple[float, dict[str, float]]:
    """Return the threshold of largest variance between classes (Otsu 1979, doi 10.1109/TSMC.1979.4310076).

    Args:
        histogram: Of the magnitudes.
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    number, total = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    rest = counts.sum() - number
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (total[:-1] / number - (total[-1] - total[:-1]) / rest) ** 2 * number * rest
    best = _plateau(np.where((number > 0) & (rest > 0), apart, -np.inf))
    return (best + 1.0) * histogram.width, {"between_variance": float(np.nanmax(apart) / counts.sum() ** 2)}


def noise_limited(histogram: MagnitudeHistogram) -> tuple[float, dict[str, float]]:
    """Return the middle of the two means, but not less than what noise reaches once in the whole image.

    The magnitude is taken as the absolute value of a Gaussian where nothing changed, its deviation as 1.4826 times
    the median (more than half of the pixels must be unchanged); the limit is exceeded by one pixel in N.

    Args:
        histogram: Of the magnitudes.
    """
    middle, details = two_means(histogram)
    deviation = 1.4826 * histogram.quantile(0.5)
    limit = float(stats.norm.isf(0.5 / max(histogram.total, 2))) * deviation
    return max(middle, limit), {**details, "noise_deviation": deviation, "noise_limit": limit}


def kittler_illingworth(
    histogram: MagnitudeHistogram, family: Callable[[Numbers, Numbers, Numbers, Numbers], Numbers], logarithms: bool
) -> tuple[float, dict[str, float]]:
    """Return the threshold of least classification error (Kittler and Illingworth 1986).

    The criterion is the negative log likelihood of a mixture whose classes are cut at the threshold:
    `sum_i -P_i (E_i ln p_i + ln P_i)`, each class fitted by its moments (Moser and Serpico 2006, doi
    10.1109/TGRS.2006.876288, for the families of SAR amplitude ratios).

    Args:
        histogram: Of the magnitudes.
        family: Gives the mean log likelihood of classes from mean and central moments (2nd, 3rd) of x or ln x, and
            the mean of ln x.
        logarithms: Whether the moments are those of ln x.
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    keep = counts > 0
    counts, centres = counts[keep] / counts.sum(), centres[keep]
    x = np.log(centres) if logarithms else centres
    sums = [np.cumsum(counts * term) for term in (np.ones_like(x), x, x**2, x**3, np.log(centres))]
    criterion = np.zeros(counts.size - 1)
    for side in (False, True):
        share, first, second, third, logs = ((total[-1] - total[:-1]) if side else total[:-1] for total in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = first / share
            variance = second / share - mean**2
            skew = third / share - 3.0 * mean * second / share + 2.0 * mean**3
            likelihood = family(mean, np.maximum(variance, 1e-12), skew, logs / share)
            criterion -= share * (likelihood + np.log(share))
        criterion[(share < _LEAST_SHARE) | (variance <= 1e-12)] = np.inf
    if not np.isfinite(criterion).any():
        raise SceneError("The magnitudes of change take too few values for this threshold; choose kmeans.")
    best = int(np.nanargmin(criterion))
    return float((centres[best] + centres[best + 1]) / 2.0), {"criterion": float(criterion[best])}


def _normal(mean: Numbers, variance: Numbers, skew: Numbers, logs: Numbers) -> Numbers:
    return np.asarray(-0.5 * np.log(2.0 * np.pi * variance) - 0.5)


def _lognormal(mean: Numbers, variance: Numbers, skew: Numbers, logs: Numbers) -> Numbers:
    return np.asarray(-0.5 * np.log(2.0 * np.pi * variance) - 0.5 - logs)


def _nakagami(mean: Numbers, variance: Numbers, skew: Numbers, logs: Numbers) -> Numbers:
    # ln x^2 of a Nakagami law has variance psi'(m) and mean ln(w / m) + psi(m): log-cumulants.
    return _generalised(logs, np.full_like(logs, 2.0), _trigamma_inverse(4.0 * variance))


def _generalised_gamma(mean: Numbers, variance: Numbers, skew: Numbers, logs: Numbers) -> Numbers:
    # Log-cumulants: k2 = psi'(m) / p^2, k3 = psi''(m) / p^3; their ratio gives the shape, k2 the power.
    shapes = np.logspace(3, -2, 400)
    ratio = special.polygamma(2, shapes) ** 2 / special.polygamma(1, shapes) ** 3
    wanted = np.clip(skew**2 / variance**3, ratio[0], ratio[-1])
    shape = np.exp(np.interp(wanted, ratio, np.log(shapes)))
    power = np.sqrt(special.polygamma(1, shape) / variance) * np.where(skew > 0, -1.0, 1.0)
    return _generalised(logs, power, shape)


def _generalised(logs: Numbers, power: Numbers, shape: Numbers) -> Numbers:
    """Return the mean log likelihood of x whose y = x^power is gamma with `shape`, the scale from the mean of ln x.

    ln p(x) = ln|power| + (shape power - 1) ln x - shape ln s - ln Gamma(shape) - y / s; at the fit E[y] / s = shape.
    """
    scale = power * logs - special.digamma(shape)
    return np.asarray(
        np.log(np.abs(power)) + (shape * power - 1.0) * logs - shape * scale - special.gammaln(shape) - shape
    )


def _trigamma_inverse(values: Numbers) -> Numbers:
    shapes = np.logspace(4, -3, 700)
    trigamma = special.polygamma(1, shapes)
    return np.asarray(np.exp(np.interp(np.log(values), np.log(trigamma), np.log(shapes))))


def _plateau(values: Numbers) -> float:
    """Return the middle of the indices that share the largest value."""
    return float(np.flatnonzero(values >= np.nanmax(values) * (1.0 - 1e-12)).mean())


RULES: dict[str, Callable[[MagnitudeHistogram], tuple[float, dict[str, float]]]] = {
    "kmeans": two_means,
    "otsu": otsu,
    "noise-limited": noise_limited,
    "ki-normal": lambda histogram: kittler_illingworth(histogram, _normal, False),
    "ki-lognormal": lambda histogram: kittler_illingworth(histogram, _lognormal, True),
    "ki-nakagami": lambda histogram: kittler_illingworth(histogram, _nakagami, True),
    "ki-generalised-gamma": lambda histogram: kittler_illingworth(histogram, _generalised_gamma, True),
}
"""Threshold rules by name."""
