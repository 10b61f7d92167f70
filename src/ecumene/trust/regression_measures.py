"""How honest predicted numbers with error bars are: variance calibration, intervals, densities, sparsification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.trust.block_coverage import BlockCoverage, block_shares, error_over_blocks
from ecumene.trust.measures import risk_coverage_curve

Floats = NDArray[np.floating]
Array = NDArray[np.float64]

FEWEST_IN_A_BLOCK = 5
"""Elements from which on a block's own coverage says anything."""


@dataclass(frozen=True)
class VarianceDiagram:
    """Predicted against observed error in bins.

    Attributes:
        count: Elements in each non-empty bin.
        predicted: Root of the mean predicted variance (RMV) of each bin.
        observed: Root mean squared error (RMSE) of each bin.
    """

    count: tuple[int, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def _gaps(self) -> Array:
        return np.asarray(np.abs(np.asarray(self.observed) - np.asarray(self.predicted)), np.float64)

    @property
    def uce(self) -> float:
        """Uncertainty calibration error: mean of |RMSE - RMV| weighted by the bins' counts, in the target's unit."""
        return float(np.average(self._gaps(), weights=self.count))

    @property
    def auce(self) -> float:
        """Area under the calibration error: plain mean of |RMSE - RMV| over non-empty bins, in the target's unit.

        As Ebel et al. 2023 (UnCRtainTS) use the name; others call the area between the expected and the observed
        coverage of intervals so, which is `coverage_curve(...).area` here.
        """
        return float(self._gaps().mean())

    @property
    def ence(self) -> float:
        """Expected normalised calibration error: mean of |RMSE - RMV| / RMV over bins (Levi et al. 2022)."""
        return float((self._gaps() / np.maximum(np.asarray(self.predicted), 1e-300)).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"count": list(self.count), "predicted": list(self.predicted), "observed": list(self.observed)}


def variance_diagram(
    mean: Floats, deviation: Floats, target: Floats, bins: int = 20, equal_mass: bool = False
) -> VarianceDiagram:
    """Return root mean squared errors against predicted ones.

    Args:
        mean: Predicted means, any shape.
        deviation: Predicted standard deviations, same shape.
        target: Same shape; NaN does not count.
        bins: Number of bins of predicted variance; 20 in Ebel et al. 2023.
        equal_mass: Bins of equal count, as ENCE is usually taken, instead of equal width between the smallest and the
            largest variance, as UCE and AUCE of Ebel et al. 2023 have it.
    """
    m, s, y = _known(mean, deviation, target)
    variance, error = s**2, (y - m) ** 2
    if equal_mass:
        _, position, counts = np.unique(variance, return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - 0.5 * counts) / len(variance)
        piece = np.minimum((middle * bins).astype(np.int64), bins - 1)[position]
    else:
        low, high = float(variance.min()), float(variance.max())
        # Variances that differ by rounding alone are one bin.
        scaled = (variance - low) / (high - low) if high - low > 1e-12 * high else np.zeros_like(variance)
        piece = np.minimum((scaled * bins).astype(np.int64), bins - 1)
    _, piece = np.unique(piece, return_inverse=True)
    count = np.bincount(piece)
    predicted = np.sqrt(np.bincount(piece, weights=variance) / count)
    observed = np.sqrt(np.bincount(piece, weights=error) / count)
    return VarianceDiagram(tuple(count.tolist()), tuple(predicted.tolist()), tuple(observed.tolist()))


@dataclass(frozen=True)
class CoverageCurve:
    """Observed against expected coverage of central intervals.

    Attributes:
        expected: Levels between 0 and 1.
        observed: Share of truths inside the central interval of each level.
    """

    expected: tuple[float, ...]
    observed: tuple[float, ...]

    @property
    def area(self) -> float:
        """Miscalibration area: integral of |observed - expected| over the levels, 0 best, 1/2 worst."""
        gap = np.abs(np.asarray(self.observed) - np.asarray(self.expected))
        return float(np.trapezoid(gap, np.asarray(self.expected)))


def coverage_curve(mean: Floats, deviation: Floats, target: Floats, levels: int = 99) -> CoverageCurve:
    """Return the coverage of the central intervals of Gaussian predictions; arguments as `variance_diagram`."""
    u = pit_values(mean, deviation, target)
    depth = np.sort(np.abs(2.0 * u - 1.0))  # the level of the smallest central interval that holds the truth
    expected = np.linspace(0.0, 1.0, levels + 2)
    observed = np.searchsorted(depth, expected, side="right") / len(depth)
    return CoverageCurve(tuple(expected.tolist()), tuple(observed.tolist()))


def pit_values(mean: Floats, deviation: Floats, target: Floats) -> Array:
    """Return the probability integral transform of each known target under its Gaussian prediction, `[N]`.

    Even on [0, 1] for calibrated predictions (Dawid 1984; Gneiting, Balabdaoui, Raftery 2007): a hump says that error
    bars are too long, a trough that they are too short, a slope that the mean is off.
    """
    from scipy.special import ndtr

    m, s, y = _known(mean, deviation, target)
    return np.asarray(ndtr((y - m) / s))


def pit_histogram(mean: Floats, deviation: Floats, target: Floats, bins: int = 10) -> tuple[float, ...]:
    """Return the share of `pit_values` in each of `bins` equal bins; each is 1 / bins if predictions are calibrated."""
    u = pit_values(mean, deviation, target)
    counts, _ = np.histogram(u, bins=bins, range=(0.0, 1.0))
    return tuple((counts / len(u)).tolist())


def crps_gaussian(mean: Floats, deviation: Floats, target: Floats) -> float:
    """Return the mean continuous ranked probability score of Gaussian predictions, in the target's unit, 0 best.

    Gneiting et al. 2005, "Calibrated probabilistic forecasting using ensemble model output statistics", eq. 5.
    """
    from scipy.special import ndtr

    m, s, y = _known(mean, deviation, target)
    z = (y - m) / s
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return float(np.mean(s * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))))


