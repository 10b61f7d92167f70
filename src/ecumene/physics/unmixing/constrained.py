"""Abundances by constrained least squares: fully constrained, non-negative, sum-to-one, unconstrained.

The linear mixing model is y = E a + n, spectra y `[B]`, endmembers E `[B, p]`, abundances a `[p]`. Minimising
|y - E a|^2 under a >= 0 and 1'a = 1 is a strictly convex quadratic programme; a is its solution exactly if a
multiplier nu exists with

    E'(E a - y) + nu 1 = lambda >= 0,   lambda_i a_i = 0,   a >= 0,   1'a = 1    (Karush-Kuhn-Tucker).

Heinz and Chang (2001, IEEE TGRS 39(3):529-545) solve it by non-negative least squares with a heavily weighted
extra row, which meets the sum only nearly. Here it is solved exactly by a primal active-set method on the Gram
matrix (Nocedal and Wright 2006, Numerical Optimization, section 16.5), as fast non-negative least squares (Bro and
de Jong 1997, J. Chemometrics 11:393-401) does without the sum, with two differences: the sum is kept by
elimination, and for few endmembers the optimal support is first looked for by block exchanges from the pixel
before's support with tabulated maps, accepted only if all conditions hold.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.threads import run_ranges
from ecumene.physics.unmixing.checks import check_endmembers, check_spectra
from ecumene.physics.unmixing.error_kernels import fit_errors
from ecumene.physics.unmixing.kernels import correlate, solve_pixels, tabulate, tabulate_multipliers
from ecumene.physics.unmixing.result import INVALID, NOT_CONVERGED, POOR_FIT, Abundances

Constraint = Literal["fcls", "scaled", "nnls", "scls", "ucls"]
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)

TABULATED = 10
"""Most endmembers for which the maps of all supports are tabulated (1,024 matrices)."""

POOR_FIT_PROBABILITY = 1e-4
"""A residual this improbable under the given noise flags the pixel."""

_BLOCK = 8192  # pixels that share a warm start; fixed, so that results do not depend on the number of threads


def solve_abundances(
    spectra: Any, endmembers: Any, *, sum_to_one: bool = True, threads: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Solve for non-negative abundances only, without error bars: the fast path.

    Args:
        spectra: `[P, B]`, any unit; float32 or float64.
        endmembers: `[B, p]`, same unit.
        sum_to_one: Whether abundances of a pixel sum to one (FCLS) or not (NNLS).
        threads: Threads; None: all processors that this process may use. Results do not depend on it.

    Returns:
        (abundances `[P, p]`, NaN where the spectrum is not finite; whether the optimality conditions hold `[P]`).

    Raises:
        ConfigurationError: If the endmembers are linearly dependent or not finite.
        ContractError: If the numbers of bands differ.
    """
    matrix = check_endmembers(endmembers)
    return _Problem(matrix, sum_to_one).solve(check_spectra(spectra, matrix.shape[0]), threads)


def fcls(spectra: Any, endmembers: Any, **options: Any) -> Abundances:
    """Fully constrained least squares (a >= 0, 1'a = 1) with error bars; see `unmix` for the options."""
    return unmix(spectra, endmembers, constraint="fcls", **options)


def nnls(spectra: Any, endmembers: Any, **options: Any) -> Abundances:
    """Non-negative least squares (a >= 0) with error bars; see `unmix` for the options."""
    return unmix(spectra, endmembers, constraint="nnls", **options)


