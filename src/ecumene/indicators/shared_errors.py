"""How far errors of a map are shared by neighbouring pixels: what the error of a sum of probabilities rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.olofsson import Estimate
from ecumene.indicators.ratio_interval import normal_quantile
from ecumene.trust.block_residuals import BlockResiduals


@dataclass(frozen=True)
class SharedErrors:
    """The errors of blocks of a map, in units of what they would be if all pixels of a block erred together.

    A block whose pixels have the chances q of what is counted has the worst error W = sum of a sqrt(q (1 - q)), a the
    areas. Its residual is modelled as (mean + deviation e) W with independent e of mean 0 and variance 1. So places
    where the map is certain add little error, and places where it hesitates add much.

    Attributes:
        mean: Of the residuals over W; not 0 where probabilities are biased.
        deviation: Of them; 1 is the worst case without bias, 0 means that errors cancel within a block.
        blocks: Calibration blocks that both are from; infinite for an assumption.
        block_area_m2: Area of a block.
    """

    mean: float
    deviation: float
    blocks: float
    block_area_m2: float

    @property
    def block_m(self) -> float:
        """Side of a square block in metres."""
        return math.sqrt(self.block_area_m2)


WORST_CASE = SharedErrors(0.0, 1.0, math.inf, 1e6)
"""All pixels within a square kilometre err together: what is assumed where nothing was measured."""


@dataclass(frozen=True)
class SharedArea:
    """An area from probabilities with its error.

    Attributes:
        estimate: With interval; its standard error is that of the normal law whose interval is as wide as Student's.
        common_error: The part of the standard error that maps of the same model have in common: what its calibration
            blocks leave unknown about its bias.
    """

    estimate: Estimate
    common_error: float

    @property
    def own_error(self) -> float:
        """The rest of the standard error: the chance of this map's blocks."""
        return math.sqrt(max(0.0, self.estimate.standard_error**2 - self.common_error**2))


def shared_errors(residuals: BlockResiduals | None, classes: Sequence[int]) -> SharedErrors | None:
    """Return the errors of some classes of a model taken together, or None where its blocks do not tell them.

    Several classes take the largest bias and deviation among them: confusions within the group cancel, which makes the
    group's errors smaller, not larger.

    Args:
        residuals: Of the model's calibration.
        classes: Positions of the classes in its legend.

    Raises:
        ConfigurationError: If a class is unknown.
    """
    if residuals is None or residuals.shared_mean is None or residuals.shared_deviation is None or not classes:
        return None
    if not set(classes) <= set(range(len(residuals.mean))):
        raise ConfigurationError(
            f"The model's calibration knows {len(residuals.mean)} classes; use the map's own model."
        )
    means = [residuals.shared_mean[k] for k in classes]
    deviation = max(residuals.shared_deviation[k] for k in classes)
    mean = means[0] if len(means) == 1 else 0.0
    if len(means) > 1:  # biases of a group's classes may cancel, so they count as error, not as correction
        deviation = math.hypot(deviation, max(map(abs, means)))
    return SharedErrors(mean, deviation, float(residuals.n_blocks), residuals.block_area_m2)


def shared_area(
    expected: float, worst: float, worst_squares: float, errors: SharedErrors, limit: float, confidence: float
) -> SharedArea:
    """Return the area of a sum of probabilities, corrected by calibration blocks, with its interval.

    The area is `expected + mean W`, W the sum over blocks of their worst errors; its variance is `deviation^2 (sum of
    W_block^2 + W^2 / G)`: the chance of this map's blocks, and what G calibration blocks leave unknown about the mean
    (a ratio estimator with blocks as units, Cochran 1977, chapter 6). Student's t with G - 1 degrees of freedom.

    Args:
        expected: Sum of area times chance.
        worst: Sum over blocks of W.
        worst_squares: Sum over blocks of W^2.
        errors: Of the blocks.
        limit: Largest possible area.
        confidence: Two-sided level in (0, 1).
    """
    from scipy.stats import t as student

    z = normal_quantile(confidence)
    finite = math.isfinite(errors.blocks)
    factor = float(student.ppf(0.5 + 0.5 * confidence, errors.blocks - 1.0)) / z if finite else 1.0
    common = factor * errors.deviation * worst / math.sqrt(errors.blocks)
    own = factor * errors.deviation * math.sqrt(worst_squares)
    value = min(max(expected + errors.mean * worst, 0.0), limit)
    error = math.hypot(common, own)
    low, high = max(0.0, value - z * error), min(limit, value + z * error)
    return SharedArea(Estimate(value, error, z * error, low, max(low, high)), common)


def correlation_of_years(
    first: SharedArea, second: SharedArea, *, same_model: bool = True, blocks: float = 0.0
) -> float:
    """Return the correlation of the errors of two areas that maps of one place gave.

    Args:
        first: Of one date.
        second: Of the other date.
        same_model: Whether one model made both maps: then what its calibration blocks leave unknown about its bias is
            common to both.
        blocks: Correlation of the errors of a block at the two dates (`trust.block_residuals.correlation_of_dates`); 0
            is on the safe side for a change, since places that are hard to tell are so at both dates.
    """
    errors = first.estimate.standard_error * second.estimate.standard_error
    if not errors > 0.0:
        return 0.0
    own = first.own_error * second.own_error * blocks
    common = first.common_error * second.common_error * (1.0 if same_model else blocks)
    return min(max((own + common) / errors, -1.0), 1.0)
