"""Tomography against theory and against other solvers; all data are simulated.

    python benchmarks/physics_tomography.py                  # everything
    python benchmarks/physics_tomography.py --only stacks,few_baseline   # these sections; the others stay as they were
    python benchmarks/physics_tomography.py --draw           # only the pictures, from the results
    python benchmarks/physics_tomography.py --quick          # a fiftieth of the trials, prints only

The comparison of solvers needs an interpreter that has them, named by ECUMENE_PEERS_PYTHON (else it is left out):
celer, skglm, adelie, spgl1, pylops, sigpy, cvxpy, clarabel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, machine, store
from ecumene.physics.few_baseline import building_heights, estimate_heights, filter_interferograms
from ecumene.physics.tomography import (
    SearchGrid,
    StackGeometry,
    TomographyOptions,
    cramer_rao,
    invert_stack,
    make_geometry,
    make_grid,
    simulate_stack,
    single_scatterer_bound,
    solve_l1,
    super_resolution_factor,
    svd_wiener,
    universal_threshold,
)
from ecumene.physics.tomography.order import order_penalties
from ecumene.physics.tomography.spectral import profile_candidates

WAVELENGTH_M = 0.0310666
PEER_TOLERANCE = 1e-8
IMAGES = Path(__file__).parent.parent / "docs" / "images"
GEOMETRIES = ("TerraSAR-X-like", "TanDEM-X-like")


def terrasar_x() -> StackGeometry:
    """25 repeat-pass acquisitions, 270 m of baselines, 700 km: 40 m Rayleigh."""
    baselines = np.random.default_rng(25).uniform(-135.0, 135.0, 25)
    return make_geometry(baselines, WAVELENGTH_M, 7.0e5, 35.0)


def tandem_x() -> StackGeometry:
    """12 bistatic pairs up to 700 m, 620 km."""
    baselines = np.random.default_rng(12).uniform(-350.0, 350.0, 12)
    return make_geometry(baselines, WAVELENGTH_M, 6.2e5, 38.0, passes=1)


def random_phase(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(2j * np.pi * generator.random(shape))


def single(geometry: StackGeometry, trials: int, total_db: float, seed: int) -> dict[str, Any]:
    """Standard deviation and bias of one scatterer over their bound."""
    generator = np.random.default_rng(seed)
    rho = geometry.rayleigh_m
    grid = make_grid(geometry, (-2.5 * rho, 2.5 * rho))
    snr = 10.0 ** (total_db / 10.0) / geometry.count
    truth = generator.uniform(-2.0 * rho, 2.0 * rho, (trials, 1, 1))
    data = simulate_stack(geometry, truth, random_phase(generator, (trials, 1)), 1.0 / snr, generator)
    bound = float(single_scatterer_bound(geometry, snr))
    result: dict[str, Any] = {"n_times_snr_db": total_db, "trials": trials, "bound_m": bound}
    for name, options in (
        ("order_selected", TomographyOptions()),
        ("order_given", TomographyOptions(max_scatterers=1)),
    ):
        found = invert_stack(grid, data, noise_variance=1.0 / snr, options=options)
        one = found.count == 1
        error = found.elevation_m[one, 0] - truth[one, 0, 0]
        result[name] = {
            "share_with_one_scatterer": float(one.mean()),
            "share_with_two": float((found.count == 2).mean()),
            "standard_deviation_over_bound": float(error.std() / bound),
            "bias_over_bound": float(error.mean() / bound),
            "stated_over_bound": float(np.median(found.standard_deviation[one, 0, 0]) / bound),
            "coverage_of_1_sigma": float(np.mean(np.abs(error) <= found.standard_deviation[one, 0, 0])),
        }
    given = result["order_given"]
    result["goal_met"] = bool(
        abs(given["standard_deviation_over_bound"] - 1) < 0.1 and abs(given["bias_over_bound"]) < 0.1
    )
    return result


def classical(grid: SearchGrid, data: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """SVD-Wiener as published: peaks of the profile, order by the same criterion on the grid. Orders and elevations."""
    n = grid.geometry.count
    profile = svd_wiener(grid, data, noise_variance=noise)
    peaks = profile_candidates(grid, np.abs(profile) ** 2, 2)
    penalties = order_penalties("map", 2, n, 1)
    orders, places = np.zeros(len(data), int), np.full((len(data), 2), np.nan)
    atoms = grid.dictionary
    for p, (row, y) in enumerate(zip(peaks, data, strict=True)):
        best = 2 * np.vdot(y, y).real / noise
        for k in (1, 2):
            if row[k - 1] < 0:
                break
            chosen = atoms[:, row[:k]]
            rest = y - chosen @ np.linalg.lstsq(chosen, y, rcond=None)[0]
            score = 2 * np.vdot(rest, rest).real / noise + penalties[k]
            if score < best:
                best, orders[p] = score, k
                places[p, :k] = grid.points[row[:k], 0]
    return orders, places


def detected(count: np.ndarray, elevation: np.ndarray, truth: np.ndarray, bound: np.ndarray) -> float:
    """Share of pixels with two scatterers, both within three bounds of the truth."""
    ordered = np.sort(np.where(np.isnan(elevation), np.inf, elevation), axis=1)
    close = (np.abs(ordered - truth) <= 3.0 * bound).all(axis=1)
    return float(np.mean((count == 2) & close))


def double(geometry: StackGeometry, snr_db: float, distances: np.ndarray, trials: int) -> dict[str, Any]:
    """Detection of two equal scatterers of random phases against their distance."""
    rho = geometry.rayleigh_m
    grid = make_grid(geometry, (-2.5 * rho, 2.5 * rho))
    noise = 10.0 ** (-snr_db / 10.0)
    curves: dict[str, list[float]] = {
        name: [] for name in ("sl1mmer", "sl1mmer_count", "svd_wiener_refined", "svd_wiener")
    }
    for k, distance in enumerate(distances):
        generator = np.random.default_rng([int(10 * snr_db), k])
        first = generator.uniform(-1.8 * rho, 1.8 * rho - distance * rho, trials)
        truth = np.stack([first, first + distance * rho], axis=1)
        x = random_phase(generator, (trials, 2))
        data = simulate_stack(geometry, truth[..., None], x, noise, generator)
        bound = cramer_rao(geometry, truth[..., None], x, np.full(trials, noise))[..., 0]
        found = invert_stack(grid, data, noise_variance=noise)
        curves["sl1mmer"].append(detected(found.count, found.elevation_m, truth, bound))
        curves["sl1mmer_count"].append(float(np.mean(found.count == 2)))
        other = invert_stack(grid, data, noise_variance=noise, options=TomographyOptions(method="svd-wiener"))
        curves["svd_wiener_refined"].append(detected(other.count, other.elevation_m, truth, bound))
        orders, places = classical(grid, data, noise)
        # Peaks lie on the grid: they are given half a step besides the three bounds.
        curves["svd_wiener"].append(detected(orders, places, truth, bound + grid.steps[0] / 6.0))
    return {
        "snr_db": snr_db,
        "trials": trials,
        "distance_rayleigh": distances.tolist(),
        **curves,
        "super_resolution_factor": _finite(super_resolution_factor(distances, curves["sl1mmer"])),
        "super_resolution_factor_svd_wiener": _finite(super_resolution_factor(distances, curves["svd_wiener"])),
        "against_svd_wiener_below_one": against(distances, curves, trials),
    }


def against(distances: np.ndarray, curves: dict[str, list[float]], trials: int) -> dict[str, Any]:
    """SL1MMER minus SVD-Wiener below one Rayleigh unit, and where the difference is more than chance.

    The standard error is that of two independent rates; both see the same data, so that the true one is smaller.
    """
    below = distances < 1.0
    ours = np.array(curves["sl1mmer"])[below]
    result: dict[str, Any] = {"distance_rayleigh": distances[below].tolist()}
    for name in ("svd_wiener", "svd_wiener_refined"):
        theirs = np.array(curves[name])[below]
        gain = ours - theirs
        error = np.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / trials)
        result[name] = {
            "gain": gain.round(4).tolist(),
            "standard_error": error.round(4).tolist(),
            "better_beyond_two_errors_at": distances[below][gain > 2 * error].tolist(),
            "worse_beyond_two_errors_at": distances[below][gain < -2 * error].tolist(),
            "mean_gain": round(float(gain.mean()), 4),
        }
    return result


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def false_alarms(geometry: StackGeometry, trials: int) -> dict[str, Any]:
    """How often noise gives a scatterer, and one scatterer a second one."""
    grid = make_grid(geometry, (-2.5 * geometry.rayleigh_m, 2.5 * geometry.rayleigh_m))
    generator = np.random.default_rng(7)
    truth = generator.uniform(-1.8, 1.8, (trials, 1, 1)) * geometry.rayleigh_m
    noise = 0.1
    nothing = simulate_stack(geometry, truth, np.zeros((trials, 1)), noise, generator)
    one = simulate_stack(geometry, truth, random_phase(generator, (trials, 1)), noise, generator)
    rates = {}
    for criterion in ("map", "bic", "aic"):
        options = TomographyOptions(criterion=criterion)
        rates[criterion] = {
            "scatterer_in_noise": float(
                np.mean(invert_stack(grid, nothing, noise_variance=noise, options=options).count > 0)
            ),
            "second_beside_one": float(
                np.mean(invert_stack(grid, one, noise_variance=noise, options=options).count > 1)
            ),
        }
    return {"trials": trials, "snr_db": 10.0, "criteria": rates}


def motion(trials: int) -> dict[str, Any]:
    """Differential tomography: 50 acquisitions over 5 years, two scatterers that move differently."""
    generator = np.random.default_rng(5)
    geometry = make_geometry(
        generator.uniform(-135, 135, 50), WAVELENGTH_M, 7.0e5, 35.0,
        times_years=np.sort(generator.uniform(0, 5, 50)), motion=("linear", "seasonal"),
    )  # fmt: skip
    grid = make_grid(
        geometry, (-40, 100), motion_ranges=[(-10, 10), (-6, 6), (-6, 6)], oversampling=4, motion_oversampling=3
    )
    first = generator.uniform([-35, -9, -5, -5], [35, 9, 5, 5], (trials, 4))
    second = generator.uniform([45, -9, -5, -5], [95, 9, 5, 5], (trials, 4))
    truth, x = np.stack([first, second], axis=1), random_phase(generator, (trials, 2))
    data = simulate_stack(geometry, truth, x, 0.2, generator)
    start = time.perf_counter()
    found = invert_stack(grid, data, noise_variance=0.2)
    seconds = time.perf_counter() - start
    two = (found.count == 2) & ~found.outlier
    order = np.argsort(found.elevation_m[two], axis=1)[..., None]
    value = np.take_along_axis(found.parameters[two], order, 1)
    score = (value - truth[two]) / np.take_along_axis(found.standard_deviation[two], order, 1)
    bound = cramer_rao(geometry, truth[two], x[two], 0.2)
    right = (np.abs(score) < 5).all(axis=(1, 2))
    names = geometry.parameter_names
    return {
        "trials": trials,
        "snr_db": 7.0,
        "atoms": grid.size,
        "share_with_two": float(np.mean(found.count == 2)),
        "share_of_them_right": float(right.mean()),
        "rms_error": {
            n: float(np.sqrt(np.mean((value - truth[two])[right][..., d] ** 2))) for d, n in enumerate(names)
        },
        "standard_deviation_over_bound": {
            n: float(np.sqrt(np.mean(((value - truth[two])[right][..., d] / bound[right][..., d]) ** 2)))
            for d, n in enumerate(names)
        },
        "units": dict(zip(names, geometry.parameter_units, strict=True)),
        "pixels_per_second_wall": trials / seconds,
    }


def few_baselines() -> dict[str, Any]:
    """Buildings in 3, 4 and 5 bistatic interferograms of coherence 0.75."""
    generator = np.random.default_rng(3)
    side, result = 150, {}
    truth, labels = np.zeros((side, side)), np.zeros((side, side), int)
    for k in range(9):
        row, col = 10 + 47 * (k // 3), 10 + 47 * (k % 3)
        truth[row : row + 28, col : col + 28] = generator.uniform(5, 80)
        labels[row : row + 28, col : col + 28] = k + 1
    for pairs in (3, 4, 5):
        baselines = np.array([60.0, 110.0, 330.0, 200.0, 430.0])[:pairs]
        rates = 2 * np.pi * baselines / (WAVELENGTH_M * 6.0e5 * np.sin(np.radians(38.0)))
        shape = (pairs, side, side)
        one, noise = ((generator.standard_normal((*shape, 2)) @ [1, 1j]) / np.sqrt(2) for _ in range(2))
        gain = np.where(labels > 0, 2.0, 1.0)
        other = gain * (0.75 * one + np.sqrt(1 - 0.75**2) * noise) * np.exp(-1j * rates[:, None, None] * truth)
        start = time.perf_counter()
        filtered = filter_interferograms(gain * one, other)
        found = estimate_heights(
            filtered.coherence.reshape(pairs, -1),
            filtered.looks.ravel(),
            baselines,
            WAVELENGTH_M,
            6.0e5,
            38.0,
            (-20, 120),
        )
        seconds = time.perf_counter() - start
        error = found.height_m - truth.ravel()
        kept = ~found.outlier
        houses = building_heights(
            np.where(found.outlier, np.nan, found.height_m).reshape(side, side),
            found.standard_deviation_m.reshape(side, side), labels, correlated_pixels=float(np.median(filtered.looks)),
        )  # fmt: skip
        reference = np.array([truth[labels == label][0] for label in houses.label])
        offsets = houses.height_m - reference
        result[str(pairs)] = {
            "median_looks": float(np.median(filtered.looks)),
            "pixel_rmse_m": float(np.sqrt(np.mean(error[kept] ** 2))),
            "pixel_median_absolute_error_m": float(np.median(np.abs(error))),
            "outlier_share": float(found.outlier.mean()),
            "scaled_error_robust_sigma": float(1.4826 * np.median(np.abs(error / found.standard_deviation_m))),
            "buildings": int(houses.label.size),
            "building_rmse_m": float(np.sqrt(np.mean(offsets**2))),
            "building_scaled_rms": float(np.sqrt(np.mean((offsets / houses.standard_deviation_m) ** 2))),
            "pixels_per_second_wall": side * side / seconds,
        }
    return result


def speed_problem(pixels: int) -> tuple[SearchGrid, np.ndarray, float]:
    """A mixed scene: a fifth noise, half one scatterer, the rest two; 10 dB."""
    geometry = terrasar_x()
    grid = make_grid(geometry, (-100.0, 100.0), oversampling=20.0)
    generator = np.random.default_rng(1)
    truth = generator.uniform(-90, 90, (pixels, 2, 1))
    kind = generator.random(pixels)
    x = random_phase(generator, (pixels, 2)) * np.stack([kind > 0.2, kind > 0.7], axis=1)
    data = np.concatenate(
        [
            simulate_stack(geometry, truth[k : k + 100000], x[k : k + 100000], 0.1, generator)
            for k in range(0, pixels, 100000)
        ]
    )
    return grid, data, float(universal_threshold(np.sqrt(0.1), geometry.count, 5.0, false_alarm=0.5))


def speed(pixels: int, peer_limit_s: float) -> dict[str, Any]:
    """Pixels a second of the L1 solver alone and of all of SL1MMER, and other solvers on the first pixels."""
    grid, data, kappa = speed_problem(pixels)
    solve_l1(grid.dictionary, data[:100], kappa)  # compile
    invert_stack(grid, data[:100], noise_variance=0.1)
    result: dict[str, Any] = {
        "pixels": pixels,
        "acquisitions": grid.geometry.count,
        "atoms": grid.size,
        "load_average": os.getloadavg()[0],
    }
    cpu, wall = time.process_time(), time.perf_counter()
    sparse = solve_l1(grid.dictionary, data, kappa, tolerance=PEER_TOLERANCE, threads=1)
    result["one_thread"] = {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "pixels_per_cpu_second": pixels / (time.process_time() - cpu),
        "tolerance": PEER_TOLERANCE,
        "converged": float(sparse.converged.mean()),
        "mean_active_atoms": float(sparse.count.mean()),
    }
    wall = time.perf_counter()
    solve_l1(grid.dictionary, data, kappa, tolerance=PEER_TOLERANCE)
    result["all_threads_pixels_per_second_wall"] = pixels / (time.perf_counter() - wall)
    part = data[: max(1000, pixels // 10)]
    cpu, wall = time.process_time(), time.perf_counter()
    invert_stack(grid, part, noise_variance=0.1)
    result["sl1mmer_pixels_per_second_wall"] = len(part) / (time.perf_counter() - wall)
    result["sl1mmer_pixels_per_cpu_second"] = len(part) / (time.process_time() - cpu)
    interpreter = os.environ.get("ECUMENE_PEERS_PYTHON")
    if not interpreter:
        return result | {"others": None, "others_note": "ECUMENE_PEERS_PYTHON is not set"}
    return result | peers(interpreter, grid, data, kappa, peer_limit_s, result["one_thread"]["pixels_per_cpu_second"])


def peers(
    interpreter: str, grid: SearchGrid, data: np.ndarray, kappa: float, limit_s: float, own: float
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        problem, answers = Path(folder) / "problem.npz", Path(folder) / "answers.json"
        part = data[:1000]
        reference = solve_l1(grid.dictionary, part, kappa, tolerance=1e-10).dense()[:, :, 0]
        ours = solve_l1(grid.dictionary, part, kappa, tolerance=PEER_TOLERANCE).dense()[:, :, 0]
        np.savez(
            problem, dictionary=grid.dictionary, data=part, kappa=kappa, tolerance=PEER_TOLERANCE, limit_s=limit_s,
            reference=reference,
        )  # fmt: skip
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        script = Path(__file__).with_name("physics_tomography_peers.py")
        subprocess.run([interpreter, str(script), str(problem), str(answers)], check=True, env=os.environ | single)
        report = json.loads(answers.read_text())
    for entry in report.values():
        if "failed" not in entry:
            entry["ratio"] = own / entry["pixels_per_cpu_second"]
    usable = {name: entry for name, entry in report.items() if entry.get("equal")}
    fastest = max(usable, key=lambda name: usable[name]["pixels_per_cpu_second"], default=None)
    ratio = usable[fastest]["ratio"] if fastest else None
    return {
        "others": report,
        "own_largest_difference": float(np.abs(ours - reference).max() / np.abs(reference).max()),
        "fastest_other_with_equal_solution": fastest,
        "ratio_to_fastest": ratio,
        "goal_ratio": 20.0,
        "goal_met": None if ratio is None else ratio >= 20.0,
    }


def picture(curves: list[dict[str, Any]], name: str) -> None:
    """Draw detection against distance at every SNR."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    lines = (
        ("sl1mmer", "-", "#0072b2", "SL1MMER"),
        ("svd_wiener_refined", "--", "#d55e00", "SVD-Wiener peaks, refined off the grid"),
        ("svd_wiener", ":", "#009e73", "SVD-Wiener as published"),
    )
    for axis, curve in zip(axes, curves, strict=True):
        for key, style, colour, label in lines:
            rate = np.array(curve[key])
            error = np.sqrt(rate * (1 - rate) / curve["trials"])
            axis.plot(curve["distance_rayleigh"], rate, style, color=colour, label=label)
            axis.fill_between(curve["distance_rayleigh"], rate - error, rate + error, color=colour, alpha=0.2, lw=0)
        axis.axhline(0.5, color="0.8", lw=0.8)
        axis.set(title=f"SNR {curve['snr_db']:g} dB", xlabel="distance / Rayleigh unit", ylim=(0, 1.02))
    axes[0].set_ylabel("both detected, within 3 bounds")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    figure.suptitle(f"{name} stack, simulated, {curves[0]['trials']} trials a point", fontsize=9)
    figure.savefig(IMAGES / picture_name(name), dpi=80, metadata={"Software": None})


