"""Optimal estimation: the state that explains a spectrum and a prior best, with its full error budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ecumene.core.errors import ConfigurationError, ContractError

Float = NDArray[np.float64]
Forward = Callable[[Float], tuple[Float, Float]]
"""States `[P, n]` to (spectra `[P, M]`, Jacobians `[P, M, n]`)."""

INVALID = 1
"""The spectrum is not finite."""
NOT_CONVERGED = 2
"""The iteration stopped before its test was met."""
POOR_FIT = 4
"""The residual is larger than noise explains (chi-square, 1e-3): the model lacks something that is there."""
FAR_FROM_PRIOR = 8
"""The state is improbable under the prior (chi-square, 1e-3)."""

OUTLIER_FLAGS = NOT_CONVERGED | POOR_FIT | FAR_FROM_PRIOR
_IMPROBABLE = 1e-3


@dataclass(frozen=True)
class Retrieval:
    """Retrieved states of P spectra; NaN where invalid.

    Attributes:
        value: States, `[P, n]`.
        standard_deviation: Posterior, `[P, n]`.
        covariance: Posterior S = (K^T Se^-1 K + Sa^-1)^-1, `[P, n, n]`.
        averaging_kernel: A = dx_hat / dx_true, `[P, n, n]`.
        noise_covariance: Part of S from measurement noise, G Se G^T.
        smoothing_covariance: Part of S from the prior, (A - I) Sa (A - I)^T.
        degrees_of_freedom: Trace of A, `[P]`.
        information_bits: 0.5 log2 |Sa| / |S|, `[P]`.
        chi_square: (y - F)^T Se^-1 (y - F), `[P]`.
        iterations: `[P]`.
        flags: Bits of this module, `[P]`.
    """

    value: Float
    standard_deviation: Float
    covariance: Float
    averaging_kernel: Float
    noise_covariance: Float
    smoothing_covariance: Float
    degrees_of_freedom: Float
    information_bits: Float
    chi_square: Float
    iterations: NDArray[np.int64]
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Spectra with a state."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Spectra whose state must not be trusted."""
        return np.asarray((self.flags & OUTLIER_FLAGS) != 0)


def _whitener(matrix: NDArray[Any], what: str, size: int) -> Float:
    """Return W with W^T W = inverse of a covariance matrix; a vector of variances gives the diagonal of W.

    Raises:
        ContractError: If its size is wrong.
        ConfigurationError: If it is not positive definite.
    """
    values = np.asarray(matrix, np.float64)
    if values.shape not in {(size,), (size, size)}:
        raise ContractError(f"The covariance of {what} must have size {size}, but its shape is {values.shape}.")
    sentence = f"The covariance of {what} is not positive definite; state positive variances."
    if values.ndim == 1:
        if not (np.isfinite(values) & (values > 0.0)).all():
            raise ConfigurationError(sentence)
        return np.asarray(1.0 / np.sqrt(values))
    try:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(values)))
    except np.linalg.LinAlgError as error:
        raise ConfigurationError(sentence) from error


def _precision(matrix: NDArray[Any], what: str, size: int) -> Float:
    root = _whitener(matrix, what, size)
    return np.diag(root**2) if root.ndim == 1 else np.asarray(root.T @ root)


def _whiten(root: Float, values: Float) -> Float:
    """Apply a whitener along axis 1 of `[P, M]` or `[P, M, n]`."""
    if root.ndim == 1:
        return np.asarray(values * root.reshape(-1, *(1,) * (values.ndim - 2)))
    return np.asarray(values @ root.T if values.ndim == 2 else root @ values)


