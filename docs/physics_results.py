"""The sections of `docs/results.md` on the physics room, from the JSON files of `benchmarks/physics.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from physics_radar_results import interferometry, speckle, tomography
from tables import REAL, SIMULATED, Json, data_note, number, section, share, table, words

# --- unmixing -----------------------------------------------------------------------------------------------------


def unmixing(results: Json) -> str:
    """Unmixing: two real cubes, coverage on simulated ones, speed."""
    jasper = results["jasper_ridge"]
    soft = [
        [weight, number(found["abundance_rmse"], 4), number(found["largest_deviation_of_the_sum"], 4)]
        for weight, found in jasper["soft_sum_to_one"].items()
    ]
    goal = jasper["goal_abundance_rmse"]
    nearest = min(jasper["soft_sum_to_one"].items(), key=lambda item: abs(item[1]["abundance_rmse"] - goal))
    return section(
        "Physics: spectral unmixing",
        results,
        f"{REAL} {data_note(results['data'])} The references are themselves estimates; Samson's endmembers get the "
        "least-squares scale of its reference abundances.",
        _given({"Jasper Ridge": jasper, "Samson": results["samson"]}),
        f"Published for FCLS with the reference's endmembers on Jasper Ridge: {goal}. That value needs a soft sum: "
        f"with non-negative least squares and a weighted row of ones it appears near a weight of {nearest[0]}, where "
        f"sums miss one by up to {number(nearest[1]['largest_deviation_of_the_sum'], 2)}; the exact solution has "
        f"{number(jasper['given_endmembers']['fcls']['abundance_rmse'], 4)}.\n\n"
        + table(("weight of the sum", "abundance RMSE", "largest deviation of a sum"), soft),
        _blind({"Jasper Ridge": jasper, "Samson": results["samson"]}),
        _unmixing_simulated(results["simulated"]),
        _unmixing_speed(results["speed"]),
    )


def _given(cubes: Json) -> str:
    rows = [
        [
            cube,
            words(method),
            number(found["abundance_rmse"], 4),
            share(found.get("reference_within_1_sigma")),
            share(found.get("reference_within_2_sigma")),
            share(found.get("reference_within_1_sigma_white_noise")),
        ]
        for cube, part in cubes.items()
        for method, found in part["given_endmembers"].items()
    ]
    heads = (
        "cube", "method, endmembers given", "abundance RMSE", "reference within 1 sigma", "within 2",
        "within 1 sigma if residuals were white",
    )  # fmt: skip
    return table(heads, rows)


def _blind(cubes: Json) -> str:
    def angles(found: Json) -> str:
        return f"{found['median']:.1f} ({found['best']:.1f} to {found['worst']:.1f})"

    rows = [
        [
            cube,
            words(method),
            angles(part["blind"][method]["mean_angle_deg"]),
            number(part["blind"][method]["abundance_rmse"]["fcls"]["median"]),
            number(part["blind"][method]["abundance_rmse"]["scaled"]["median"]),
            f"{part['blind']['hysime_dimension']} / {part['blind']['reference_endmembers']}",
        ]
        for cube, part in cubes.items()
        for method in ("vca", "n_findr", "ppi")
    ]
    heads = (
        "cube", "endmembers from the image", "spectral angle, degrees: median (range over 20 seeds)", "RMSE, FCLS",
        "RMSE, scaled", "HySime / reference number",
    )  # fmt: skip
    return "Endmembers found blindly, matched to the reference's; medians over seeds:\n\n" + table(heads, rows)


def _unmixing_simulated(found: Json) -> str:
    rows = [
        [
            words(name),
            number(entry["abundance_rmse"], 4),
            share(entry["within_1_sigma"]),
            share(entry["within_2_sigma"]),
            f"{entry['hysime_dimension']} / {entry['endmembers']}",
        ]
        for name, entry in found.items()
        if isinstance(entry, dict)
    ]
    heads = ("case", "abundance RMSE", "within 1 sigma", "within 2 sigma", "HySime / true number")
    return f"{SIMULATED} Coverage of the error bars of FCLS:\n\n" + table(heads, rows)


def _unmixing_speed(found: Json) -> str:
    rows = [
        [
            words(order),
            f"{part['pixels_a_second_wall']['loop']:,.0f}",
            f"{part['pixels_a_second_wall']['one_thread']:,.0f}",
            f"{part['pixels_a_second_wall']['with_errors']:,.0f}",
            number(part["ratio_one_thread_processor_time"], 0),
            f"{part['kkt_violation']:.0e}",
            f"{part['kkt_violation_of_the_loop']:.0e}",
        ]
        for order, part in found.items()
        if isinstance(part, dict)
    ]
    heads = (
        "pixels in", "scipy loop, pixels a second", "ecumene, one thread", "ecumene with error bars",
        "ratio of processor time", "optimality violated by", "by the loop",
    )  # fmt: skip
    return (
        f"Speed of FCLS on Jasper Ridge's spectra ({found['pixels']:,} pixels); goal {found['goal_ratio']} times, "
        f"optimality conditions to {found['goal_kkt']:g}:\n\n" + table(heads, rows)
    )


# --- sharpening ---------------------------------------------------------------------------------------------------

_PAIRS = {
    "rotterdam_1": "Rotterdam 1, 1 m to 0.5 m",
    "rotterdam_2": "Rotterdam 2",
    "rotterdam_3": "Rotterdam 3",
    "thailand_20_to_10_m": "Sentinel-2, Thailand, 20 m to 10 m",
}


def sharpening(results: Json) -> str:
    """Sharpening by Wald's protocol, and the error bars."""
    return section(
        "Physics: sharpening",
        results,
        f"{REAL} {data_note(results['data'])} Wald's protocol: both images are degraded by the ratio, and the coarse "
        "image is the reference. A shift between the images is estimated and removed; *as delivered* it is not.",
        _wald(results),
        "**Real cube, simulated pair.** Jasper Ridge, four times, six simulated multispectral bands:\n\n"
        + _quality({name: part for name, part in results["jasper_ridge_4x"].items() if isinstance(part, dict)}),
        _bars(results["error_bars"]),
    )