def picture_name(name: str) -> str:
    return f"tomography_detection_{name.lower().replace('-', '_')}.png"


def draw(results: dict[str, Any]) -> None:
    """Draw all pictures from results into the documentation."""
    for name in GEOMETRIES:
        picture(results[name]["double"], name)


def stacks(quick: bool) -> dict[str, Any]:
    """One and two scatterers against theory, in both geometries."""
    trials = 500 if quick else 20000
    distances = (
        np.array([0.2, 0.5, 0.9])
        if quick
        else np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.1, 1.3, 1.5])
    )
    result: dict[str, Any] = {}
    for name, geometry in zip(GEOMETRIES, (terrasar_x(), tandem_x()), strict=True):
        result[name] = {
            "acquisitions": geometry.count,
            "rayleigh_m": geometry.rayleigh_m,
            "single": [single(geometry, trials, level, 10 + k) for k, level in enumerate((17.0, 20.0, 23.0, 30.0))],
            "double": [double(geometry, snr, distances, 200 if quick else 4000) for snr in (3.0, 6.0, 10.0)],
            "false_alarms": false_alarms(geometry, trials // 2),
            "picture": picture_name(name),
        }
        print(name, "done", flush=True)
    return result


SECTIONS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "stacks": stacks,
    "differential": lambda quick: {"differential": motion(100 if quick else 1000)},
    "few_baseline": lambda quick: {"few_baseline": few_baselines()},
    "speed": lambda quick: {"speed": speed(2000 if quick else 1_000_000, 20.0 if quick else 60.0)},
}


def run(quick: bool, only: tuple[str, ...] = tuple(SECTIONS)) -> dict[str, Any]:
    """Run the sections; those that are not run keep their results, with the time and machine of their own run."""
    path = RESULTS / "physics_tomography.json"
    before = json.loads(path.read_text()) if path.exists() and not quick else {}
    kept = {"run": before.get("run"), "machine": before.get("machine")}
    result = {key: value for key, value in before.items() if key not in {"benchmark", "run", "machine"}}
    result["data"] = "simulated"
    runs = {name: before.get("sections", {}).get(name, kept) for name in SECTIONS if before}
    for name in only:
        result |= SECTIONS[name](quick)
        runs[name] = {"run": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    return result | {"sections": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS))
    arguments = parser.parse_args()
    if arguments.draw:
        draw(json.loads((RESULTS / "physics_tomography.json").read_text()))
        return
    only = tuple(arguments.only.split(","))
    if not set(only) <= set(SECTIONS):
        raise SystemExit(f"--only takes {', '.join(SECTIONS)}.")
    found = run(arguments.quick, only)
    if arguments.quick:
        print(json.dumps(found, indent=1))
        return
    print(store("physics_tomography", found))
    draw(found)


if __name__ == "__main__":
    main()