def interval_score(lower: Floats, upper: Floats, target: Floats, coverage: float) -> float:
    """Return the mean interval score, in the target's unit, smaller is better.

    Width plus 2 / (1 - coverage) times the distance of a target outside (Gneiting and Raftery 2007, eq. 43): neither
    wide intervals nor missed targets help.
    """
    low, high, y = (np.asarray(part, dtype=np.float64).ravel() for part in (lower, upper, target))
    known = np.isfinite(y)
    if not known.any() or not 0.0 < coverage < 1.0:
        raise ConfigurationError("An interval score needs targets and a coverage between 0 and 1.")
    low, high, y = low[known], high[known], y[known]
    outside = np.maximum(low - y, 0.0) + np.maximum(y - high, 0.0)
    return float(np.mean(high - low + 2.0 / (1.0 - coverage) * outside))


def interval_width(lower: Floats, upper: Floats) -> float:
    """Return the mean width of intervals."""
    return float(np.mean(np.asarray(upper, dtype=np.float64) - np.asarray(lower, dtype=np.float64)))


@dataclass(frozen=True)
class IntervalReport(BlockCoverage):
    """Coverage and width of intervals on elements that they were not fitted on; see `BlockCoverage`.

    A worst block has at least `FEWEST_IN_A_BLOCK` elements.

    Attributes:
        blocks: Share of each block, in the order of the blocks' numbers.
        mean_width: Mean width, in the target's unit.
        score: Mean `interval_score`.
        width_without_inputs: Width of the one interval between two quantiles of these truths that holds as many of them
            as was wanted; intervals that are not shorter are worth nothing.
    """

    blocks: tuple[float, ...]
    mean_width: float
    score: float
    width_without_inputs: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return super().to_dict() | {
            "coverage_per_block": list(self.blocks),
            "blocks": len(self.blocks),
            "mean_width": self.mean_width,
            "interval_score": self.score,
            "width_without_inputs": self.width_without_inputs,
        }


