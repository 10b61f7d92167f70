"""Chooses how to scale logits by what it gains on blocks that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.likelihood import (
    Array,
    Labels,
    by_member,
    fit_dirichlet,
    fit_one_temperature,
    fit_vector,
    pooled_log_likelihood,
)
from ecumene.trust.scaling import IDENTITY, DirichletScaling, Scaling
from ecumene.trust.temperature import BOUNDS, check_logits, check_targets

CONFIDENCE = 0.99
"""One-sided level at which a scaling must be better than none."""

FEWEST_BLOCKS = 4
"""With fewer, two fits and their two gains share so much that no interval of the gain can be trusted."""

PRIOR = 0.25
"""Inverse variance of the parameters beforehand; see `candidates`."""

DIRICHLET_STRENGTHS = (0.01, 0.1, 1.0)
BLOCKS_FOR_CLASSES = 8
"""Blocks from which on maps with parameters of each class are tried; with fewer, a class is in one or two blocks."""

MOST_FOLDS = 10
MOST_ELEMENTS = 5_000
"""Elements that a choice is made on; blocks and not elements limit what can be known."""

Fit = Callable[[Array, Labels, Array, float, Any], Scaling]
"""(logits, target, weight, prior, where to start or None) -> fitted."""


@dataclass(frozen=True)
class ScalingChoice:
    """A scaling and why it was chosen.

    Attributes:
        scaling: The chosen map, fitted on all blocks.
        n_groups: Blocks that it was chosen on.
        gains: For each candidate its mean gain in log-likelihood over the identity on left-out blocks, in nat, and
            the gain's one-sided lower confidence bound.
        note: One sentence for people.
        missing: Class channels without a calibration element.
    """

    scaling: Scaling
    n_groups: int
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""
    missing: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        gains = {
            name: {"mean": mean, "lower_bound": low if math.isfinite(low) else None}
            for name, (mean, low) in self.gains.items()
        }
        return {
            "chosen": self.scaling.name,
            "blocks": self.n_groups,
            "held_out_gain_nat": gains,
            "classes_without_calibration": list(self.missing),
            "note": self.note,
        }


def candidates(n_groups: int, complete: bool) -> dict[str, Fit]:
    """Return the fits that are tried, by name.

    A prior keeps every fit near the identity: ln T, each w - 1 and each b are normal beforehand with the standard
    deviation 2, and a block counts as one observation, so that the prior matters where blocks are few.

    Args:
        n_groups: Calibration blocks.
        complete: Whether every class has a calibration element; without, parameters of a class cannot be fitted.
    """

    def temperature(logits: Array, target: Labels, weight: Array, prior: float, start: Scaling | None) -> Scaling:
        return fit_one_temperature(logits, target, weight, prior, BOUNDS)

    chosen: dict[str, Fit] = {"temperature": temperature}
    if complete and n_groups >= BLOCKS_FOR_CLASSES:
        chosen["vector"] = fit_vector
        for strength in DIRICHLET_STRENGTHS:
            chosen[f"dirichlet {strength:g}"] = _dirichlet_of(strength)
    return chosen


def _dirichlet_of(strength: float) -> Fit:
    def fit(logits: Array, target: Labels, weight: Array, prior: float, start: DirichletScaling | None) -> Scaling:
        return fit_dirichlet(logits, target, weight, strength, start)

    return fit


def choose_scaling(
    logits: NDArray[np.floating],
    target: NDArray[np.integer],
    groups: NDArray[np.generic] | None = None,
    members: int = 1,
) -> ScalingChoice:
    """Choose among identity, temperature, vector and Dirichlet scaling by cross-validation over blocks.

    Each candidate is fitted without one block (or one of ten sets of blocks) at a time and judged by the
    log-likelihood there; blocks count alike, whatever their number of elements. A candidate replaces the identity only
    if the lower end of the one-sided 99 % Student interval of its mean gain over blocks is positive; the simplest one
    whose lower end is within a tenth of the highest is taken. Few blocks therefore mean that the model's own
    probabilities stay: a temperature from two or three blocks can make the next block much worse. The blocks' gains are
    not quite independent, since their fits share data, so that the level is approximate.

    Members are all scaled alike, with the parameters that are best for their pooled probabilities, and not one by one:
    the average of members that are calibrated by themselves is too even (Rahaman and Thiery 2021, "Uncertainty
    quantification and deep ensembles").

    Args:
        logits: `[N, M * K]`, of elements that the network has not learned from.
        target: `[N]` class indices 0..K-1.
        groups: `[N]` spatial block of each element; None: elements are independent.
        members: M.

    Returns:
        The choice. With fewer than `FEWEST_BLOCKS` blocks there is nothing to choose by, and the identity stays.

    Raises:
        ConfigurationError: If logits are not `[N, M * K]`, not finite, or alike for all classes everywhere.
        LabelError: If there are no targets, or targets are out of range.
    """
    values = check_logits(logits, target, members)
    truth = np.asarray(target).astype(np.int64)
    blocks = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if blocks.shape != truth.shape:
        raise ConfigurationError(f"There are {truth.size} targets, but {blocks.size} group labels.")
    step = -(-len(truth) // MOST_ELEMENTS)
    z, t = by_member(values[::step], values.shape[1] // members), truth[::step]
    names, block = np.unique(blocks[::step], return_inverse=True)
    counts = np.bincount(t, minlength=z.shape[2])
    missing = tuple(np.nonzero(counts == 0)[0].tolist())
    if len(names) < FEWEST_BLOCKS or (counts > 0).sum() < 2:
        what = "one class" if (counts > 0).sum() < 2 else f"{len(names)} block{'s' * (len(names) > 1)}"
        note = f"The probabilities are the model's own: calibration labels of {what} cannot show which change helps."
        return ScalingChoice(IDENTITY, len(names), note=note, missing=missing)
    tried = candidates(len(names), not missing)
    fitted, gains = {}, {}
    for name, fit in tried.items():
        # The folds' minima lie near the one of all blocks, from where they are found several times faster.
        fitted[name] = fit(z, t, block_weights(block), PRIOR / len(names), None)
        gains[name] = gain_of_blocks(_held_out_gains(z, t, block, fit, fitted[name]), CONFIDENCE)
    best = surely_best(gains)
    if best is None:
        note = (
            f"The probabilities are the model's own: on {len(names)} calibration blocks no scaling was surely "
            "better than none."
        )
        return ScalingChoice(IDENTITY, len(names), gains, note, missing)
    note = f"{best.split()[0].capitalize()} scaling gained {gains[best][0]:.3f} nat on left-out blocks ({len(names)})."
    return ScalingChoice(fitted[best], len(names), gains, note, missing)


def block_weights(block: NDArray[np.intp]) -> Array:
    """Return weights `[N]` with the sum 1 that give every block the same share."""
    counts = np.bincount(block)
    return np.asarray(1.0 / ((counts > 0).sum() * counts[block]))


def _held_out_gains(logits: Array, target: Labels, block: NDArray[np.intp], fit: Fit, start: Scaling) -> Array:
    """Return for each block the mean gain in log-likelihood over the identity of a fit without that block."""
    number = int(block.max()) + 1
    fold = block % min(number, MOST_FOLDS)
    gained = np.empty(len(target))
    for this in range(fold.max() + 1):
        inside = fold == this
        _, others = np.unique(block[~inside], return_inverse=True)
        try:
            prior = PRIOR / (int(others.max()) + 1)
            scaling = fit(logits[~inside], target[~inside], block_weights(others), prior, start)
        except LabelError:
            scaling = IDENTITY
        own = logits[inside]
        mapped = by_member(scaling.apply(own.reshape(len(own), -1)), own.shape[2])
        gained[inside] = pooled_log_likelihood(mapped, target[inside]) - pooled_log_likelihood(own, target[inside])
    return np.bincount(block, weights=gained) / np.bincount(block)


def gain_of_blocks(gains: Array, confidence: float) -> tuple[float, float]:
    """Return (mean of the gains of blocks `[B]`, its one-sided lower confidence bound)."""
    from scipy.stats import t as student

    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    mean = float(gains.mean())
    return mean, mean - float(student.ppf(confidence, len(gains) - 1)) * error


def surely_best(gains: Mapping[str, tuple[float, float]]) -> str | None:
    """Return the candidate to take by the gains of `gain_of_blocks`, simpler candidates first.

    It is the simplest one whose lower confidence bound is within a tenth of the highest; None where no lower bound is
    positive, so that none is surely better than no change.
    """
    highest = max(low for _, low in gains.values())
    if highest <= 0.0:
        return None
    return next(name for name, (_, low) in gains.items() if low >= 0.9 * highest)


def fit_named(
    name: str,
    logits: NDArray[np.floating],
    target: NDArray[np.integer],
    groups: NDArray[np.generic] | None = None,
    members: int = 1,
) -> Scaling:
    """Fit one scaling without asking whether it helps.

    Args:
        name: `identity`, `temperature`, `vector` or `dirichlet` (of strength 0.1).
        logits: As `choose_scaling`.
        target: As there.
        groups: As there.
        members: As there.

    Raises:
        ConfigurationError: As there, or if the name is unknown.
        LabelError: As there, or if a class has no element and the scaling has parameters of each class.
    """
    values = check_logits(logits, target, members)
    z, truth = by_member(values, values.shape[1] // members), np.asarray(target).astype(np.int64)
    blocks = np.arange(len(truth)) if groups is None else np.asarray(groups)
    _, block = np.unique(blocks, return_inverse=True)
    check_targets(truth, z.shape[2], "scaling")
    if name == IDENTITY.name:
        return IDENTITY
    weight, prior = block_weights(block), PRIOR / (int(block.max()) + 1)
    if name == "temperature":
        return fit_one_temperature(z, truth, weight, prior, BOUNDS)
    if absent := sorted(set(range(z.shape[2])) - set(truth.tolist())):
        raise LabelError(
            f"Class channel {absent[0]} has no calibration pixel, so that its own scaling cannot be fitted; label it "
            "in more places, or use a temperature."
        )
    if name == "vector":
        return fit_vector(z, truth, weight, prior)
    if name == "dirichlet":
        return fit_dirichlet(z, truth, weight, 0.1)
    raise ConfigurationError(f"Scalings are identity, temperature, vector and dirichlet, but not {name!r}.")
