"""The radar sections of `docs/results.md` on the physics room, from the JSON files of `benchmarks/physics.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, data_note, number, section, share, table, words

# --- tomography ---------------------------------------------------------------------------------------------------


def tomography(results: Json) -> str:
    """Tomography: everything simulated."""
    stacks = {name: results[name] for name in ("TerraSAR-X-like", "TanDEM-X-like")}
    intro = (
        f"{SIMULATED} Two geometries: "
        + "; ".join(
            f"{n} ({s['acquisitions']} acquisitions, Rayleigh unit {s['rayleigh_m']:.1f} m)" for n, s in stacks.items()
        )
        + ". The scatterers have random phases and lie off the grid. Sections were run at: "
        + ", ".join(f"{words(name)} {entry['run'][:16]}" for name, entry in results["sections"].items())
        + "."
    )
    return section(
        "Physics: radar tomography",
        results,
        intro,
        _single(stacks),
        _double(stacks),
        _alarms(stacks),
        _motion(results["differential"]),
        _few(results["few_baseline"]),
        _speed(results["speed"]),
    )


def _single(stacks: Json) -> str:
    rows = []
    for name, stack in stacks.items():
        for entry in stack["single"]:
            given, chosen = entry["order_given"], entry["order_selected"]
            rows.append(
                [
                    name,
                    f"{entry['n_times_snr_db']:g}",
                    number(entry["bound_m"], 2),
                    number(given["standard_deviation_over_bound"]),
                    f"{given['bias_over_bound']:+.3f}",
                    number(given["stated_over_bound"]),
                    share(given["coverage_of_1_sigma"]),
                    share(chosen["share_with_one_scatterer"], 2),
                ]
            )
    heads = (
        "stack", "N x SNR, dB", "Cramér-Rao bound, m", "standard deviation / bound", "bias / bound",
        "stated error / bound", "within 1 sigma", "one scatterer found",
    )  # fmt: skip
    trials = next(iter(stacks.values()))["single"][0]["trials"]
    return f"One scatterer, {trials:,} trials a row; the goal from 20 dB on is 1.0 +- 0.1 and bias below 0.1.\n\n" + (
        table(heads, rows)
    )


def _double(stacks: Json) -> str:
    rows = []
    for name, stack in stacks.items():
        for curve in stack["double"]:
            found = curve["against_svd_wiener_below_one"]["svd_wiener_refined"]
            plain = curve["against_svd_wiener_below_one"]["svd_wiener"]
            worse = sorted({*found["worse_beyond_two_errors_at"], *plain["worse_beyond_two_errors_at"]})
            rows.append(
                [
                    name,
                    f"{curve['snr_db']:g}",
                    number(curve["super_resolution_factor"], 2),
                    number(curve["super_resolution_factor_svd_wiener"], 2),
                    f"{100 * plain['mean_gain']:+.1f}",
                    f"{100 * found['mean_gain']:+.1f}",
                    f"{len(found['better_beyond_two_errors_at'])} of {len(found['gain'])}",
                    ", ".join(f"{d:g}" for d in worse) or "nowhere",
                ]
            )
    heads = (
        "stack", "SNR, dB", "super-resolution factor", "of SVD-Wiener", "gain over SVD-Wiener, points",
        "gain over its refined peaks, points", "better by two standard errors at", "worse by two at",
    )  # fmt: skip
    trials = next(iter(stacks.values()))["double"][0]["trials"]
    pictures = "\n".join(f"![Detection, {name}](images/{stack['picture']})" for name, stack in stacks.items())
    return (
        f"Two equal scatterers, {trials:,} trials a distance. Detected: two are found, both within three bounds of the "
        "truth. The super-resolution factor is one Rayleigh unit over the distance at which half are detected; gains "
        "are means over distances below one unit. Published for SL1MMER (Zhu and Bamler, IEEE TGRS 50(1), 2012): "
        "factors of 1.5 to 25 in the range of N x SNR that is of interest, also simulated.\n\n"
        f"{table(heads, rows)}\n{pictures}\n"
    )


def _alarms(stacks: Json) -> str:
    rows = [
        [name, criterion, share(found["scatterer_in_noise"], 2), share(found["second_beside_one"], 2)]
        for name, stack in stacks.items()
        for criterion, found in stack["false_alarms"]["criteria"].items()
    ]
    heads = ("stack", "criterion", "a scatterer in noise", "a second one beside one")
    return "False alarms at 10 dB:\n\n" + table(heads, rows)


def _motion(found: Json) -> str:
    rows = [
        [words(name), unit, number(found["rms_error"][name]), number(found["standard_deviation_over_bound"][name])]
        for name, unit in found["units"].items()
    ]
    return (
        f"Differential tomography, two scatterers that move differently, {found['snr_db']:g} dB, {found['trials']} "
        f"trials, {found['atoms']:,} atoms: two were found in {share(found['share_with_two'])}, right in "
        f"{share(found['share_of_them_right'])} of these.\n\n"
        + table(("parameter", "unit", "root mean square error", "standard deviation / bound"), rows)
    )


def _few(found: Json) -> str:
    rows = [
        [
            pairs,
            number(entry["median_looks"], 0),
            number(entry["pixel_median_absolute_error_m"], 2),
            number(entry["pixel_rmse_m"], 2),
            share(entry["outlier_share"]),
            number(entry["building_rmse_m"], 2),
            number(entry["building_scaled_rms"], 2),
        ]
        for pairs, entry in found.items()
    ]
    heads = (
        "interferograms", "median looks", "pixels: median error, m", "pixels: RMSE without flagged, m", "flagged",
        "buildings: RMSE, m", "buildings: error / stated error",
    )  # fmt: skip
    return (
        "Few baselines: nine blocks of 5 to 80 m, coherence 0.75. Published on real TanDEM-X data against LiDAR (Shi "
        "et al., IEEE TGRS 58(12), 2020): better than 2 m. These blocks have no layover, shadow or trees, so the "
        "figures cannot be compared.\n\n" + table(heads, rows)
    )


def _speed(found: Json) -> str:
    own = found["one_thread"]
    rows = [["ecumene", f"{own['pixels_per_cpu_second']:,.0f}", "1", "yes", "active-set Newton, one thread"]]
    for name, entry in (found["others"] or {}).items():
        if "failed" in entry:
            rows.append([f"{name} {entry['version']}", "-", "-", "failed", entry["what"]])
        else:
            rows.append(
                [
                    f"{name} {entry['version']}",
                    f"{entry['pixels_per_cpu_second']:,.1f}",
                    f"{entry['ratio']:,.0f}",
                    "yes" if entry["equal"] else "no",
                    entry["what"],
                ]
            )
    return (
        f"Speed of the L1 inversion: {found['pixels']:,} pixels x {found['acquisitions']} acquisitions, "
        f"{found['atoms']} atoms, duality gap {own['tolerance']:g}; goal {found['goal_ratio']:g} times the fastest "
        "other solver with the same solution to 1e-4. All of SL1MMER: "
        f"{found['sl1mmer_pixels_per_cpu_second']:,.0f} pixels a processor second.\n\n"
        + table(("solver", "pixels a processor second", "ecumene is faster, times", "same solution", "what"), rows)
    )


# --- interferometry -----------------------------------------------------------------------------------------------


def interferometry(results: Json) -> str:
    """Interferometry: Mexico City, then simulations."""
    found = results["mexico_city"]
    return section(
        "Physics: interferometry",
        results,
        f"{REAL} {data_note(results['data'])} {found['acquisitions']} acquisitions, {found['pairs']} unwrapped pairs, "
        f"{found['pixels']:,} pixels, median of the image as reference.",
        _mexico(found),
        _standard_errors(found),
        f"{SIMULATED} Phase unwrapping against truth:",
        _unwrapping(results["unwrapping"]),
        _series(results["series"]),
    )


def _mexico(found: Json) -> str:
    rate, error = found["velocity_mm_per_year"], found["velocity_deviation_mm_per_year"]
    closure = found["closure"]
    rows = [
        ["velocity towards the satellite, mm a year: 1, 50, 99 %", f"{rate['p01']}, {rate['p50']}, {rate['p99']}"],
        ["its standard error, mm a year: 5, 50, 95 %", f"{error['p05']}, {error['p50']}, {error['p95']}"],
        ["temporal coherence, median", number(found["temporal_coherence"]["p50"])],
        [f"{closure['loops']} loops: pixels with whole cycles left", share(closure["with_whole_cycles"], 3)],
        ["closure residual, rad, and that of independent pairs", f"{closure['residual_rms_rad']}, "
         f"{closure['expected_rms_if_pairs_were_independent_rad']}"],
        ["flagged for closure, fit, coherence", ", ".join(share(v, 2) for v in found["flagged"].values())],
    ]  # fmt: skip
    dem = found["dem_error"]
    cases = {
        "weighted, with acquisition noise": "against_reference",
        "the same, with the reference's look angle as lever": "against_reference_with_its_look_angle_lever",
        "plain least squares, as the reference": "plain_least_squares_against_reference",
    }
    fits = [
        [
            label,
            number(dem[key]["correlation"], 4),
            number(dem[key]["bias_mean_m"], 2),
            number(dem[key]["slope"]),
            number(dem[key]["rms_difference_m"], 2),
        ]
        for label, key in cases.items()
    ]
    heads = ("inversion", "correlation", "bias, m", "slope", "RMS difference, m")
    return (
        table(("quantity", "value"), rows)
        + "\nDEM error against the reference output that comes with the data (unweighted, another software). Its "
        f"geometry differs in scale: {found['notes'][0]} The root mean square difference is "
        f"{number(dem['difference_over_stated_deviation_rms'], 2)} of the stated standard error.\n\n"
        + table(heads, fits)
    )


def _standard_errors(found: Json) -> str:
    real, control = found["standard_errors"], found["standard_errors_control"]
    rows = [
        [
            words(name),
            number(real[name]["stated_over_jackknife_rms"]),
            number(control[name]["stated_over_jackknife_rms"]),
            number(control[name]["jackknife_over_actual_rms"]),
            number(control[name]["stated_over_actual_rms"]),
            share(control[name]["coverage_1_sigma"]),
        ]
        for name in ("rate", "dem_error")
    ]
    heads = (
        "parameter", "real: stated / jackknife", "control: stated / jackknife", "control: jackknife / actual",
        "control: stated / actual", "control: within 1 sigma",
    )  # fmt: skip
    lags = found["residual_correlation_in_time"]
    correlation = [[lag, number(v["measured"]), number(v["white_noise"])] for lag, v in lags.items()]
    return (
        "Are the standard errors right? On real data they are compared with what leaving out single dates shows. The "
        "control is the same network with simulated noise that is white in time (SIMULATED), where the error is known: "
        "there the jackknife is too large, so that a ratio below one is no sign of optimism.\n\n"
        f"{table(heads, rows)}\nCorrelation in time of what the model leaves, over all pixels:\n\n"
        + table(("lag", "measured", "left by white noise"), correlation)
    )


def _unwrapping(found: Json) -> str:
    rows = [
        [
            case,
            f"{entry['residues']:,}",
            method,
            share(entry[method]["pixels_with_wrong_cycles"], 2),
            number(entry[method]["seconds"], 1),
        ]
        for case, entry in found.items()
        if isinstance(entry, dict)
        for method in ("minimum-cost-flow", "reliability")
    ]
    return table(("case", "residues", "method", "wrong cycles", "seconds"), rows)


def _series(found: Json) -> str:
    rows = [
        [
            words(name),
            f"{found[name]['bias_over_deviation']:+.3f}",
            number(found[name]["standardised_error_deviation"]),
            number(found[name]["student_t_expectation"]),
            share(found[name]["coverage_1_sigma"]),
            share(found[name]["coverage_2_sigma"]),
        ]
        for name in ("rate", "dem_error")
    ]
    heads = ("parameter", "bias / stated", "error / stated", "expected of Student's t", "within 1 sigma", "within 2")
    return (
        f"{SIMULATED} Small-baseline series, {found['pixels']:,} pixels, {found['acquisitions']} acquisitions, "
        f"{found['pairs']} pairs: {found['pixels_per_processor_second']:,.0f} pixels a processor second.\n\n"
        + table(heads, rows)
    )


# --- speckle ------------------------------------------------------------------------------------------------------

_FILTERS = ("refined-lee", "gamma-map", "nonlocal", "merlin")


def speckle(results: Json) -> str:
    """Speckle filters and polarimetry."""
    return section(
        "Physics: speckle and polarimetry",
        results,
        f"{REAL} {data_note(results['data_sets'])} No truth is known; the ratio of image and result should be speckle "
        "of one look, mean one, without structure.",
        _chips(results["uavsar_slc_chips"]),
        _held_out(results["uavsar_slc_chips"]),
        _polarimetry(results["polsar_manitoba"]),
        _filters(results["simulated"]),
    )


def _chips(chips: Json) -> str:
    rows = [
        [
            chip,
            name,
            number(part["looks_before"][0], 2),
            number(part[name]["looks_after_quiet_region"], 1),
            f"{part[name]['mean_after_over_before_percent']:+.1f} %",
            number(part[name]["ratio_mean"]),
            number(part[name]["ratio_looks"], 2),
            " / ".join(number(v) for v in part[name]["edge_preservation_ratio"]),
            share(part[name]["flagged"]),
        ]
        for chip, part in chips.items()
        for name in _FILTERS
        if name in part
    ]
    heads = (
        "chip", "filter", "looks before", "looks after, quiet region", "mean", "mean of ratio", "looks of ratio",
        "edge preservation, rows / columns", "flagged",
    )  # fmt: skip
    return table(heads, rows)


def _held_out(chips: Json) -> str:
    rows = []
    for chip, part in chips.items():
        found = part["held_out_sublook_mean_deviance"]
        for name, entry in found.items():
            if isinstance(entry, dict):
                rows.append([chip, name, number(entry["all"]), number(entry["edges"])])
    return (
        "One half of the spectrum is filtered and predicts the other, which was not used: mean gamma deviance, the "
        "smaller the better; twice Euler's constant, 1.154, for perfect knowledge of one-look speckle.\n\n"
        + table(("chip", "filter", "all pixels", "edges"), rows)
    )


def _polarimetry(found: Json) -> str:
    def three(values: Sequence[float]) -> str:
        return ", ".join(f"{value:g}" for value in values)

    rows = [
        ["matrices positive semidefinite", share(found["usable_share"])],
        ["looks of homogeneous blocks", number(found["looks_of_homogeneous_blocks"], 1)],
        ["entropy: 5, 50, 95 %", three(found["entropy_percentiles_5_50_95"])],
        ["anisotropy", three(found["anisotropy_percentiles_5_50_95"])],
        ["alpha, degrees", three(found["alpha_deg_percentiles_5_50_95"])],
        ["inside of the feasible H/alpha region", share(found["inside_feasible_h_alpha_region_share"])],
        [
            "T3 from C3 against the T3 delivered: largest relative difference",
            f"{found['coherency_from_covariance_largest_relative_difference']:.0e}",
        ],
        ["Wishart clusters converged", "yes" if found["converged"] else f"no, in {found['iterations']} iterations"],
        [
            "neighbours in one cluster, and by chance",
            f"{share(found['neighbours_in_same_cluster_share'])}, {share(found['expected_for_random_labels'])}",
        ],
    ]
    return f"{REAL} Polarimetry of Manitoba:\n\n" + table(("quantity", "value"), rows)


def _filters(found: Json) -> str:
    rows = [
        [
            words(case),
            name,
            number(part[name]["rmse_db_before"], 2),
            number(part[name]["rmse_db"], 2),
            f"{part[name]['radiometric_bias_percent']:+.1f} %",
            number(part[name]["looks_flat"], 0),
            number(part[name]["edge_preservation_index"], 2),
            share(part[name]["within_one_sigma"]),
            number(part[name].get("error_bar_factor"), 2),
            share(part[name].get("within_one_sigma_enlarged")),
        ]
        for case, part in found.items()
        if isinstance(part, dict)
        for name in _FILTERS
        if name in part
    ]
    heads = (
        "case", "filter", "RMSE before, dB", "after, dB", "bias", "looks of flat areas", "edge preservation",
        "truth within 1 sigma", "factor by repetition", "within 1 sigma with it",
    )  # fmt: skip
    return (
        f"{SIMULATED} Filters against truth. The factor comes from repeating a filter on simulated speckle over its "
        "own result; the command applies it to `nonlocal`, whose weights have seen the speckle that they average.\n\n"
        + table(heads, rows)
    )
