"""The likelihood of pooled members and the convex fits that calibrate their logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecumene.trust.scaling import DirichletScaling, Temperature, VectorScaling

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def by_member(logits: NDArray[np.floating], n_classes: int) -> Array:
    """Return logits `[N, M * K]` (member-major) as float64 `[N, M, K]`."""
    return np.asarray(logits, dtype=np.float64).reshape(len(logits), -1, n_classes)


def log_softmax(logits: Array) -> Array:
    """Return log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def pooled_probabilities(logits: NDArray[np.floating], n_classes: int) -> Array:
    """Return class probabilities `[N, K]` of logits `[N, M * K]`: the mean over members of their softmax."""
    return np.asarray(np.exp(log_softmax(by_member(logits, n_classes))).mean(axis=1))


def pooled_log_likelihood(logits: Array, target: Labels) -> Array:
    """Return ln p(target) `[N]` of the pooled members `[N, M, K]`."""
    own = np.take_along_axis(log_softmax(logits), target[:, None, None], axis=2)[..., 0]
    top = own.max(axis=1)
    return np.asarray(top + np.log(np.exp(own - top[:, None]).mean(axis=1)))


def loss_and_gradient(logits: Array, target: Labels, weight: Array) -> tuple[float, Array]:
    """Return the weighted negative log-likelihood of pooled members, and its gradient by the logits `[N, M, K]`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=-1, keepdims=True)
    gradient /= total
    rows = np.arange(len(target))
    own = shifted[rows, :, target] - np.log(total[..., 0])
    top = own.max(axis=1, keepdims=True)
    raised = np.exp(own - top)
    loss = -float(weight @ (top[:, 0] + np.log(raised.mean(axis=1))))
    share = raised / raised.sum(axis=1, keepdims=True)
    gradient[rows, :, target] -= 1.0
    return loss, gradient * (share * weight[:, None])[:, :, None]


def fit_one_temperature(
    logits: Array, target: Labels, weight: Array, prior: float, bounds: tuple[float, float]
) -> Temperature:
    """Minimise the weighted negative log-likelihood plus `prior` / 2 (ln T)^2 by a bounded scalar search."""
    from scipy.optimize import minimize_scalar

    def loss(log_inverse: float) -> float:
        likelihood = pooled_log_likelihood(logits * math.exp(log_inverse), target)
        return -float(weight @ likelihood) + 0.5 * prior * log_inverse**2

    limits = (-math.log(bounds[1]), -math.log(bounds[0]))
    found = minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return Temperature(float(math.exp(-found.x)))


def fit_vector(
    logits: Array, target: Labels, weight: Array, prior: float, start: VectorScaling | None = None
) -> VectorScaling:
    """Minimise the weighted negative log-likelihood plus `prior` / 2 (|w - 1|^2 + |b|^2); convex for one member.

    A `start` near the minimum saves time; without one the search starts at the identity.
    """
    classes = logits.shape[2]

    def loss(parameters: Array) -> tuple[float, Array]:
        factor, offset = parameters[:classes], parameters[classes:]
        value, gradient = loss_and_gradient(logits * factor + offset, target, weight)
        value += 0.5 * prior * float(((factor - 1.0) ** 2).sum() + (offset**2).sum())
        by_factor = (gradient * logits).sum(axis=(0, 1)) + prior * (factor - 1.0)
        return value, np.concatenate([by_factor, gradient.sum(axis=(0, 1)) + prior * offset])

    first = [np.ones(classes), np.zeros(classes)] if start is None else [start.weight, start.bias]
    found = _minimise(loss, np.concatenate(first))
    return VectorScaling(tuple(found[:classes].tolist()), tuple(found[classes:].tolist()))


def fit_platt(logits: Array, target: Labels, weight: Array, prior: float) -> tuple[float, float]:
    """Return factor w and offset b of the logits of presence `[N, M]` (Platt 1999), targets 0 and 1.

    Minimised is the weighted negative log-likelihood of pooled members plus `prior` / 2 ((w - 1)^2 + b^2).
    """
    two = np.zeros((*logits.shape, 2))

    def loss(parameters: Array) -> tuple[float, Array]:
        factor, offset = parameters
        two[..., 1] = factor * logits + offset
        value, gradient = loss_and_gradient(two, target, weight)
        value += 0.5 * prior * float((factor - 1.0) ** 2 + offset**2)
        by_factor = float((gradient[..., 1] * logits).sum()) + prior * (factor - 1.0)
        return value, np.array([by_factor, float(gradient[..., 1].sum()) + prior * offset])

    found = _minimise(loss, np.array([1.0, 0.0]))
    return float(found[0]), float(found[1])


def fit_dirichlet(
    logits: Array, target: Labels, weight: Array, strength: float, start: DirichletScaling | None = None
) -> DirichletScaling:
    """Minimise the weighted negative log-likelihood with off-diagonal and intercept regularisation (ODIR).

    The penalty is `strength` times (mean of the squared off-diagonal entries + mean of the squared offsets):
    Kull et al. 2019, section 3.2, with lambda = mu. A `start` near the minimum saves time; without one the search
    starts at the identity.
    """
    classes = logits.shape[2]
    log_p = log_softmax(logits)
    aside = 1.0 - np.eye(classes)
    pairs = classes * (classes - 1)

    def loss(parameters: Array) -> tuple[float, Array]:
        matrix, offset = parameters[: classes**2].reshape(classes, classes), parameters[classes**2 :]
        value, gradient = loss_and_gradient(log_p @ matrix.T + offset, target, weight)
        value += strength * float((aside * matrix**2).sum() / pairs + (offset**2).sum() / classes)
        by_matrix = np.einsum("nmi,nmj->ij", gradient, log_p) + 2.0 * strength * aside * matrix / pairs
        by_offset = gradient.sum(axis=(0, 1)) + 2.0 * strength * offset / classes
        return value, np.concatenate([by_matrix.ravel(), by_offset])

    first = (
        [np.eye(classes), np.zeros(classes)] if start is None else [np.asarray(start.matrix), np.asarray(start.bias)]
    )
    found = _minimise(loss, np.concatenate([part.ravel() for part in first]))
    rows = found[: classes**2].reshape(classes, classes).tolist()
    return DirichletScaling(tuple(map(tuple, rows)), tuple(found[classes**2 :].tolist()))


def _minimise(loss: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    """Return the minimum found by L-BFGS-B within bounds that keep stored weights usable."""
    from scipy.optimize import minimize

    found = minimize(  # type: ignore[call-overload]  # the stubs know no gradient beside the value
        loss, start, jac=True, method="L-BFGS-B", bounds=[(-100.0, 100.0)] * len(start), options={"maxiter": 300}
    )
    return np.asarray(found.x, dtype=np.float64)