def unmix(
    spectra: Any,
    endmembers: Any,
    *,
    constraint: Constraint = "fcls",
    noise: Any = None,
    residual_correlation: Any = None,
    residual_limit: float | None = None,
    threads: int | None = None,
) -> Abundances:
    """Estimate abundances with standard deviations and flags.

    Standard deviations follow from linear propagation on each pixel's support S. With the noise covariance
    s^2 R the estimate on S is a = K c + w, so Cov(a) = s^2 K E'R E K (the sandwich; for R = 1 it is s^2 K, which is
    the Cramer-Rao bound for S known). A share at zero gets the root mean square of its profile likelihood above
    zero, a Gaussian of mean -lambda_i / d_i and variance s^2 v'E'R E v / d_i^2 that is cut off at zero, where v is
    the feasible direction that raises share i and d_i = v'E'E v; what v takes from the shares on the support is
    added to their variance.

    Args:
        spectra: `[P, B]`; not finite: no data.
        endmembers: `[B, p]`.
        constraint: `fcls` (both constraints), `nnls` (sign), `scls` (sum), `ucls` (none), or `scaled`: `nnls`
            divided by its sum, which leaves each pixel its own brightness (slopes, shade; Drumetz et al. 2016, IEEE
            TIP 25(8):3890-3905, call it SCLSU).
        noise: Standard deviation of the noise, a number or `[B]`, or its covariance `[B, B]`; spectra are whitened
            by it (generalised least squares) and a chi-square test flags poor fits. None: s^2 is each pixel's
            residual variance RSS / tr((1 - E K E') R), RSS / (B - free parameters) for R = 1, which includes what
            the model cannot explain.
        residual_correlation: R `[B, B]` with unit diagonal, for errors that go along with their neighbours in
            the spectrum, as model errors do (`estimate_residual_correlation`); not together with `noise`.
        residual_limit: Root mean square residual above which a pixel is flagged POOR_FIT (`robust_limit`).
        threads: Threads; results do not depend on them.

    Returns:
        The abundances.

    Raises:
        ConfigurationError: If endmembers are dependent, or an option is wrong.
        ContractError: If the numbers of bands differ.
    """
    matrix = check_endmembers(endmembers)
    data = check_spectra(spectra, matrix.shape[0])
    if noise is not None and residual_correlation is not None:
        raise ConfigurationError("Give either the noise or the residual correlation; the noise already has one.")
    if constraint not in CONSTRAINTS:
        raise ConfigurationError(f"There is no constraint {constraint!r}; use one of {', '.join(CONSTRAINTS)}.")
    if noise is not None:
        whitener = _whitener(noise, matrix.shape[0])
        matrix, data = whitener @ matrix, data @ whitener.T
    sum_to_one = constraint in ("fcls", "scls")
    problem = _Problem(matrix, sum_to_one)
    if constraint in ("fcls", "scaled", "nnls"):
        value, converged = problem.solve(data, threads)
        scaled = constraint == "scaled"
        residual, deviation = problem.errors(data, value, scaled, noise is not None, residual_correlation, threads)
        if scaled:
            total = value.sum(axis=1, keepdims=True)
            value = np.divide(value, total, out=np.full_like(value, np.nan), where=total > 0)
    else:
        value, residual, deviation = problem.equality(data, noise is not None, residual_correlation)
        converged = np.isfinite(value[:, 0])
    return _assemble(value, deviation, residual, converged, matrix, sum_to_one, noise is not None, residual_limit)


def kkt_violation(spectra: Any, endmembers: Any, abundances: Any, *, sum_to_one: bool = True) -> NDArray[np.float64]:
    """Return how far each pixel is from the Karush-Kuhn-Tucker conditions, from the data themselves.

    Args:
        spectra: `[P, B]`.
        endmembers: `[B, p]`.
        abundances: `[P, p]`.
        sum_to_one: Whether the sum is a constraint.

    Returns:
        `[P]`: the largest of -a_i, |1'a - 1|, and, relative to max(max diag E'E, max |E'y|), -lambda_i and
        |lambda_i a_i|. nu is the abundance-weighted mean of the gradient.
    """
    matrix, data, a = check_endmembers(endmembers), check_spectra(spectra), np.asarray(abundances, dtype=np.float64)
    correlation = data @ matrix
    gradient = (a @ matrix.T - data) @ matrix
    scale = np.maximum(np.max(np.sum(matrix**2, axis=0)), np.max(np.abs(correlation), axis=1))
    violation = np.maximum(0.0, -a.min(axis=1))
    multiplier = gradient
    if sum_to_one:
        total = a.sum(axis=1)
        multiplier = gradient - (np.sum(a * gradient, axis=1) / total)[:, None]
        violation = np.maximum(violation, np.abs(total - 1.0))
    dual = np.maximum(np.maximum(0.0, -multiplier.min(axis=1)), np.abs(multiplier * a).max(axis=1)) / scale
    return np.asarray(np.maximum(violation, dual))


def _whitener(noise: Any, bands: int) -> NDArray[np.float64]:
    """Return W with W Cov W' = 1."""
    value = np.asarray(noise, dtype=np.float64)
    if value.ndim < 2:
        deviation = np.broadcast_to(value, (bands,)) if value.ndim == 0 or value.shape == (bands,) else np.zeros(1)
        if not (np.isfinite(deviation).all() and (deviation > 0).all()):
            raise ConfigurationError(f"The noise must be one positive number, or {bands} of them, one a band.")
        return np.diag(1.0 / deviation)
    if value.shape != (bands, bands) or not np.isfinite(value).all():
        raise ConfigurationError(f"A noise covariance must be a finite matrix [{bands}, {bands}].")
    try:
        factor = np.linalg.cholesky(value)
    except np.linalg.LinAlgError as error:
        raise ConfigurationError(
            "The noise covariance is not positive definite; estimate it from more pixels."
        ) from error
    return np.asarray(np.linalg.inv(factor))