def retrieve(
    forward: Forward,
    spectra: NDArray[Any],
    noise: NDArray[Any],
    prior: NDArray[Any],
    prior_covariance: NDArray[Any],
    *,
    linear: NDArray[np.bool_] | None = None,
    iterations: int = 30,
    tolerance: float = 0.01,
    chunk: int = 2048,
) -> Retrieval:
    """Retrieve states by optimal estimation.

    Rodgers (2000, "Inverse Methods for Atmospheric Sounding"): minimise
    `(y - F)^T Se^-1 (y - F) + (x - xa)^T Sa^-1 (x - xa)` by Levenberg-Marquardt steps (section 5.7; damped by the
    Hessian's diagonal after Marquardt 1963, adapted by the ratio of actual to predicted decrease), until the step
    is small in the posterior's metric, `dx^T S^-1 dx < tolerance n` (eq. 5.29). Batched over spectra.

    Args:
        forward: Forward model with Jacobian.
        spectra: `[P, M]`.
        noise: Measurement noise: variances `[M]` or covariance `[M, M]`.
        prior: Prior mean `[n]`, also the first guess.
        prior_covariance: Variances `[n]` or covariance `[n, n]`.
        linear: Elements in which the model is linear, `[n]`: solved for first with the others at the prior, so that
            the iteration does not start from a surface that is far off, which leads to false minima.
        iterations: Most steps.
        tolerance: See above.
        chunk: Spectra at once, which bounds memory.

    Returns:
        States with error budget.

    Raises:
        ContractError: If shapes disagree.
        ConfigurationError: If a covariance is not positive definite, or iterations or tolerance are out of range.
    """
    if iterations < 1 or not tolerance > 0.0 or chunk < 1:
        raise ConfigurationError(
            "Optimal estimation needs positive numbers of iterations and spectra, and a positive tolerance."
        )
    y = np.atleast_2d(np.asarray(spectra, np.float64))
    mean = np.asarray(prior, np.float64)
    if mean.ndim != 1 or not np.isfinite(mean).all():
        raise ContractError("The prior mean must be a finite vector.")
    root = _whitener(noise, "the measurement noise", y.shape[1])
    precision = _precision(prior_covariance, "the prior", mean.size)
    if forward(mean[None])[0].shape[1] != y.shape[1]:
        raise ContractError("Spectra, noise and forward model must have the same bands.")

    def whitened(state: Float) -> tuple[Float, Float]:
        spectrum, jacobian = forward(state)
        return _whiten(root, spectrum), _whiten(root, jacobian)

    chosen = np.zeros(mean.size, np.bool_) if linear is None else np.asarray(linear, np.bool_)
    if chosen.shape != mean.shape:
        raise ContractError("The mask of linear elements must be as long as the state.")
    parts = [
        _retrieve_chunk(
            whitened, _whiten(root, y[start : start + chunk]), mean, precision, chosen, iterations, tolerance
        )
        for start in range(0, len(y), chunk)
    ]
    fields = Retrieval.__dataclass_fields__
    return Retrieval(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


def _cost(residual: Float, step: Float, precision: Float) -> tuple[Float, Float]:
    """Return (chi-square of the fit, total cost), `[P]` each; the residual is whitened."""
    fit = np.einsum("pm,pm->p", residual, residual)
    return fit, fit + np.einsum("pn,pn->p", step @ precision, step)


def fit_linear(
    forward: Forward,
    spectra: Float,
    deviation: Float,
    state: Float,
    prior: Float,
    precision: Float,
    linear: NDArray[np.bool_],
) -> tuple[Float, Float]:
    """Fit the linear elements of states whose other elements are given.

    Args:
        forward: Forward model.
        spectra: `[P, M]`.
        deviation: Noise, one standard deviation, `[M]`.
        state: `[P, n]`; its linear elements are replaced.
        prior: Mean `[n]`.
        precision: Inverse prior covariance `[n, n]`.
        linear: Linear elements `[n]`, at least one.

    Returns:
        (states `[P, n]`, chi-square of the fit `[P]`).
    """
    start = np.where(linear, prior, state)
    modelled, jacobian = forward(start)
    k = jacobian[:, :, linear] / deviation[:, None]
    residual = (spectra - modelled) / deviation
    normal = k.transpose(0, 2, 1) @ k + precision[np.ix_(linear, linear)]
    move = np.linalg.solve(normal, k.transpose(0, 2, 1) @ residual[..., None])
    left = residual - (k @ move)[..., 0]
    start[:, linear] += move[..., 0]
    return start, np.asarray((left**2).sum(axis=1))


def _first_guess(forward: Forward, target: Float, mean: Float, precision: Float, linear: NDArray[np.bool_]) -> Float:
    """Return states `[P, n]`: the prior with its linear elements fitted to whitened spectra."""
    x = np.tile(mean, (len(target), 1))
    if linear.any():
        modelled, jacobian = (values[0] for values in forward(mean[None]))
        k = jacobian[:, linear]
        normal = k.T @ k + precision[np.ix_(linear, linear)]
        x[:, linear] += np.linalg.solve(normal, k.T @ (target - modelled).T).T
    return x


def _retrieve_chunk(
    forward: Forward,
    y: Float,
    mean: Float,
    precision: Float,
    linear: NDArray[np.bool_],
    iterations: int,
    tolerance: float,
) -> Retrieval:
    """Retrieve whitened spectra with a whitened forward model."""
    finite = np.asarray(np.isfinite(y).all(axis=1))
    target = np.where(finite[:, None], y, forward(mean[None])[0])
    x = _first_guess(forward, target, mean, precision, linear)
    modelled, jacobian = forward(x)
    damping = np.full(len(y), 1e-2)
    unfinished = np.ones(len(y), np.bool_)
    steps = np.zeros(len(y), np.int64)
    _, cost = _cost(target - modelled, x - mean, precision)
    for _ in range(iterations):
        active = np.flatnonzero(unfinished)
        if active.size == 0:
            break
        k, residual, away = jacobian[active], target[active] - modelled[active], x[active] - mean
        hessian = k.transpose(0, 2, 1) @ k + precision
        gradient = (k.transpose(0, 2, 1) @ residual[..., None])[..., 0] - away @ precision
        damped = hessian + damping[active][:, None, None] * (hessian * np.eye(mean.size))
        move = np.linalg.solve(damped, gradient[..., None])[..., 0]
        trial = x[active] + move
        there, slope = forward(trial)
        _, after = _cost(target[active] - there, trial - mean, precision)
        before = cost[active]
        better = np.isfinite(after) & (after <= before * (1.0 + 1e-12))
        chosen = active[better]
        x[chosen], modelled[chosen], jacobian[chosen] = trial[better], there[better], slope[better]
        cost[chosen] = after[better]
        # Cost without factor 1/2: the quadratic model predicts a decrease of 2 g^T dx - dx^T H dx.
        size = np.einsum("pn,pnk,pk->p", move, hessian, move)
        predicted = 2.0 * np.einsum("pn,pn->p", gradient, move) - size
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.where(better, (before - after) / np.maximum(predicted, 1e-300), -1.0)
        factor = np.where(gain > 0.75, 0.1, np.where(gain > 0.25, 1.0, 10.0))
        damping[active] = np.clip(damping[active] * factor, 1e-9, 1e9)
        steps[active] += 1
        unfinished[active] = ~(better & (size < tolerance * mean.size))
    return _budget(finite, ~unfinished, x, target - modelled, jacobian, mean, precision, steps)


def _budget(
    finite: NDArray[np.bool_],
    converged: NDArray[np.bool_],
    x: Float,
    residual: Float,
    jacobian: Float,
    mean: Float,
    precision: Float,
    steps: NDArray[np.int64],
) -> Retrieval:
    """Characterise the solution (Rodgers 2000, chapter 3) and flag what must not be trusted."""
    information = jacobian.transpose(0, 2, 1) @ jacobian
    hessian = information + precision
    covariance = np.linalg.inv(hessian)
    kernel = covariance @ information
    noise_part = kernel @ covariance
    prior_covariance = np.linalg.inv(precision)
    rest = kernel - np.eye(mean.size)
    smoothing = rest @ prior_covariance @ rest.transpose(0, 2, 1)
    fit, total = _cost(residual, x - mean, precision)
    away = total - fit
    flags = np.where(converged, 0, NOT_CONVERGED).astype(np.uint8)
    # At the minimum the whole cost is chi-square with as many degrees of freedom as measurements.
    flags |= np.where(chi2.sf(total, residual.shape[1]) < _IMPROBABLE, POOR_FIT, 0).astype(np.uint8)
    flags |= np.where(chi2.sf(away, mean.size) < _IMPROBABLE, FAR_FROM_PRIOR, 0).astype(np.uint8)
    flags = np.where(finite, flags, INVALID).astype(np.uint8)
    bits = 0.5 * (np.linalg.slogdet(hessian)[1] - np.linalg.slogdet(precision)[1]) / np.log(2.0)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))

    def masked(values: NDArray[Any]) -> Float:
        return np.where(finite.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan)

    return Retrieval(
        masked(x),
        masked(deviation),
        masked(covariance),
        masked(kernel),
        masked(noise_part),
        masked(smoothing),
        masked(np.trace(kernel, axis1=1, axis2=2)),
        masked(bits),
        masked(fit),
        steps,
        flags,
    )


def parameter_error(
    retrieval: Retrieval, forward: Forward, noise: NDArray[Any], sensitivity: Float, variance: float
) -> Float:
    """Return the covariance that an uncertain fixed parameter b adds, `G Kb Sb Kb^T G^T` (Rodgers 2000, eq. 3.16).

    Args:
        retrieval: Retrieved states.
        forward: The forward model of the retrieval.
        noise: Its noise, as in `retrieve`.
        sensitivity: Kb = dF/db at the states, `[P, M]`.
        variance: Of b.

    Returns:
        `[P, n, n]`.
    """
    jacobian = forward(retrieval.value)[1]
    root = _whitener(noise, "the measurement noise", jacobian.shape[1])
    gain = retrieval.covariance @ _whiten(root, jacobian).transpose(0, 2, 1)
    shift = (gain @ _whiten(root, np.atleast_2d(sensitivity))[..., None])[..., 0]
    return np.asarray(variance * shift[:, :, None] * shift[:, None, :])
