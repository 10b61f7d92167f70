"""Speckle filters on simulated scenes with truth, on real L-band complex chips, and polarimetry on a real scene."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from common import data_root, data_set, store
from ecumene.physics.polarimetry.decomposition import feasible_alpha_deg, h_a_alpha, zones
from ecumene.physics.polarimetry.matrices import (
    boxcar,
    covariance_to_coherency,
    estimate_matrix_looks,
    unpack,
    usable_matrices,
)
from ecumene.physics.polarimetry.wishart import UNLIKE_ALL, wishart_clusters
from ecumene.physics.speckle.bootstrap import error_bar_factor
from ecumene.physics.speckle.looks import estimate_looks, independent_share, scene_looks
from ecumene.physics.speckle.nonlocal_filter import nonlocal_means
from ecumene.physics.speckle.quality import (
    edge_preservation_index,
    edge_preservation_ratio,
    held_out_deviance,
    ratio_statistics,
)
from ecumene.physics.speckle.result import Despeckled
from ecumene.physics.speckle.simulate import complex_speckle, gamma_speckle
from ecumene.physics.speckle.slc import complex_share, sublooks
from ecumene.physics.speckle.window_filters import gamma_map, refined_lee

Filter = Callable[..., Despeckled]
FILTERS: dict[str, Filter] = {"refined-lee": refined_lee, "gamma-map": gamma_map, "nonlocal": nonlocal_means}


def scene(size: int, rng: np.random.Generator) -> np.ndarray:
    """Fields, a road, a textured forest and point targets."""
    truth = np.full((size, size), 0.1)
    truth[:, size // 2 :] = 0.4
    truth[size // 3 : size // 3 + 6, :] = 0.02
    truth[size * 3 // 5 :, : size // 3] = 0.25 * gamma_speckle(
        rng, (size - size * 3 // 5, size // 3), 8.0, correlation_px=2.5
    )
    for row, col in rng.integers(10, size - 10, (12, 2)):
        truth[row : row + 2, col : col + 2] = 10.0
    return truth


def judged(truth: np.ndarray, intensity: np.ndarray, result: Despeckled, seconds: float) -> dict[str, Any]:
    ratio = (result.value - truth) / result.standard_deviation
    size = len(truth)
    # Away from edges and from point targets, whose surroundings any window blurs.
    near = ndimage.maximum_filter(truth, 25)
    flat = (near == 0.1) & (ndimage.minimum_filter(truth, 25) == 0.1)
    flat[size // 3 :] = False
    kept = ~result.outlier
    return {
        "rmse_db": round(float(np.sqrt(np.mean((10 * np.log10(result.value / truth)) ** 2))), 3),
        "rmse_db_before": round(float(np.sqrt(np.mean((10 * np.log10(np.maximum(intensity, 1e-12) / truth)) ** 2))), 3),
        "radiometric_bias_percent": round(100 * float(result.value[flat].mean() / truth[flat].mean() - 1), 2),
        "looks_flat": round(float(result.value[flat].mean() ** 2 / result.value[flat].var()), 1),
        "edge_preservation_index": round(edge_preservation_index(np.log(truth), np.log(result.value)), 3),
        "within_one_sigma": round(float((np.abs(ratio[kept]) < 1).mean()), 3),
        "within_one_sigma_flat": round(float((np.abs(ratio[flat]) < 1).mean()), 3),
        "flagged": round(float(result.outlier.mean()), 4),
        "megapixels_per_second": round(truth.size / seconds / 1e6, 3),
    }


def simulated(quick: bool) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    size = 150 if quick else 300
    truth = scene(size, rng)
    results: dict[str, Any] = {"kind": "simulated"}
    single = np.sqrt(truth) * complex_speckle(rng, truth.shape)
    fields = {
        "one_look_white": (np.abs(single) ** 2, 1.0),
        "one_look_correlated": (truth * np.abs(complex_speckle(rng, truth.shape, bandwidth=(0.75, 0.75))) ** 2, 1.0),
        "four_looks": (truth * gamma_speckle(rng, truth.shape, 4.4), 4.4),
    }
    for name, (intensity, looks) in fields.items():
        share = independent_share(intensity)
        found: dict[str, Any] = {"true_looks": looks, "independent_share": round(share, 3)}
        estimate = scene_looks(intensity, independent_share=share)
        found["scene_looks"] = [round(estimate.value, 3), round(estimate.standard_deviation, 3)]
        for label, method in FILTERS.items():
            method(intensity[:40, :40], looks)  # compiles
            begin = time.perf_counter()
            result = method(intensity, looks, independent_share=share)
            found[label] = judged(truth, intensity, result, time.perf_counter() - begin)

            def run(
                image: np.ndarray, method: Filter = method, looks: float = looks, part: float = share
            ) -> Despeckled:
                return method(image, looks, independent_share=part)

            factor = error_bar_factor(run, result, looks, independent_share=share)
            wider = judged(
                truth, intensity, replace(result, standard_deviation=factor * result.standard_deviation), 1.0
            )
            found[label] |= {
                "error_bar_factor": round(factor, 3),
                "within_one_sigma_enlarged": wider["within_one_sigma"],
                "within_one_sigma_flat_enlarged": wider["within_one_sigma_flat"],
            }
        results[name] = found
    from ecumene.training.merlin import apply_merlin, train_merlin

    begin = time.perf_counter()
    model = train_merlin(single, steps=30 if quick else 400, width=16)
    trained = time.perf_counter() - begin
    begin = time.perf_counter()
    result = apply_merlin(model, single)
    results["one_look_white"]["merlin"] = judged(truth, np.abs(single) ** 2, result, time.perf_counter() - begin)
    results["one_look_white"]["merlin"]["training_seconds"] = round(trained, 1)
    return results


def quiet_region(intensity: np.ndarray, edge: int = 24) -> tuple[slice, slice]:
    """Return the window whose logarithm varies least: the most homogeneous one."""
    logs = np.log(np.maximum(intensity, 1e-12))
    mean = ndimage.uniform_filter(logs, edge)
    spread = ndimage.uniform_filter(logs**2, edge) - mean**2
    half = edge // 2
    spread[:half], spread[-half:], spread[:, :half], spread[:, -half:] = np.inf, np.inf, np.inf, np.inf
    row, col = np.unravel_index(int(np.argmin(spread)), spread.shape)
    return slice(int(row) - half, int(row) + half), slice(int(col) - half, int(col) + half)


def chip(slc: np.ndarray, quick: bool) -> dict[str, Any]:
    """Judge filters on a real chip: without truth, and by a sublook that they have not seen."""
    from ecumene.training.merlin import apply_merlin, train_merlin

    intensity = np.abs(slc.astype(np.complex128)) ** 2
    share = complex_share(slc)
    region = quiet_region(intensity)
    before = estimate_looks(intensity[region], independent_share=share)
    results: dict[str, Any] = {
        "kind": "real",
        "shape": list(slc.shape),
        "independent_share": round(share, 3),
        "looks_before": [round(before.value, 3), round(before.standard_deviation, 3)],
    }
    for label, method in FILTERS.items():
        results[label] = _without_truth(intensity, method(intensity, 1.0, independent_share=share), region)
    model = train_merlin(slc, steps=20 if quick else 400, width=16)
    results["merlin"] = _without_truth(intensity, apply_merlin(model, slc), region)
    # Sublooks along the axis whose split gives the less correlated speckle.
    pairs = [sublooks(slc, axis) for axis in (0, 1)]
    links = [_speckle_correlation(first, second) for first, second in pairs]
    chosen = int(np.argmin(np.abs(links)))
    first, second = pairs[chosen]
    part = share  # half of the samples of half of the band are as correlated as before
    held: dict[str, Any] = {"axis": chosen, "correlation_of_normalised_sublooks": round(float(links[chosen]), 3)}
    box = ndimage.uniform_filter(first, 7)
    edges = _edges(ndimage.uniform_filter(first + second, 5))
    floor = 0.05 * ndimage.uniform_filter(first, 7)
    held["unfiltered"] = _deviances(np.maximum(first, floor), second, edges)
    held["boxcar_7"] = _deviances(box, second, edges)
    for label, method in FILTERS.items():
        held[label] = _deviances(method(first, 1.0, independent_share=part).value, second, edges)
    results["held_out_sublook_mean_deviance"] = held
    return results


def _edges(smooth: np.ndarray) -> np.ndarray:
    """Return the tenth of the pixels with the largest gradient of the logarithm."""
    logs = np.log(np.maximum(smooth, 1e-12))
    size = np.hypot(ndimage.sobel(logs, 0), ndimage.sobel(logs, 1))
    return size > np.quantile(size, 0.9)


def _deviances(estimate: np.ndarray, held: np.ndarray, edges: np.ndarray) -> dict[str, float]:
    deviance = held_out_deviance(estimate, held, 1.0)
    return {"all": round(float(np.nanmean(deviance)), 4), "edges": round(float(np.nanmean(deviance[edges])), 4)}


def _speckle_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two intensities over the local mean of both: speckle, and structure within 9 pixels."""
    local = ndimage.uniform_filter(first + second, 9)
    return float(np.corrcoef((first / local).ravel(), (second / local).ravel())[0, 1])