def interval_report(
    lower: Floats, upper: Floats, target: Floats, coverage: float, groups: NDArray[np.generic] | None = None
) -> IntervalReport:
    """Measure intervals.

    Args:
        lower: `[N]`.
        upper: `[N]`.
        target: `[N]`; NaN does not count.
        coverage: What was wanted.
        groups: `[N]` block of each element; None: all elements are one block.

    Raises:
        ConfigurationError: If lengths differ, there is no target, or the coverage is out of range.
    """
    low, high, y = (np.asarray(part, dtype=np.float64).ravel() for part in (lower, upper, target))
    block = np.zeros(len(y), np.int64) if groups is None else np.asarray(groups).ravel()
    if not low.size == high.size == y.size == block.size:
        raise ConfigurationError("Intervals, targets and blocks to measure must be equally many.")
    score = interval_score(low, high, y, coverage)
    known = np.isfinite(y)
    low, high, y = low[known], high[known], y[known]
    inside = (low <= y) & (y <= high)
    shares, counts = block_shares(inside, block[known])
    large = shares[counts >= FEWEST_IN_A_BLOCK]
    ends = np.quantile(y, (0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage))
    return IntervalReport(
        coverage=float(inside.mean()),
        block_coverage=float(shares.mean()),
        block_error=error_over_blocks(shares),
        worst_block=float(large.min()) if large.size else None,
        blocks=tuple(shares.tolist()),
        mean_width=interval_width(low, high),
        score=score,
        width_without_inputs=float(ends[1] - ends[0]),
    )


@dataclass(frozen=True)
class Sparsification:
    """Error of what is left when the most uncertain elements are removed, relative to the error of all.

    Attributes:
        removed: Share that is removed, from 0 rising.
        error: Error left, removed by uncertainty, over the error of all.
        oracle: The same, removed by the error itself.
        ause: Area between both over the share removed (Ilg et al. 2018), 0 best.
        aurg: Area between no order (1 everywhere) and `error`; larger is better, negative worse than chance.
    """

    removed: tuple[float, ...]
    error: tuple[float, ...]
    oracle: tuple[float, ...]
    ause: float
    aurg: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "removed": list(self.removed),
            "error": list(self.error),
            "oracle": list(self.oracle),
            "ause": self.ause,
            "aurg": self.aurg,
        }


def sparsification(loss: Floats, uncertainty: Floats, root: bool = False, points: int = 50) -> Sparsification:
    """Return the sparsification curve; elements of the same uncertainty count with the mean of their losses.

    Args:
        loss: `[N]`: 0/1 for classes, absolute or squared errors for numbers; not all 0.
        uncertainty: `[N]`.
        root: Take the root of the mean loss (for squared errors: the curve of the RMSE).
        points: Points at which the curve is given; the areas use all of it.

    Raises:
        ConfigurationError: If there is no loss at all, so that nothing can be sorted.
    """
    values = np.asarray(loss, dtype=np.float64).ravel()
    if values.size == 0 or not values.max() > 0.0:
        raise ConfigurationError("A sparsification curve needs elements with errors, but there are none.")
    kept, error = risk_coverage_curve(values, uncertainty)
    _, oracle = risk_coverage_curve(values, values)
    if root:
        error, oracle = np.sqrt(error), np.sqrt(oracle)
    error, oracle = error / error[-1], oracle / oracle[-1]
    removed = 1.0 - kept
    at = np.linspace(0.0, removed[0], points)
    return Sparsification(
        removed=tuple(at.tolist()),
        error=tuple(np.interp(at, removed[::-1], error[::-1]).tolist()),
        oracle=tuple(np.interp(at, removed[::-1], oracle[::-1]).tolist()),
        ause=float((error - oracle).mean()),
        aurg=float((1.0 - error).mean()),
    )


def _known(mean: Floats, deviation: Floats, target: Floats) -> tuple[Array, Array, Array]:
    m, s, y = (np.asarray(part, dtype=np.float64).ravel() for part in (mean, deviation, target))
    if not m.size == s.size == y.size:
        raise ConfigurationError(f"There are {m.size} means, {s.size} deviations and {y.size} targets.")
    known = np.isfinite(y)
    m, s, y = m[known], s[known], y[known]
    if m.size == 0 or not np.isfinite(m).all() or not np.isfinite(s).all() or s.min() <= 0.0:
        raise ConfigurationError("A measure needs targets, finite means and positive standard deviations.")
    return m, s, y
