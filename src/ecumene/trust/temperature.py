"""Temperature scaling: one number that makes class probabilities honest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.likelihood import by_member, fit_one_temperature, pooled_log_likelihood

BOUNDS = (0.1, 10.0)
"""Search interval. A network that is right on all calibration pixels would ask for the temperature 0."""


def negative_log_likelihood_of(logits: NDArray[np.float64], target: NDArray[np.int64], temperature: float) -> float:
    """Return the mean of -ln p(target) of softmax(logits / temperature)."""
    return -float(pooled_log_likelihood(by_member(logits / temperature, logits.shape[1]), target).mean())


def fit_temperature(
    logits: NDArray[np.floating], target: NDArray[np.integer], bounds: tuple[float, float] = BOUNDS
) -> float:
    """Find the temperature with the best likelihood on held-out elements.

    After Guo et al. 2017, "On calibration of modern neural networks", section 4.2. The negative log-likelihood is
    convex in the inverse temperature, so that a bounded scalar search finds its optimum. Whether the temperature
    helps on elements of other places is another question, which `scaling_fit.choose_scaling` answers.

    Args:
        logits: `[N, K]`, of elements that the network has not learned from.
        target: `[N]` class indices 0..K-1. Classes may be missing, but there must be two.
        bounds: Search interval.

    Returns:
        The temperature by which logits are divided; larger than one where the network is overconfident.

    Raises:
        ConfigurationError: If logits are not `[N, K]`, not finite, or the same for all classes everywhere.
        LabelError: If there are no targets, targets out of range, or fewer than two classes.
    """
    values, truth = check_logits(logits, target), np.asarray(target)
    if len(np.unique(truth)) < 2:
        raise LabelError(
            "Temperature scaling needs calibration pixels of at least two classes, but there is one; "
            "label more places or use smaller blocks."
        )
    weight = np.full(len(truth), 1.0 / len(truth))
    apart = by_member(values, values.shape[1])
    return fit_one_temperature(apart, truth.astype(np.int64), weight, 0.0, bounds).temperature


def check_logits(logits: NDArray[np.floating], target: NDArray[np.integer], members: int = 1) -> NDArray[np.float64]:
    """Return logits `[N, M * K]` as float64, or refuse what nothing can be fitted on.

    Raises:
        ConfigurationError: If shapes do not fit, logits are not finite, or the same for all classes everywhere.
        LabelError: If there are no targets, or they are out of range.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(target)
    channels = values.shape[1] if values.ndim == 2 else 0
    if members < 1 or channels % members or channels // members < 2 or truth.shape != (len(values),):
        raise ConfigurationError(
            f"Scaling needs logits [N, K] of each member and targets [N], but got {values.shape} and {truth.shape}."
        )
    check_targets(truth, channels // members, "scaling the logits")
    if not np.isfinite(values).all():
        raise ConfigurationError("Some logits are not finite; the training has diverged, lower its learning rate.")
    if np.ptp(by_member(values, channels // members), axis=2).max() < 1e-9:
        raise ConfigurationError("All logits of each pixel are the same; the network has learned nothing to calibrate.")
    return values


def check_targets(target: NDArray[np.generic], n_classes: int, what: str) -> None:
    """Refuse empty targets, and targets that are no class index.

    Raises:
        LabelError: With a sentence that names `what`.
    """
    if target.size == 0:
        raise LabelError(f"There are no labelled pixels for {what}; label more places or use smaller blocks.")
    if not np.issubdtype(target.dtype, np.integer) or target.min() < 0 or target.max() >= n_classes:
        raise LabelError(f"The targets for {what} must be class indices from 0 to {n_classes - 1}.")