def _without_truth(intensity: np.ndarray, result: Despeckled, region: tuple[slice, slice]) -> dict[str, Any]:
    ratio = ratio_statistics(intensity, result.value)
    flat = result.value[region]
    return {
        "looks_after_quiet_region": round(float(flat.mean() ** 2 / flat.var()), 1),
        "mean_after_over_before_percent": round(
            100 * (float(np.nanmean(result.value)) / float(intensity.mean()) - 1), 2
        ),
        "ratio_mean": round(ratio.mean, 4),
        "ratio_looks": round(ratio.looks, 3),
        "ratio_lag_one_correlation": round(ratio.structure, 3),
        "edge_preservation_ratio": [
            round(edge_preservation_ratio(intensity, result.value, axis), 3) for axis in (0, 1)
        ],
        "median_relative_error": round(float(np.nanmedian(result.standard_deviation / result.value)), 3),
        "flagged": round(float(result.outlier.mean()), 4),
    }


def polarimetry() -> tuple[dict[str, Any], dict[str, str]]:
    """Decompose and cluster the quad-pol scene, and check what physics demands."""
    import rasterio

    folder = data_root() / "polsar_manitoba"
    with rasterio.open(folder / "T3.tif") as source:
        coherency = unpack(source.read())
    with rasterio.open(folder / "C3.tif") as source:
        covariance = unpack(source.read())
    local = [
        estimate_matrix_looks(coherency[row : row + 15, col : col + 15])[0]
        for row in range(0, 195, 15)
        for col in range(0, 90, 15)
    ]
    looks = float(np.quantile(local, 0.9))
    found = h_a_alpha(coherency, looks)
    low, high = feasible_alpha_deg(found.entropy)
    smooth = boxcar(coherency, 5)
    # Neighbouring pixels are correlated, so 25 pixels do not bring 25 times the looks; 9 is kept as a lower estimate.
    clusters = wishart_clusters(coherency, zones(found.entropy, found.alpha_deg), looks, iterations=200)
    zone = zones(found.entropy, found.alpha_deg)
    smoothed = h_a_alpha(smooth, 9 * looks)
    powers = np.trace(clusters.means, axis1=-2, axis2=-1).real
    agreement = float(np.abs(covariance_to_coherency(covariance) - coherency).max() / np.abs(coherency).max())
    return {
        "kind": "real",
        "looks_of_homogeneous_blocks": round(looks, 2),
        "usable_share": float(usable_matrices(coherency).mean()),
        "coherency_from_covariance_largest_relative_difference": agreement,
        "entropy_percentiles_5_50_95": np.percentile(found.entropy, [5, 50, 95]).round(3).tolist(),
        "anisotropy_percentiles_5_50_95": np.percentile(found.anisotropy, [5, 50, 95]).round(3).tolist(),
        "alpha_deg_percentiles_5_50_95": np.percentile(found.alpha_deg, [5, 50, 95]).round(2).tolist(),
        "median_deviation_entropy": round(float(np.median(found.entropy_deviation)), 4),
        "median_deviation_alpha_deg": round(float(np.median(found.alpha_deviation_deg)), 3),
        "in_physical_range_share": float(
            (
                (found.entropy >= 0)
                & (found.entropy <= 1)
                & (found.alpha_deg >= 0)
                & (found.alpha_deg <= 90)
                & (found.anisotropy >= 0)
                & (found.anisotropy <= 1)
            ).mean()
        ),
        "inside_feasible_h_alpha_region_share": float(
            ((found.alpha_deg >= low - 0.01) & (found.alpha_deg <= high + 0.01)).mean()
        ),
        "entropy_rises_with_averaging_share": round(float((smoothed.entropy >= found.entropy).mean()), 3),
        "zone_shares_1_to_9": [round(float((zone == code).mean()), 4) for code in range(1, 10)],
        "clusters": len(clusters.means),
        "converged": clusters.converged,
        "iterations": clusters.iterations,
        "cluster_shares": clusters.shares.round(3).tolist(),
        "cluster_power_db": (10 * np.log10(powers)).round(2).tolist(),
        "mean_probability": round(float(clusters.probability[clusters.label >= 0].mean()), 3),
        "unlike_all_share": round(float((clusters.flags & UNLIKE_ALL > 0).mean()), 4),
        "neighbours_in_same_cluster_share": round(
            float(
                (
                    (clusters.label[1:] == clusters.label[:-1]).mean()
                    + (clusters.label[:, 1:] == clusters.label[:, :-1]).mean()
                )
                / 2
            ),
            3,
        ),
        "expected_for_random_labels": round(float((clusters.shares**2).sum()), 3),
    }, data_set("polsar_manitoba", [folder / "T3.tif", folder / "C3.tif"])


def run(quick: bool) -> dict:
    import torch

    torch.set_num_threads(1)
    results: dict[str, Any] = {"simulated": simulated(quick)}
    print(json.dumps(results["simulated"], indent=1), flush=True)
    results["polsar_manitoba"], polsar = polarimetry()
    print(json.dumps(results["polsar_manitoba"], indent=1), flush=True)
    path = data_root() / "uavsar_slc_chips" / "slc_hh.npz"
    chips = np.load(path, allow_pickle=False)
    results["uavsar_slc_chips"] = {}
    for name in chips.files:
        results["uavsar_slc_chips"][name] = chip(chips[name], quick)
        print(name, json.dumps(results["uavsar_slc_chips"][name], indent=1), flush=True)
    results["data_sets"] = [polsar, data_set("uavsar_slc_chips", [path])]
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = run(arguments.quick)
    if not arguments.quick:
        print(store("physics_speckle", found))
