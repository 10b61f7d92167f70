"""Chooses how to recalibrate the error bars of a number by what it gains on blocks that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.recalibration import BLOCKS_A_KNOT, Floats, IsotonicVariance
from ecumene.trust.scaling_fit import FEWEST_BLOCKS, MOST_FOLDS, block_weights, gain_of_blocks, surely_best

Array = NDArray[np.float64]
Fit = Callable[[Array, Array, NDArray[np.intp]], "float | IsotonicVariance"]

PRIOR = 1.0
"""Blocks that are thought to have said beforehand that the factor is 1."""

PRIOR_OF_A_MAP = 4.0
"""Blocks that are thought to have said beforehand, at every knot of a map, that one factor is right."""

BLOCKS_FOR_A_MAP = 2 * BLOCKS_A_KNOT
"""Blocks from which on a map of variances is tried."""

CONFIDENCE = 0.95
"""One-sided level at which a change must be better than none. It is lower than that for logits, because both changes
are drawn towards none by their priors and have no parameters of classes that may be rare."""

MOST_ELEMENTS = 50_000
"""Elements that a choice is made on; blocks and not elements limit what can be known."""


@dataclass(frozen=True)
class VarianceChoice:
    """What is done to predicted variances, and why.

    Attributes:
        scale: Factor on them; 1 where there is none or a map.
        isotonic: The map, where it was chosen.
        n_groups: Blocks that it was chosen on.
        gains: For each candidate its mean gain in Gaussian log-likelihood over no change on left-out blocks, in nat,
            and the gain's one-sided lower confidence bound.
        note: One sentence for people.
    """

    scale: float = 1.0
    isotonic: IsotonicVariance | None = None
    n_groups: int = 0
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """`none`, `factor` or `isotonic`."""
        return "isotonic" if self.isotonic is not None else "none" if self.scale == 1.0 else "factor"

    def apply(self, deviation: Floats) -> Floats:
        """Return recalibrated standard deviations, like `deviation`."""
        if self.isotonic is not None:
            return self.isotonic.apply(deviation)
        spread = np.asarray(deviation)
        return np.asarray(spread * math.sqrt(self.scale), dtype=spread.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        gains = {
            name: {"mean": mean, "lower_bound": low if math.isfinite(low) else None}
            for name, (mean, low) in self.gains.items()
        }
        return {"chosen": self.name, "blocks": self.n_groups, "held_out_gain_nat": gains, "note": self.note}


def choose_variance(
    mean: Floats, deviation: Floats, target: Floats, groups: NDArray[np.generic] | None = None
) -> VarianceChoice:
    """Choose among no change, one factor and an isotonic map of variances by cross-validation over blocks.

    Each candidate is fitted without one block (or one of ten sets of blocks) at a time and judged by the Gaussian
    log-likelihood there; blocks count alike, whatever their number of elements. A candidate replaces no change only if
    the lower end of the one-sided 95 % Student interval of its mean gain over blocks is positive; the simplest one
    whose lower end is within a tenth of the highest is taken. The rule is that of `scaling_fit.choose_scaling` at
    another level, and as there the level is approximate, because the blocks' gains share data.

    Args:
        mean: `[N]` predicted means of elements that the network has not learned from.
        deviation: `[N]` predicted standard deviations, positive.
        target: `[N]`; NaN does not count.
        groups: `[N]` spatial block of each element; None: elements are independent.

    Returns:
        The choice. With fewer than `FEWEST_BLOCKS` blocks there is nothing to choose by, and nothing is changed.

    Raises:
        ConfigurationError: If arguments do not fit together, or predictions are no numbers.
        LabelError: If fewer than ten elements have a target, or no prediction differs from its target.
    """
    residual, spread, block = _checked(mean, deviation, target, groups)
    count = int(block.max()) + 1
    if count < FEWEST_BLOCKS:
        what = f"{count} block{'s' * (count > 1)}"
        note = f"The error bars are the model's own: calibration labels of {what} cannot show which change helps."
        return VarianceChoice(n_groups=count, note=note)
    tried: dict[str, Fit] = {"factor": _factor}
    if count >= BLOCKS_FOR_A_MAP:
        tried["isotonic"] = _isotonic
    gains = {
        name: gain_of_blocks(_held_out_gains(residual, spread, block, fit), CONFIDENCE) for name, fit in tried.items()
    }
    best = surely_best(gains)
    if best is None:
        note = (
            f"The error bars are the model's own: on {count} calibration blocks no change of them was surely better "
            "than none."
        )
        return VarianceChoice(n_groups=count, gains=gains, note=note)
    fitted = tried[best](residual, spread, block)
    what = "One factor on the variances" if best == "factor" else "An isotonic map of the variances"
    note = f"{what} gained {gains[best][0]:.3f} nat on left-out blocks ({count})."
    if isinstance(fitted, IsotonicVariance):
        return VarianceChoice(isotonic=fitted, n_groups=count, gains=gains, note=note)
    return VarianceChoice(scale=fitted, n_groups=count, gains=gains, note=note)


def _checked(
    mean: Floats, deviation: Floats, target: Floats, groups: NDArray[np.generic] | None
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return (target - mean, deviations, blocks from 0) of the elements with a target."""
    m, s, y = (np.asarray(part, dtype=np.float64) for part in (mean, deviation, target))
    if m.ndim != 1 or m.shape != s.shape or m.shape != y.shape or (groups is not None and np.shape(groups) != m.shape):
        raise ConfigurationError("Error bars need means, deviations, targets and groups of one shape [N].")
    known = np.isfinite(y)
    if known.sum() < 10:
        raise LabelError(f"Error bars need at least 10 labelled pixels to be fitted on, but there are {known.sum()}.")
    if not np.isfinite(m[known]).all() or not np.isfinite(s[known]).all() or s[known].min() <= 0.0:
        raise ConfigurationError("Error bars need finite means and positive standard deviations.")
    if not (y[known] != m[known]).any():
        raise LabelError("All calibration predictions equal their targets, which leaves no error bar to fit.")
    names = np.arange(len(m)) if groups is None else np.asarray(groups)
    _, block = np.unique(names[known], return_inverse=True)
    residual, spread = (y - m)[known], s[known]
    if len(residual) > MOST_ELEMENTS:
        keep = np.sort(np.random.default_rng(0).choice(len(residual), MOST_ELEMENTS, replace=False))
        residual, spread = residual[keep], spread[keep]
        _, block = np.unique(block[keep], return_inverse=True)
    return residual, spread, block


