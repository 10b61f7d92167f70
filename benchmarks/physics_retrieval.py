"""Atmospheric retrieval against theory (simulated spectra; goals in the text of each section)."""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np

from common import store
from ecumene.physics.retrieval.estimation import FAR_FROM_PRIOR, NOT_CONVERGED, POOR_FIT, retrieve
from ecumene.physics.retrieval.forward import ForwardModel, two_way_air_mass
from ecumene.physics.series.merge import InstrumentSeries, merge_series
from ecumene.physics.series.trend import fit_trend

NOISE = 0.002
CASES = {
    "water_vapour_940nm": (np.arange(0.86, 1.03, 0.0065), 0.009, ("h2o",)),
    "water_oxygen_nir": (np.arange(0.70, 1.30, 0.01), 0.012, ("h2o", "o2")),
    "carbon_swir": (np.arange(1.50, 2.42, 0.008), 0.010, ("h2o", "co2", "ch4")),
}


def jacobians(forward: ForwardModel, rng: np.random.Generator) -> float:
    """Return the largest error of the analytic Jacobian against central differences, relative to each column's size."""
    mean, covariance = forward.prior()
    worst = 0.0
    for state in rng.multivariate_normal(mean, covariance, 20):
        _, analytic = forward(state[None])
        for k in range(mean.size):
            step = 1e-4 * math.sqrt(covariance[k, k])
            ahead, behind = state.copy(), state.copy()
            ahead[k], behind[k] = state[k] + step, state[k] - step
            numeric = (forward(ahead[None])[0] - forward(behind[None])[0])[0] / (2.0 * step)
            worst = max(worst, float(np.abs(numeric - analytic[0, :, k]).max() / np.abs(analytic[0, :, k]).max()))
    return worst


