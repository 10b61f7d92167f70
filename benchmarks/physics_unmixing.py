"""Unmixing on real cubes with references, and the speed of exact fully constrained least squares.

    python benchmarks/physics_unmixing.py            # results to benchmarks/results/physics_unmixing.json
    python benchmarks/physics_unmixing.py --quick    # fewer seeds and repetitions, prints only

Goals: FCLS with Jasper Ridge's own endmembers reaches an abundance RMSE of 0.079 (a value published with a soft
sum-to-one constraint; both are measured here); FCLS is 50 times as fast as a loop over scipy's NNLS and meets the
Karush-Kuhn-Tucker conditions to 1e-6.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.optimize import nnls as scipy_nnls

from common import data_root, data_set, store
from ecumene.physics.unmixing import (
    CONSTRAINTS,
    compare_with_reference,
    estimate_residual_correlation,
    fcls,
    hysime,
    kkt_violation,
    n_findr,
    ppi,
    robust_limit,
    solve_abundances,
    sunsal,
    sunsal_tv,
    unmix,
    vca,
)

SUM_WEIGHT = 1e3  # of the appended row in the NNLS loop, in units of reflectance: the sum is met to about 1e-5
Cube = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[int, int]]


def jasper_ridge(folder: Path) -> tuple[Cube, list[Path]]:
    """Return ((spectra `[P, B]`, endmembers, abundances `[P, p]`, rows and columns), files)."""
    files = [folder / "jasperRidge2_R198.mat", folder / "jasperRidge2_end4.mat"]
    scene, reference = loadmat(files[0]), loadmat(files[1])
    spectra = np.ascontiguousarray(scene["Y"].T / float(scene["maxValue"][0, 0]))
    return (spectra, reference["M"].astype(float), reference["A"].T.astype(float), (100, 100)), files


def samson(folder: Path) -> tuple[Cube, list[Path]]:
    """Return Samson; its reference spectra are scaled to 1, so each gets the least-squares scale of the references."""
    files = [folder / "samson.mat"]
    scene = loadmat(files[0])
    spectra = np.ascontiguousarray(scene["Y"].T)
    shares = scene["S_GT"].reshape(-1, 3, order="F")
    ends = scene["GT"].T
    design = np.column_stack([np.outer(shares[:, k], ends[:, k]).ravel() for k in range(3)])
    scale = np.linalg.lstsq(design, spectra.ravel(), rcond=None)[0]
    return (spectra, ends * scale, shares, (95, 95)), files


def _rmse(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def given_endmembers(cube: Cube) -> dict[str, Any]:
    """Abundance RMSE of every constraint, with the coverage of the error bars, and of sparse methods."""
    spectra, ends, shares, shape = cube
    correlation = estimate_residual_correlation(spectra, ends)
    result: dict[str, Any] = {}
    for constraint in CONSTRAINTS:
        plain = unmix(spectra, ends, constraint=constraint)
        wide = unmix(spectra, ends, constraint=constraint, residual_correlation=correlation)
        error = np.abs(plain.value - shares)
        result[constraint] = {
            "abundance_rmse": _rmse(plain.value, shares),
            "correlation": [float(np.corrcoef(plain.value[:, k], shares[:, k])[0, 1]) for k in range(ends.shape[1])],
            "reference_within_1_sigma": float(np.mean(error <= wide.standard_deviation)),
            "reference_within_2_sigma": float(np.mean(error <= 2 * wide.standard_deviation)),
            "reference_within_1_sigma_white_noise": float(np.mean(error <= plain.standard_deviation)),
            "outliers": float(np.mean(wide.residual_rms > robust_limit(wide.residual_rms))),
        }
    rows, cols = shape
    image = spectra.reshape(cols, rows, -1)  # column-major pixels: the neighbours are the same
    for weight in (1e-3, 1e-2):
        found = sunsal(spectra, ends, weight)
        tv = sunsal_tv(image, ends, weight, 1e-2)
        for name, value, converged in (
            (f"sunsal_{weight:g}", found.value, found.converged),
            (f"sunsal_tv_{weight:g}_0.01", tv.value.reshape(-1, ends.shape[1]), tv.converged),
        ):
            total = np.maximum(value.sum(axis=1, keepdims=True), 1e-12)
            result[name] = {"abundance_rmse": _rmse(value / total, shares), "converged": converged}
    return result


def soft_sum(cube: Cube, weights: tuple[float, ...]) -> dict[str, Any]:
    """FCLS as it is often done: NNLS with a weighted row of ones, for several weights."""
    spectra, ends, shares, _ = cube
    result = {}
    for weight in weights:
        extended = np.vstack([ends, np.full((1, ends.shape[1]), weight)])
        target = np.column_stack([spectra, np.full(len(spectra), weight)])
        value, _ = solve_abundances(target, extended, sum_to_one=False)
        result[f"{weight:g}"] = {
            "abundance_rmse": _rmse(value, shares),
            "largest_deviation_of_the_sum": float(np.abs(value.sum(axis=1) - 1).max()),
        }
    return result


def blind(cube: Cube, seeds: int) -> dict[str, Any]:
    """Endmembers from the image: spectral angles and abundance RMSE after matching, over random starts."""
    spectra, ends, shares, _ = cube
    count = ends.shape[1]
    methods = {"vca": vca, "n_findr": n_findr, "ppi": lambda y, p, seed: ppi(y, p, seed=seed)[0]}
    result: dict[str, Any] = {}
    for name, method in methods.items():
        angles, errors = [], {"fcls": [], "scaled": []}
        for seed in range(seeds):
            found = method(spectra, count, seed=seed)
            for constraint, values in errors.items():
                accuracy = compare_with_reference(
                    found.spectra, ends, unmix(spectra, found.spectra, constraint=constraint).value, shares
                )
                values.append(accuracy.abundance_rmse)
            angles.append(float(accuracy.angle_deg.mean()))
        result[name] = {
            "seeds": seeds,
            "mean_angle_deg": {"median": float(np.median(angles)), "best": min(angles), "worst": max(angles)},
            "abundance_rmse": {
                key: {"median": float(np.median(v)), "best": min(v), "worst": max(v)} for key, v in errors.items()
            },
        }
    result["hysime_dimension"] = hysime(spectra).dimension
    result["reference_endmembers"] = count
    return result


def speed(cube: Cube, repetitions: int, loop_pixels: int) -> dict[str, Any]:
    """Pixels a second of exact FCLS against a loop over scipy's NNLS with an appended row; best of interleaved runs.

    One thread is compared by processor time, which other load on the machine disturbs less; wall time is given too.
    """
    spectra, ends, _, _ = cube
    rng = np.random.default_rng(0)
    extended = np.vstack([ends, np.full((1, ends.shape[1]), SUM_WEIGHT)])
    threads = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {"pixels": 100_000, "loop_pixels": loop_pixels, "repetitions": repetitions}
    result |= {"threads": threads, "goal_ratio": 50, "goal_kkt": 1e-6}
    for order, index in (
        ("image_order", np.tile(np.arange(len(spectra)), 10)),
        ("random_order", rng.integers(0, len(spectra), 100_000)),
    ):
        pixels = np.ascontiguousarray(spectra[index])
        targets = np.column_stack([pixels[:loop_pixels], np.full(loop_pixels, SUM_WEIGHT)])
        runs = {
            "loop": (lambda t=targets: np.array([scipy_nnls(extended, row)[0] for row in t]), loop_pixels),
            "one_thread": (lambda y=pixels: solve_abundances(y, ends, threads=1), len(pixels)),
            "all_threads": (lambda y=pixels: solve_abundances(y, ends, threads=threads), len(pixels)),
            "with_errors": (lambda y=pixels: fcls(y, ends, threads=threads), len(pixels)),
        }
        wall, processor = {name: [] for name in runs}, {name: [] for name in runs}
        for repetition in range(repetitions + 1):
            for name, (call, count) in runs.items():
                start = time.perf_counter(), time.process_time()
                call()
                if repetition:  # the first one compiles
                    wall[name].append((time.perf_counter() - start[0]) / count)
                    processor[name].append((time.process_time() - start[1]) / count)
        loop, (exact, converged) = runs["loop"][0](), solve_abundances(pixels, ends)
        result[order] = {
            "load_average": os.getloadavg()[0],
            "pixels_a_second_wall": {name: 1.0 / min(values) for name, values in wall.items()},
            "microseconds_of_processor_a_pixel": {name: 1e6 * min(values) for name, values in processor.items()},
            "ratio_one_thread_processor_time": min(processor["loop"]) / min(processor["one_thread"]),
            "ratio_one_thread_wall": min(wall["loop"]) / min(wall["one_thread"]),
            "ratio_one_thread_wall_median": float(np.median(np.array(wall["loop"]) / np.array(wall["one_thread"]))),
            "ratio_all_threads_wall": min(wall["loop"]) / min(wall["all_threads"]),
            "kkt_violation": float(kkt_violation(pixels, ends, exact).max()),
            "kkt_violation_of_the_loop": float(kkt_violation(pixels[:loop_pixels], ends, loop).max()),
            "converged": bool(converged.all()),
            "largest_difference_to_the_loop": float(np.abs(loop - exact[:loop_pixels]).max()),
        }
    return result


def simulated(quick: bool) -> dict[str, Any]:
    """Calibration of the error bars and recovery of the number of endmembers where the truth is known."""
    rng = np.random.default_rng(1)
    result: dict[str, Any] = {"kind": "simulated"}
    for snr_db in (20, 30, 40, 50):
        ends = 0.3 + np.abs(np.cumsum(rng.normal(size=(150, 6)), axis=0)) / 10
        shares = rng.dirichlet(np.ones(6), 2_000 if quick else 20_000)
        clean = shares @ ends.T
        noise = np.sqrt(np.mean(clean**2)) * 10 ** (-snr_db / 20)
        found = fcls(clean + noise * rng.normal(size=clean.shape), ends)
        error = np.abs(found.value - shares)
        result[f"snr_{snr_db}_db"] = {
            "abundance_rmse": _rmse(found.value, shares),
            "within_1_sigma": float(np.mean(error <= found.standard_deviation)),
            "within_2_sigma": float(np.mean(error <= 2 * found.standard_deviation)),
            "rmse_over_mean_standard_deviation": float(
                np.sqrt(np.mean(error**2) / np.mean(found.standard_deviation**2))
            ),
            "hysime_dimension": hysime(clean + noise * rng.normal(size=clean.shape)).dimension,
            "endmembers": 6,
        }
    return result


def run(quick: bool) -> dict[str, Any]:
    """Run all parts."""
    folder = data_root() / "unmixing"
    results: dict[str, Any] = {"simulated": simulated(quick), "data": []}
    for name, load in (("jasper_ridge", jasper_ridge), ("samson", samson)):
        cube, files = load(folder)
        results["data"].append(data_set(name, files))
        results[name] = {
            "kind": "real",
            "given_endmembers": given_endmembers(cube),
            "blind": blind(cube, 3 if quick else 20),
        }
        if name == "jasper_ridge":
            results[name]["soft_sum_to_one"] = soft_sum(cube, (1.0, 3.0, 10.0, 12.0, 30.0, 100.0, 1000.0))
            results[name]["goal_abundance_rmse"] = 0.079
            results["speed"] = speed(cube, 3 if quick else 15, 2000)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    found = run(quick)
    print(json.dumps(found, indent=1))
    if not quick:
        store("physics_unmixing", found)
