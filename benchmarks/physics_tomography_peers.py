"""Runs in an environment of its own: other solvers of the complex L1 problem on the pixels of a file.

    python physics_tomography_peers.py problem.npz answers.json

The file holds `dictionary` [N, L], `data` [P, N], `kappa`, `reference` [P, L] (solved to a gap of 1e-10),
`tolerance` and `limit_s`. Each solver is tightened by factors of ten until every pixel's objective is within
`tolerance` (of the objective of the zero profile) and every amplitude within 1e-4 (of the largest amplitude) of the
reference; the first such run counts. FISTA-type solvers are watched outside of their clock instead, which is to
their advantage.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

REFERENCE = np.empty((0, 0))


def excess_of(a: np.ndarray, y: np.ndarray, x: np.ndarray, kappa: float) -> float:
    """How much the worst pixel's objective exceeds the reference's, over that of the zero profile."""

    def objective(z: np.ndarray) -> np.ndarray:
        return 0.5 * np.sum(np.abs(y - z @ a.T) ** 2, axis=1) + kappa * np.abs(z).sum(axis=1)

    best = REFERENCE[: len(y)]
    return float(np.max((objective(x) - objective(best)) / (0.5 * np.sum(np.abs(y) ** 2, axis=1))))


def difference_of(x: np.ndarray) -> float:
    """Largest difference of an amplitude, over the largest amplitude."""
    best = REFERENCE[: len(x)]
    return float(np.abs(x - best).max() / np.abs(best).max())


def good(a: np.ndarray, y: np.ndarray, x: np.ndarray, kappa: float, tolerance: float) -> bool:
    return excess_of(a, y, x, kappa) <= tolerance and difference_of(x) <= 1e-4


def embed(a: np.ndarray) -> np.ndarray:
    """The real form: columns (Re, Im) of one atom beside each other."""
    n, atoms = a.shape
    real = np.empty((2 * n, 2 * atoms))
    real[:n, 0::2], real[:n, 1::2] = a.real, -a.imag
    real[n:, 0::2], real[n:, 1::2] = a.imag, a.real
    return np.asfortranarray(real)


def pylops_fista(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    import pylops
    from pylops.optimization.cls_sparsity import FISTA

    operator = pylops.MatrixMult(a, otherdims=(len(y),), dtype="complex128")
    step = 1.0 / np.linalg.norm(a, 2) ** 2
    solver = FISTA(operator)
    start, paused = time.process_time(), 0.0
    x = solver.setup(y=y.T.ravel(), x0=np.zeros(a.shape[1] * len(y), complex), niter=10**9, eps=2 * kappa, alpha=step)
    z = x.copy()
    while True:
        for _ in range(50):
            x, z, _ = solver.step(x, z)
        pause = time.process_time()
        done = good(a, y, x.reshape(a.shape[1], -1).T, kappa, tolerance)
        paused += time.process_time() - pause
        if done or time.process_time() - start - paused > limit:
            break
    pylops_fista.paused = paused  # type: ignore[attr-defined]
    return x.reshape(a.shape[1], -1).T


def sigpy_fista(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    import sigpy as sp

    step = 1.0 / np.linalg.norm(a, 2) ** 2
    target, adjoint = np.ascontiguousarray(y.T), np.ascontiguousarray(a.conj().T)
    x = np.zeros((a.shape[1], len(y)), complex)
    solver = sp.alg.GradientMethod(
        lambda v: adjoint @ (a @ v - target),
        x,
        step,
        proxg=lambda t, v: sp.thresh.soft_thresh(t * kappa, v),
        accelerate=True,
        max_iter=10**9,
        tol=0,
    )
    start, paused = time.process_time(), 0.0
    while True:
        for _ in range(50):
            solver.update()
        pause = time.process_time()
        done = good(a, y, solver.x.T, kappa, tolerance)
        paused += time.process_time() - pause
        if done or time.process_time() - start - paused > limit:
            break
    sigpy_fista.paused = paused  # type: ignore[attr-defined]
    return solver.x.T


def celer_group(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    from celer import GroupLasso

    design, n = embed(a), 2 * a.shape[0]
    answers = []
    for row in y:
        # celer stops at gap <= tol |y|^2 / n of the objective over n.
        model = GroupLasso(
            groups=2, alpha=kappa / n, tol=tolerance / 2, fit_intercept=False, max_iter=200, max_epochs=100000
        )
        coefficients = model.fit(design, np.concatenate([row.real, row.imag])).coef_
        answers.append(coefficients[0::2] + 1j * coefficients[1::2])
    return np.array(answers)


def skglm_group(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    from skglm import GroupLasso

    design, n = embed(a), 2 * a.shape[0]
    answers = []
    for row in y:
        # skglm stops at the violation of the optimality conditions, in units of kappa / n.
        model = GroupLasso(
            groups=2, alpha=kappa / n, tol=np.sqrt(tolerance) * 1e-2 * kappa / n, fit_intercept=False, max_iter=500
        )
        coefficients = model.fit(design, np.concatenate([row.real, row.imag])).coef_
        answers.append(coefficients[0::2] + 1j * coefficients[1::2])
    return np.array(answers)


def adelie_cov(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    import adelie as ad

    design = embed(a)
    gram = np.asfortranarray(design.T @ design)
    groups = np.arange(0, gram.shape[0], 2)
    penalty = np.ones(groups.size)
    answers = []
    for row in y:
        moments = design.T @ np.concatenate([row.real, row.imag])
        state = ad.solver.gaussian_cov(
            A=ad.matrix.dense(gram, method="cov", n_threads=1),
            v=moments,
            groups=groups,
            penalty=penalty,
            lmda_path=np.array([kappa]),
            tol=tolerance * 1e-3,
            max_iters=10**7,
            early_exit=False,
            progress_bar=False,
            n_threads=1,
        )
        coefficients = np.asarray(state.betas.todense()).ravel()
        answers.append(coefficients[0::2] + 1j * coefficients[1::2])
    return np.array(answers)


def spgl1_lasso(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    from spgl1 import spg_lasso

    answers = []
    for row, tau in zip(y, np.abs(REFERENCE).sum(axis=1)[: len(y)], strict=True):
        x, *_ = spg_lasso(a, row, tau, opt_tol=tolerance, iter_lim=100000, iscomplex=True)
        answers.append(x)
    return np.array(answers)


def clarabel_cone(a: np.ndarray, y: np.ndarray, kappa: float, tolerance: float, limit: float) -> np.ndarray:
    import cvxpy as cp

    x, target = cp.Variable(a.shape[1], complex=True), cp.Parameter(a.shape[0], complex=True)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(a @ x - target) + kappa * cp.norm1(x)))
    answers = []
    for row in y:
        target.value = row
        problem.solve(solver=cp.CLARABEL, tol_gap_rel=tolerance, tol_gap_abs=tolerance, max_threads=1)
        answers.append(x.value.copy())
    return np.array(answers)


SOLVERS: dict[str, tuple[Callable[..., np.ndarray], int, str]] = {
    "pylops": (pylops_fista, 200, "FISTA, all pixels in one matrix product"),
    "sigpy": (sigpy_fista, 200, "FISTA, all pixels in one matrix product"),
    "celer": (celer_group, 100, "group lasso (working sets, dual extrapolation) on the real form"),
    "skglm": (skglm_group, 100, "group lasso (working sets, Anderson acceleration) on the real form"),
    "adelie": (adelie_cov, 200, "group lasso on the shared Gram matrix (C++)"),
    "spgl1": (spgl1_lasso, 40, "spectral projected gradient, constrained form at the same solution"),
    "cvxpy": (clarabel_cone, 20, "second-order cone programme by Clarabel"),
}


LADDER = {"pylops", "sigpy"}  # watched from outside: one run is enough


def main() -> None:
    global REFERENCE
    problem = np.load(sys.argv[1])
    a, data, kappa = problem["dictionary"], problem["data"], float(problem["kappa"])
    tolerance, limit = float(problem["tolerance"]), float(problem["limit_s"])
    REFERENCE = problem["reference"]
    report: dict[str, Any] = {}
    for name, (solver, pixels, what) in SOLVERS.items():
        entry: dict[str, Any] = {"what": what, "version": importlib.metadata.version(name)}
        y = data[:pixels]
        try:
            solver(a, y[:2], kappa, 1e-2, 1.0)  # compile and warm up
            spent = 0.0
            for own in [tolerance] if name in LADDER else [tolerance * 10.0**-k for k in range(-2, 8)]:
                start = time.process_time()
                x = solver(a, y, kappa, own, limit)
                seconds = time.process_time() - start - getattr(solver, "paused", 0.0)
                spent += seconds
                if good(a, y, x, kappa, tolerance) or spent > limit:
                    break
        except Exception as error:
            report[name] = entry | {"failed": f"{type(error).__name__}: {error}"[:300]}
            print(name, report[name], flush=True)
            continue
        entry |= {
            "pixels": len(y),
            "cpu_seconds": seconds,
            "pixels_per_cpu_second": len(y) / seconds,
            "own_tolerance": own,
        }
        entry |= {"largest_excess": excess_of(a, y, x, kappa), "largest_difference": difference_of(x)}
        report[name] = entry | {"equal": good(a, y, x, kappa, tolerance)}
        print(name, json.dumps(report[name]), flush=True)
    with open(sys.argv[2], "w", encoding="utf-8") as stream:
        json.dump(report, stream)


if __name__ == "__main__":
    main()