def _quality(methods: Json) -> str:
    rows = [
        [name, number(q["sam_deg"], 2), number(q["ergas"], 2), number(q["q2n"]), number(q["rmse"], 4)]
        for name, q in methods.items()
    ]
    return table(("method", "SAM, degrees", "ERGAS", "Q2n", "RMSE"), rows)


def _wald(results: Json) -> str:
    rows = []
    for key, title in _PAIRS.items():
        part = results[key]
        for method, quality in part["registered"].items():
            rows.append(
                [
                    title,
                    method,
                    number(quality["sam_deg"], 2),
                    number(quality["ergas"], 2),
                    number(quality["q2n"]),
                    number(quality["rmse"], 4 if quality["rmse"] < 1 else 1),
                    number(part["as_delivered"][method]["ergas"], 2),
                ]
            )
    heads = ("pair", "method", "SAM, degrees", "ERGAS", "Q2n", "RMSE", "ERGAS as delivered")
    return table(heads, rows)


def _bars(found: Json) -> str:
    rows = [
        [
            words(name),
            share(entry["within_1_sigma"]),
            share(entry["within_2_sigma"]),
            number(entry["rms_of_error_over_sigma"], 2),
            number(entry["rmse"], 4),
        ]
        for name, entry in found.items()
        if isinstance(entry, dict)
    ]
    short = [v["rms_of_error_over_sigma"] for k, v in found.items() if k.endswith(("_cnmf", "_joint-sparsity"))]
    return (
        "**Real bands, simulated pair.** Do the error bars hold at full scale? A 10 m band is degraded to 20 m and "
        "sharpened with the others; the sensor's gain is another one than the sharpener assumes. Errors of `cnmf` "
        f"and `joint-sparsity` are {min(short):.2f} to {max(short):.2f} times as large as stated: they grow from scale "
        "to scale by more than two coarser scales can tell.\n\n"
        + table(("band and method", "within 1 sigma", "within 2 sigma", "RMS of error / sigma", "RMSE"), rows)
    )


# --- retrieval ----------------------------------------------------------------------------------------------------


def retrieval(results: Json) -> str:
    """Atmospheric retrieval and merged series: everything simulated."""
    rows = []
    for name, case in results["cases"].items():
        found = case["optimal_estimation"]
        coverage = found["coverage_by_element"].values()
        rows.append(
            [
                words(name),
                f"{case['bands']} / {len(case['state'])}",
                f"{case['jacobian_largest_relative_error']:.0e}",
                f"{share(min(coverage))} to {share(max(coverage))}",
                number(found["joint_distance_over_expected"]),
                number(found["degrees_of_freedom"], 2),
                f"{found['spectra_per_second']:,.0f}",
            ]
        )
    heads = (
        "case", "bands / unknowns", "Jacobian, largest relative error", "within 1 sigma, by element",
        "joint distance / expected", "degrees of freedom", "spectra a second",
    )  # fmt: skip
    draws = next(iter(results["cases"].values()))["optimal_estimation"]["draws"]
    return section(
        "Physics: atmospheric retrieval",
        results,
        f"{SIMULATED} Spectra come from the forward model itself with noise of {results['noise']}, so that this tests "
        "the inversion and its error bars, not the model of the atmosphere.",
        f"Optimal estimation, {draws:,} draws from the prior; goals: 68 +- 2 % for every element, Jacobian to 1e-5.\n\n"
        + table(heads, rows),
        _network(results["network"]),
        _merged(results["merged_series"]),
    )


def _network(found: Json) -> str:
    rows = [
        [
            gas,
            share(found["coverage"][gas]),
            number(found["rmse"][gas], 2),
            number(found["rmse_optimal_estimation"][gas], 2),
        ]
        for gas in found["coverage"]
    ]
    outside = [[words(name), share(entry["flagged_share"])] for name, entry in found["outside_prior"].items()]
    return (
        f"Network of {found['members']} members, {found['spectra_per_second']:,} spectra a second; inside the prior "
        f"{share(found['flagged_inside_prior'], 2)} are flagged.\n\n"
        + table(("gas", "within 1 sigma", "RMSE", "RMSE of optimal estimation"), rows)
        + "\nOutside of what it was trained on:\n\n"
        + table(("spectra with", "flagged"), outside)
    )


def _merged(found: Json) -> str:
    rows = [
        ["trend: error / stated error", number(found["trend_error_over_stated_error_rms"])],
        ["trend: within 1 sigma", share(found["trend_coverage_1_sigma"])],
        ["bias between instruments: error / stated error", number(found["bias_error_over_stated_error_rms"])],
    ]
    return f"Merging of three overlapping instruments over 20 years, {found['trials']} trials:\n\n" + table(
        ("quantity", "value"), rows
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "physics_tomography": tomography,
    "physics_interferometry": interferometry,
    "physics_unmixing": unmixing,
    "physics_sharpening": sharpening,
    "physics_speckle": speckle,
    "physics_retrieval": retrieval,
}
