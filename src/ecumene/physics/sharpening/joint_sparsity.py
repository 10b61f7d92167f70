"""The joint sparsity model: signals of one group use the same few atoms of a dictionary.

    min_X 1/2 |Y - D X|_F^2 + lambda sum_rows |x_i|_2

Signals are the bands of one patch, or neighbouring pixels; atoms are patches or library spectra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.unmixing.sparse import group_threshold


@dataclass(frozen=True)
class JointCode:
    """Coefficients of a group of signals.

    Attributes:
        coefficients: `[K, q]`; rows outside of the support are zero.
        support: Atoms in use, ascending.
        objective: Value of the objective at the end (of 1/2 |Y - D X|^2 for the greedy solver).
        iterations: Made.
        converged: Whether the tolerance (or, greedily, the residual) was reached.
    """

    coefficients: NDArray[np.float64]
    support: NDArray[np.int64]
    objective: float
    iterations: int
    converged: bool


def joint_sparse_code(
    signals: Any,
    dictionary: Any,
    weight: float,
    *,
    nonnegative: bool = False,
    tolerance: float = 1e-8,
    max_iterations: int = 5000,
) -> JointCode:
    """Solve the L2,1 problem by FISTA (Beck and Teboulle 2009, SIAM J. Imaging Sciences 2(1):183-202).

    With momentum restarted where it points uphill (O'Donoghue and Candes 2015). Stops when the duality gap,
    relative to the objective, is below the tolerance: the solution's objective is then proved to be that close.

    Args:
        signals: Y `[n, q]`.
        dictionary: D `[n, K]`.
        weight: lambda >= 0.
        nonnegative: X >= 0 (the gap is then an upper bound).
        tolerance: Relative duality gap.
        max_iterations: At most.

    Raises:
        ConfigurationError: If shapes do not fit, something is not finite, or the weight is negative.
    """
    y, d = _checked(signals, dictionary)
    if not (np.isfinite(weight) and weight >= 0):
        raise ConfigurationError(f"The weight of joint sparsity must be zero or positive, but is {weight}.")
    step = 1.0 / max(float(np.linalg.norm(d, 2)) ** 2, 1e-300)
    x = np.zeros((d.shape[1], y.shape[1]))
    ahead, momentum = x, 1.0
    objective = 0.5 * float(np.sum(y**2))
    scale = max(objective, 1e-300)
    iteration, converged = 0, False
    for iteration in range(1, max_iterations + 1):
        moved = ahead - step * (d.T @ (d @ ahead - y))
        moved = np.maximum(moved, 0.0) if nonnegative else moved
        new = group_threshold(moved, step * weight, axis=1)
        if np.sum((ahead - new) * (new - x)) > 0:
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        ahead = new + (momentum - 1.0) / following * (new - x)
        x, momentum = new, following
        if iteration % 10 == 0:
            objective, gap = _gap(y, d, x, weight, nonnegative)
            if gap <= tolerance * scale:
                converged = True
                break
    objective, gap = _gap(y, d, x, weight, nonnegative)
    support = np.flatnonzero(np.any(x != 0, axis=1))
    return JointCode(x, support, objective, iteration, converged or gap <= tolerance * scale)


def joint_matching_pursuit(signals: Any, dictionary: Any, atoms: int, *, residual: float = 0.0) -> JointCode:
    """Choose atoms greedily for all signals together by simultaneous orthogonal matching pursuit (SOMP).

    Tropp, Gilbert and Strauss (2006), Signal Processing 86(3):572-588.

    Args:
        signals: Y `[n, q]`.
        dictionary: D `[n, K]`; atoms are compared at unit length.
        atoms: At most.
        residual: Stop when |Y - D X|_F falls to this part of |Y|_F.

    Raises:
        ConfigurationError: If shapes do not fit, something is not finite, or `atoms` is not positive.
    """
    y, d = _checked(signals, dictionary)
    if atoms < 1:
        raise ConfigurationError(f"At least one atom is needed, but {atoms} were asked for.")
    length = np.linalg.norm(d, axis=0)
    safe = np.where(length > 0, length, np.inf)
    chosen: list[int] = []
    rest: NDArray[Any] = y
    goal = residual * float(np.linalg.norm(y))
    solution: NDArray[Any] = np.zeros((0, y.shape[1]))
    while len(chosen) < min(atoms, d.shape[1]) and float(np.linalg.norm(rest)) > goal:
        match = np.sum(np.abs(d.T @ rest), axis=1) / safe
        match[chosen] = -1.0
        best = int(np.argmax(match))
        if match[best] <= 1e-12 * float(np.linalg.norm(y)):
            break
        chosen.append(best)
        solution, *_ = np.linalg.lstsq(d[:, chosen], y, rcond=None)
        rest = y - d[:, chosen] @ solution
    coefficients = np.zeros((d.shape[1], y.shape[1]))
    coefficients[chosen] = solution
    error = float(np.linalg.norm(rest))
    support = np.array(sorted(chosen), dtype=np.int64)
    return JointCode(coefficients, support, 0.5 * error * error, len(chosen), error <= goal)


def _checked(signals: Any, dictionary: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, d = np.asarray(signals, dtype=np.float64), np.asarray(dictionary, dtype=np.float64)
    if y.ndim != 2 or d.ndim != 2 or len(y) != len(d) or 0 in (*y.shape, *d.shape):
        raise ConfigurationError(f"Signals {y.shape} and dictionary {d.shape} must be matrices with equally many rows.")
    if not (np.isfinite(y).all() and np.isfinite(d).all()):
        raise ConfigurationError("Signals and dictionary must be finite; leave out values without data.")
    return y, d


def _gap(
    y: NDArray[np.float64], d: NDArray[np.float64], x: NDArray[np.float64], weight: float, nonnegative: bool
) -> tuple[float, float]:
    """Return (objective, duality gap) with the scaled residual as dual point."""
    rest = y - d @ x
    objective = 0.5 * float(np.sum(rest**2)) + weight * float(np.sum(np.linalg.norm(x, axis=1)))
    against = d.T @ rest
    against = np.maximum(against, 0.0) if nonnegative else against
    largest = float(np.max(np.linalg.norm(against, axis=1)))
    scale = 1.0 if largest <= weight else weight / largest
    dual = 0.5 * float(np.sum(y**2)) - 0.5 * float(np.sum((scale * rest - y) ** 2))
    return objective, objective - dual