class _Problem:
    """One endmember set: Gram matrix and the maps of its supports."""

    def __init__(self, matrix: NDArray[np.float64], sum_to_one: bool) -> None:
        self.matrix, self.sum_to_one = matrix, sum_to_one
        self.gram = np.ascontiguousarray(matrix.T @ matrix)
        p = matrix.shape[1]
        supports = 1 << p if p <= TABULATED else 1
        self.rows = np.ascontiguousarray(matrix.T)
        self.tables, self.offsets = np.zeros((supports, p, p)), np.zeros((supports, p))
        self.maps = (self.tables, self.offsets, np.zeros((supports, p, p)), np.zeros((supports, p)))
        if supports > 1:
            tabulate(self.gram, sum_to_one, self.tables, self.offsets)
            tabulate_multipliers(self.gram, sum_to_one, *self.maps)

    def solve(self, data: NDArray[Any], threads: int | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return (abundances, converged)."""
        value = np.empty((data.shape[0], self.matrix.shape[1]))
        converged = np.empty(data.shape[0], dtype=np.bool_)

        def block(start: int, stop: int) -> None:
            part = slice(start, stop)
            correlation = np.empty((stop - start, self.matrix.shape[1]))
            correlate(np.ascontiguousarray(data[part]), self.rows, correlation)
            solve_pixels(self.gram, correlation, self.sum_to_one, self.maps, value[part], converged[part])

        run_ranges(block, data.shape[0], threads, length=_BLOCK)
        return value, converged

    def spread(self, correlation: Any) -> NDArray[np.float64]:
        """Return E'R E."""
        if correlation is None:
            return self.gram
        matrix = np.asarray(correlation, dtype=np.float64)
        if matrix.shape != (self.matrix.shape[0],) * 2 or not np.isfinite(matrix).all():
            raise ConfigurationError(
                f"The residual correlation must be a finite matrix with {self.matrix.shape[0]} bands."
            )
        return np.ascontiguousarray(self.matrix.T @ matrix @ self.matrix)

    def errors(
        self,
        data: NDArray[Any],
        value: NDArray[np.float64],
        scaled: bool,
        known: bool,
        correlation: Any,
        threads: int | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (residual sums of squares `[P]`, standard deviations `[P, p]`)."""
        residual, deviation = np.empty(data.shape[0]), np.empty(value.shape)
        moments = (self.gram, self.spread(correlation))

        def block(start: int, stop: int) -> None:
            part = slice(start, stop)
            pixels = np.ascontiguousarray(data[part], dtype=np.float64)
            fit_errors(
                pixels,
                self.rows,
                moments,
                pixels @ self.matrix,
                value[part],
                (self.sum_to_one, scaled, known),
                self.tables,
                self.offsets,
                residual[part],
                deviation[part],
            )

        run_ranges(block, data.shape[0], threads, length=_BLOCK)
        return residual, deviation

    def equality(
        self, data: NDArray[Any], known: bool, correlation: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return (abundances, residual sums of squares, standard deviations) without the sign constraint."""
        p = self.matrix.shape[1]
        inverse = np.linalg.inv(self.gram)
        offset = np.zeros(p)
        if self.sum_to_one:
            sums = inverse.sum(axis=1)
            offset = sums / sums.sum()
            inverse = inverse - np.outer(sums, offset)
        value = data @ (self.matrix @ inverse.T) + offset
        residual = np.asarray(np.sum((data - value @ self.matrix.T) ** 2, axis=1), dtype=np.float64)
        covariance = np.diag(inverse @ self.spread(correlation) @ inverse.T)
        freedom = max(self.matrix.shape[0] - float(np.sum(inverse * self.spread(correlation).T)), 1e-3)
        variance = np.ones_like(residual) if known else residual / freedom
        deviation = np.sqrt(np.maximum(covariance, 0.0)[None] * variance[:, None])
        broken = ~np.isfinite(value).all(axis=1)
        value[broken], deviation[broken], residual[broken] = np.nan, np.nan, np.nan
        return value.astype(np.float64), residual, deviation


def _assemble(
    value: NDArray[np.float64],
    deviation: NDArray[np.float64],
    residual: NDArray[np.float64],
    converged: NDArray[np.bool_],
    matrix: NDArray[np.float64],
    sum_to_one: bool,
    known: bool,
    limit: float | None,
) -> Abundances:
    from scipy.stats import chi2

    bands = matrix.shape[0]
    invalid = ~np.isfinite(value[:, 0])
    rms = np.sqrt(residual / bands)
    poor = np.zeros(invalid.shape, dtype=bool)
    if known:
        freedom = np.maximum(bands - np.count_nonzero(value, axis=1) + int(sum_to_one), 1)
        poor |= chi2.sf(np.nan_to_num(residual), freedom) < POOR_FIT_PROBABILITY
    if limit is not None:
        poor |= np.nan_to_num(rms) > limit
    flags = np.where(invalid, INVALID, poor * POOR_FIT | ~converged * NOT_CONVERGED).astype(np.uint8)
    return Abundances(value=value, standard_deviation=deviation, residual_rms=rms, flags=flags)