def _factor(residual: Array, spread: Array, block: NDArray[np.intp]) -> float:
    """Return the factor with the best likelihood over blocks, drawn towards 1 where blocks are few.

    Laves et al. 2020, eq. 8, with every block alike and the prior of an inverse gamma distribution.
    """
    squared = float(block_weights(block) @ (residual / spread) ** 2)
    number = int(block.max()) + 1
    return (number * squared + PRIOR) / (number + PRIOR)


def _isotonic(residual: Array, spread: Array, block: NDArray[np.intp]) -> IsotonicVariance:
    return IsotonicVariance.fit(np.zeros_like(residual), spread, residual, block, PRIOR_OF_A_MAP)


def _held_out_gains(residual: Array, spread: Array, block: NDArray[np.intp], fit: Fit) -> Array:
    """Return for each block the mean gain in log-likelihood over no change of a fit without that block."""
    number = int(block.max()) + 1
    fold = block % min(number, MOST_FOLDS)
    gained = np.zeros(len(residual))
    for this in range(int(fold.max()) + 1):
        inside = fold == this
        _, others = np.unique(block[~inside], return_inverse=True)
        try:
            found = fit(residual[~inside], spread[~inside], others)
        except LabelError:
            continue  # too little is left to fit on, so that nothing is gained
        own = spread[inside]
        changed = found.apply(own) if isinstance(found, IsotonicVariance) else own * math.sqrt(found)
        gained[inside] = _log_likelihood(residual[inside], np.asarray(changed, np.float64)) - _log_likelihood(
            residual[inside], own
        )
    return np.bincount(block, weights=gained) / np.bincount(block)


def _log_likelihood(residual: Array, spread: Array) -> Array:
    return np.asarray(-np.log(spread) - 0.5 * (residual / spread) ** 2)
