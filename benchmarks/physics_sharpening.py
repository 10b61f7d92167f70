"""Sharpening by Wald's protocol on real pairs, with and without registration, and the honesty of the error bars.

    python benchmarks/physics_sharpening.py            # results to benchmarks/results/physics_sharpening.json
    python benchmarks/physics_sharpening.py --quick    # small crops, prints only

Pairs: three Rotterdam tiles (WorldView-2, multispectral on a 1 m grid, panchromatic 0.5 m; WorldView-2 sees its
multispectral bands at about 2 m, so that detail of 1 m is weak in the reference itself), one Sentinel-2 tile in
Thailand (six 20 m bands, four 10 m bands), and Jasper Ridge degraded four times with simulated multispectral bands
(real cube, simulated pair).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.io import loadmat

from common import data_root, data_set, store
from ecumene.physics.sharpening import METHODS, ScalePair, assess, estimate_geometry, prepare, sharpen, wald_protocol

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
MULTISPECTRAL_NM = ((480, 30), (560, 30), (665, 30), (840, 50), (1610, 50), (2200, 80))
"""Centres and standard deviations of the simulated bands."""


def _read(path: Path) -> NDArray[np.float64]:
    with rasterio.open(path) as source:
        return source.read().astype(np.float64)


def rotterdam(folder: Path, tile: int) -> tuple[Pair, list[Path]]:
    """Return multispectral and panchromatic digital numbers; pixels that are zero in all bands are gaps."""
    files = [folder / f"rotterdam_ms{tile}_1m.tif", folder / f"rotterdam_pan{tile}_050cm.tif"]
    low, high = (_read(path) for path in files)
    for image in (low, high):
        image[:, (image == 0).all(axis=0)] = np.nan
    return (low, high), files


def thailand(folder: Path, quick: bool) -> tuple[Pair, list[Path]]:
    """Return reflectance of the 20 m and the 10 m bands."""
    files = [folder / f"S2B_L2A_20200223_T48QUE_{size}.tif" for size in ("20m", "10m")]
    low, high = (_read(path) / 10_000 for path in files)
    return ((low[:, :200, :200], high[:, :400, :400]) if quick else (low, high)), files


def by_wald(pair: Pair, methods: tuple[str, ...]) -> dict[str, Any]:
    """Quality of every method at reduced scale: as delivered, and after registration with the estimated gain."""
    low, high = pair
    geometry = estimate_geometry(prepare(low, high, 2))
    result: dict[str, Any] = {
        "shift_fine_pixels": list(geometry.shift),
        "nyquist_gain": geometry.nyquist_gain,
        "explained_before": geometry.explained_before,
        "explained": geometry.explained,
    }
    for name, shift in (("as_delivered", (0.0, 0.0)), ("registered", geometry.shift)):
        result[name] = {}
        for method in methods:
            start = time.perf_counter()
            quality, _, _ = wald_protocol(low, high, 2, method, shift=shift)
            result[name][method] = quality.as_dict() | {"seconds": time.perf_counter() - start}
    return result


def hyperspectral(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Return the quality of every method at four times the resolution of a degraded real cube."""
    files = [folder / "jasperRidge2_R198.mat"]
    cube = loadmat(files[0])["Y"].T.reshape(100, 100, 198, order="F").transpose(2, 0, 1) / 5000.0
    waves = np.linspace(380, 2500, cube.shape[0])  # nominal: the removed bands shift the true ones slightly
    weights = [np.exp(-0.5 * ((waves - center) / width) ** 2) for center, width in MULTISPECTRAL_NM]
    fine = np.stack([np.tensordot(weight / weight.sum(), cube, axes=1) for weight in weights])
    low = ScalePair((25, 25), 4).degrade(cube)
    data = prepare(low, fine, 4)
    result: dict[str, Any] = {"kind": "real cube, simulated pair", "ratio": 4}
    for method, run_method in METHODS.items():
        start = time.perf_counter()
        value = run_method(data)
        seconds = time.perf_counter() - start
        quality = assess(value, cube, 4).as_dict()
        quality.pop("band_rmse")
        result[method] = quality | {"seconds": seconds}
    return result, files


def error_bars(pair: Pair, methods: tuple[str, ...]) -> dict[str, Any]:
    """Coverage of the error bars at full scale, where 10 m bands are the truth.

    They are degraded to 20 m and sharpened with the other 10 m bands.
    The degrading sensor has another gain (0.25) than the sharpeners assume (0.3) and noise of 0.002.
    """
    rng = np.random.default_rng(0)
    _, high = pair
    shape = (high.shape[1] // 2, high.shape[2] // 2)
    result: dict[str, Any] = {"kind": "real bands, simulated pair"}
    for name, target, guide in (("red", [2], [0, 1, 3]), ("near_infrared", [3], [0, 1, 2])):
        truth = high[target]
        low = ScalePair(shape, 2, 0.25).degrade(truth)
        low += 0.002 * rng.standard_normal(low.shape)
        for method in methods:
            found = sharpen(low, high[guide], 2, method=method)
            z = np.abs(found.value - truth) / found.standard_deviation
            result[f"{name}_{method}"] = {
                "within_1_sigma": float(np.mean(z < 1)),
                "within_2_sigma": float(np.mean(z < 2)),
                "rms_of_error_over_sigma": float(np.sqrt(np.mean(z**2))),
                "rmse": float(np.sqrt(np.mean((found.value - truth) ** 2))),
                "outliers": float(found.outlier.mean()),
            }
    return result


def run(quick: bool) -> dict[str, Any]:
    """Run all parts."""
    root, methods = data_root(), tuple(METHODS)
    results: dict[str, Any] = {"data": []}
    for tile in (1,) if quick else (1, 2, 3):
        pair, files = rotterdam(root / "spacenet_samples", tile)
        results["data"].append(data_set(f"spacenet_rotterdam_{tile}", files))
        results[f"rotterdam_{tile}"] = {"kind": "real"} | by_wald(pair, methods)
    pair, files = thailand(root / "majortom_s2l2a_199U_1099R", quick)
    results["data"].append(data_set("sentinel2_thailand", files))
    results["thailand_20_to_10_m"] = {"kind": "real"} | by_wald(pair, methods)
    chosen = ("interpolation", "gram-schmidt", "mtf-glp", "cnmf", "joint-sparsity")
    results["error_bars"] = error_bars(pair, chosen[:3] if quick else chosen)
    results["jasper_ridge_4x"], files = hyperspectral(root / "unmixing")
    results["data"].append(data_set("jasper_ridge", files))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    found = run(quick)
    print(json.dumps(found, indent=1))
    if not quick:
        store("physics_sharpening", found)