def estimation(forward: ForwardModel, draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw states and noise from what the retrieval assumes, and count how often the truth is within one sigma."""
    mean, covariance = forward.prior()
    states = rng.multivariate_normal(mean, covariance, draws)
    spectra = (
        forward(states)[0]
        if draws < 3000
        else np.concatenate([forward(part)[0] for part in np.array_split(states, 10)])
    )
    noisy = spectra + NOISE * rng.standard_normal(spectra.shape)
    begin = time.perf_counter()
    found = retrieve(forward, noisy, np.full(forward.bands, NOISE**2), mean, covariance, linear=forward.linear)
    seconds = time.perf_counter() - begin
    ratio = (found.value - states) / found.standard_deviation
    within = (np.abs(ratio) < 1.0).mean(axis=0)
    chosen = found.averaging_kernel[:, : len(forward.gases)]
    row_sums = chosen.sum(axis=2).mean(axis=0)
    error = found.value - states
    distance = np.einsum("pi,pij,pj->p", error, np.linalg.inv(found.covariance), error)
    return {
        "draws": draws,
        "coverage_by_element": dict(zip(forward.names, [round(float(v), 4) for v in within], strict=True)),
        "coverage_mean": round(float(within.mean()), 4),
        "goal": "0.68 +- 0.02 for every element",
        "met": bool((np.abs(within - 0.68) <= 0.02).all()),
        "joint_distance_over_expected": round(float(np.median(distance) / _chi_median(mean.size)), 4),
        "bias_over_sigma": dict(
            zip(forward.names, [round(float(v), 4) for v in np.median(ratio, axis=0)], strict=True)
        ),
        "mean_standard_deviation": dict(
            zip(forward.names, [float(f"{v:.4g}") for v in found.standard_deviation.mean(axis=0)], strict=True)
        ),
        "prior_standard_deviation": dict(
            zip(forward.names, [float(f"{v:.4g}") for v in np.sqrt(np.diag(covariance))], strict=True)
        ),
        "mean_averaging_kernel_diagonal_of_gases": [
            round(float(v), 4)
            for v in np.diagonal(found.averaging_kernel, axis1=1, axis2=2).mean(axis=0)[: len(row_sums)]
        ],
        "degrees_of_freedom": round(float(found.degrees_of_freedom.mean()), 3),
        "reduced_chi_square": round(
            float(np.median(found.chi_square) / (forward.bands - found.degrees_of_freedom.mean())), 4
        ),
        "flagged": {
            name: round(float((found.flags & bit > 0).mean()), 5)
            for name, bit in (
                ("not_converged", NOT_CONVERGED),
                ("poor_fit", POOR_FIT),
                ("far_from_prior", FAR_FROM_PRIOR),
            )
        },
        "iterations_mean": round(float(found.iterations.mean()), 2),
        "spectra_per_second": round(draws / seconds, 1),
    }


def _chi_median(degrees: int) -> float:
    from scipy.stats import chi2

    return float(chi2.median(degrees))


def network(quick: bool, rng: np.random.Generator) -> dict[str, Any]:
    """Train the inverse network, compare it with optimal estimation, and show it what it has not seen."""
    import torch

    from ecumene.training.spectral_inverse import apply_inverse, train_inverse

    torch.set_num_threads(1)
    center, width, gases = CASES["water_oxygen_nir"]
    forward = ForwardModel(center, width, two_way_air_mass(35.0), gases)
    mean, covariance = forward.prior()
    noise = np.full(forward.bands, NOISE**2)
    begin = time.perf_counter()
    model = train_inverse(
        forward,
        noise,
        mean,
        covariance,
        ("h2o", "o2"),
        samples=2048 if quick else 16384,
        epochs=10 if quick else 50,
        members=2 if quick else 4,
    )
    seconds = time.perf_counter() - begin
    draws = 2000 if quick else 10000
    states = rng.multivariate_normal(mean, covariance, draws)

    def seen(changed: np.ndarray) -> np.ndarray:
        return forward(changed)[0] + NOISE * rng.standard_normal((len(changed), forward.bands))

    spectra = seen(states)
    begin = time.perf_counter()
    found = apply_inverse(model, spectra)
    rate = draws / (time.perf_counter() - begin)
    reference = retrieve(forward, spectra, noise, mean, covariance, linear=forward.linear)
    truth = states[:, :2]
    kept = ~reference.outlier
    within = (np.abs(found.value - truth) < found.standard_deviation).mean(axis=0)
    wrong = {
        "h2o_60_kg_m2": (0, 60.0),
        "h2o_80_kg_m2": (0, 80.0),
        "h2o_120_kg_m2": (0, 120.0),
        "surface_reflectance_0.9": (2, 0.9),
    }
    outside: dict[str, Any] = {}
    for name, (element, value) in wrong.items():
        changed = states[:2000].copy()
        changed[:, element] = value
        spectra_out = seen(changed)
        flagged = apply_inverse(model, spectra_out)
        outside[name] = {
            "prior_deviations_away": round(
                float(abs(value - mean[element]) / math.sqrt(covariance[element, element])), 1
            ),
            "flagged_share": round(float(flagged.outlier.mean()), 4),
        }
        if element == 0:
            error = np.abs(flagged.value[:, 0] - value)
            outside[name]["h2o_within_one_sigma_unflagged"] = (
                round(float((error < flagged.standard_deviation[:, 0])[~flagged.outlier].mean()), 4)
                if (~flagged.outlier).any()
                else None
            )
    absorber = spectra[:2000].copy()
    absorber[:, (center > 0.98) & (center < 1.02)] *= 0.9
    outside["unknown_absorber_10_percent_at_1um"] = {
        "flagged_share": round(float(apply_inverse(model, absorber).outlier.mean()), 4)
    }
    noisy = spectra[:2000] + 3.0 * NOISE * rng.standard_normal((2000, forward.bands))
    outside["noise_3_times_higher"] = {"flagged_share": round(float(apply_inverse(model, noisy).outlier.mean()), 4)}
    return {
        "training_seconds": round(seconds, 1),
        "members": len(model.members),
        "principal_components": int(model.components.shape[0]),
        "coverage_before_calibration": [round(float(v), 4) for v in model.held_out_coverage],
        "coverage": dict(zip(("h2o", "o2"), [round(float(v), 4) for v in within], strict=True)),
        "coverage_goal": "0.68 +- 0.02 on fresh draws of the prior",
        "coverage_met": bool((np.abs(within - 0.68) <= 0.02).all()),
        "rmse": dict(
            zip(("h2o", "o2"), np.sqrt(((found.value - truth)[kept] ** 2).mean(axis=0)).round(4).tolist(), strict=True)
        ),
        "rmse_optimal_estimation": dict(
            zip(
                ("h2o", "o2"),
                np.sqrt(((reference.value[:, :2] - truth)[kept] ** 2).mean(axis=0)).round(4).tolist(),
                strict=True,
            )
        ),
        "spectra_per_second": round(rate),
        "flagged_inside_prior": round(float(found.outlier.mean()), 4),
        "outside_prior": outside,
    }


def series(trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Merge three simulated instruments over 20 years and fit a trend; compare stated with actual errors."""
    months = np.arange(240)
    trend, bias = 0.01, np.array([0.0, 0.7, -0.4])
    misses, bias_misses = [], []
    for _ in range(trials):
        memory = np.zeros(240)
        for k in range(1, 240):
            memory[k] = 0.5 * memory[k - 1] + 0.3 * rng.standard_normal()
        truth = 10.0 + trend * months + 2.0 * np.cos(2.0 * np.pi * months / 12.0) + memory
        parts = []
        for number, (first, last, error) in enumerate(((0, 100, 0.2), (80, 180, 0.3), (160, 240, 0.2))):
            value = truth[first:last] + bias[number] + error * rng.standard_normal(last - first)
            parts.append(InstrumentSeries("abc"[number], months[first:last], value, np.full(last - first, error)))
        merged = merge_series(parts, reference="a")
        fit = fit_trend(merged.step, merged.value, merged.covariance)
        misses.append((fit.value - trend) / fit.standard_deviation)
        bias_misses.append(((merged.bias - bias)[1:] / merged.bias_deviation[1:]).tolist())
    return {
        "kind": "simulated",
        "trials": trials,
        "trend_error_over_stated_error_rms": round(float(np.sqrt(np.mean(np.square(misses)))), 3),
        "trend_coverage_1_sigma": round(float(np.mean(np.abs(misses) < 1.0)), 3),
        "bias_error_over_stated_error_rms": round(float(np.sqrt(np.mean(np.square(bias_misses)))), 3),
    }


def run(quick: bool) -> dict:
    rng = np.random.default_rng(20240501)
    results: dict[str, Any] = {"data": "simulated from the forward model; no real spectra", "noise": NOISE, "cases": {}}
    for name, (center, width, gases) in CASES.items():
        forward = ForwardModel(center, width, two_way_air_mass(35.0), gases)
        worst = jacobians(forward, rng)
        found = estimation(forward, 1000 if quick else 10000, rng)
        results["cases"][name] = {
            "bands": forward.bands,
            "state": list(forward.names),
            "jacobian_largest_relative_error": worst,
            "jacobian_goal": "below 1e-5",
            "jacobian_met": worst < 1e-5,
            "optimal_estimation": found,
        }
        print(name, json.dumps(results["cases"][name], indent=1), flush=True)
    results["network"] = network(quick, rng)
    print(json.dumps(results["network"], indent=1), flush=True)
    results["merged_series"] = series(20 if quick else 300, rng)
    print(json.dumps(results["merged_series"], indent=1), flush=True)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = run(arguments.quick)
    if not arguments.quick:
        print(store("physics_retrieval", found))
