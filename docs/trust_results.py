"""The sections of `docs/results.md` on error bars and outlier flags, from the JSON files of `benchmarks/trust.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, number, section, share, table, words

ECE_GOAL = 0.02
COVERAGE_GOAL = (0.89, 0.91)
AUROC_GOAL = 0.95
MIMO_TIME_GOAL = 1.15
COST_GOAL = 1.25
KINDS = {"real": REAL, "simulated": SIMULATED}
DEFAULT_DETECTOR = "combined"
"""What `ecumene train` fits."""
DEFAULT_STRATEGY = "mixed"
"""What `ecumene trust` chooses places by."""
TITLES = {
    "slovenia": "Slovenia",
    "amazon": "Amazon",
    "simulated": "simulated town",
    "simulated_city": "simulated cities",
    "salinas": "Salinas",
    "rsscn7": "RSSCN7",
    "oscd": "OSCD",
    "potsdam": "Potsdam",
    "beijing": "Beijing",
}


def title_of(name: str) -> str:
    """Return how a data set is called on the page."""
    return TITLES.get(name, words(name))


def spread(entry: Json | None, digits: int = 3, scale: float = 1.0) -> str:
    """Format what `benchmarks.common.spread` returned, a dash where there is nothing."""
    if entry is None:
        return "-"
    text, deviation = number(scale * entry["mean"], digits), entry["standard_deviation"]
    return text if deviation is None else f"{text} ± {number(scale * deviation, digits)}"


def against(text: str, met: bool) -> str:
    """Mark a figure that misses its goal; one that meets it stays as it is."""
    return text if met else f"{text}, missed"


def in_goal(coverage: float) -> bool:
    """Whether a coverage, rounded to per mille as it is shown, lies in the goal's range."""
    return COVERAGE_GOAL[0] <= round(coverage, 3) <= COVERAGE_GOAL[1]


def note_of(entry: Json) -> str:
    """Name a data set with its checksum where it has one."""
    data = entry["data"]
    if "sha256" in data:
        return f"{data['name']} ({data['kind']}, SHA-256 `{data['sha256'][:16]}…`)"
    details = "; ".join(f"{key} {_joined(value)}" for key, value in data.items() if key not in {"name", "kind"})
    return f"{data.get('name', data['kind'])}{f' ({details})' if details else ''}"


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def by_kind(cases: Json) -> Iterable[tuple[str, Json]]:
    """Yield the mark of real and of simulated data with the cases of that kind."""
    for kind, mark in KINDS.items():
        chosen = {name: case for name, case in cases.items() if case["data"]["kind"] == kind}
        if chosen:
            yield mark, chosen


# --- blocks -------------------------------------------------------------------------------------------------------


def blocks(results: Json) -> str:
    """Error bars in distribution, on blocks that nothing was fitted on."""
    parts = []
    for mark, cases in by_kind(results["cases"]):
        classes = {name: case for name, case in cases.items() if "overall_accuracy" in _summary(case)}
        numbers = {name: case for name, case in cases.items() if name not in classes}
        if classes:
            parts += [f"{mark} Classes: {_protocols(classes)}", _block_classes(classes)]
        if numbers:
            parts += [f"{mark} Numbers: {_protocols(numbers)}", _block_numbers(numbers)]
    wanted = share(results["wanted_coverage"], 0)
    intro = (
        f"Error bars in distribution. Wanted coverage {wanted}; seeds from {results['first_seed']} on, on which no "
        "setting was chosen. Goals: calibration error (ECE) at most "
        f"{ECE_GOAL} after calibration, coverage averaged over blocks {share(COVERAGE_GOAL[0], 0)} to "
        f"{share(COVERAGE_GOAL[1], 0)}; a figure that misses its goal says so. *Of perfect probabilities* is the ECE "
        "that labels drawn from the model's own probabilities show on as many independent pixels: noise of the "
        "measure. A set holds at least one class: a model that is right more often than wanted covers more than wanted."
    )
    return section("Trust: error bars on held-out blocks", results, intro, *parts)


def _summary(case: Json) -> Json:
    summary: Json = next(iter(case["learners"].values()))["summary"]
    return summary


def _protocols(cases: Json) -> str:
    return " ".join(f"*{title_of(name)}*: {case['protocol']}; {note_of(case)}." for name, case in cases.items())


def _only_images(runs: Sequence[Json]) -> bool:
    """Whether a block is a single image, so that its coverage is nothing or all."""
    return all(run["fold"] == "images" for run in runs)


def _block_classes(cases: Json) -> str:
    rows = []
    for name, case in cases.items():
        for learner, entry in case["learners"].items():
            found, runs = entry["summary"], entry["runs"]
            ece = found["calibration/expected_calibration_error"]
            coverage = found["class_sets/coverage_mean_of_blocks"]
            worst = None if _only_images(runs) else found["class_sets/coverage_worst_block"]
            rows.append(
                [
                    title_of(name),
                    case["network"] if learner == "network" else learner,
                    spread(found["overall_accuracy"]),
                    spread(found["calibration/expected_calibration_error_before"]),
                    against(spread(ece), round(ece["mean"], 3) <= ECE_GOAL),
                    spread(found["calibration/of_a_perfect_model"]),
                    against(spread(coverage), in_goal(coverage["mean"])),
                    spread(worst),
                    spread(found["class_sets/mean_size"], 2),
                    spread(found["class_sets/mean_size_knowing_shares_only"], 2),
                    spread(found["flagged"]),
                ]
            )
    heads = (
        "data", "model", "overall accuracy", "ECE before", "ECE after", "ECE of perfect probabilities",
        "sets: coverage, mean of blocks", "worst block", "set size", "size knowing shares only", "flagged",
    )  # fmt: skip
    return table(heads, rows) + "\nWhere a block is one image there is no worst block.\n"


def _block_numbers(cases: Json) -> str:
    rows = []
    for name, case in cases.items():
        for entry in case["learners"].values():
            found = entry["summary"]
            coverage = found["interval_coverage_over_blocks"]
            rows.append(
                [
                    title_of(name),
                    case["network"],
                    spread(found["root_mean_square_error"], 2),
                    spread(found["uncertainty_calibration_error_before"], 2),
                    spread(found["uncertainty_calibration_error"], 2),
                    spread(found["ause"]),
                    against(spread(coverage), in_goal(coverage["mean"])),
                    spread(found["interval_coverage_worst_block"]),
                    spread(found["interval_width"], 1),
                    spread(found["width_of_an_interval_without_inputs"], 1),
                    spread(found["flagged"]),
                ]
            )
    heads = (
        "data", "model", "RMSE, m", "UCE before, m", "UCE after, m", "AUSE", "intervals: coverage, mean of blocks",
        "worst block", "width, m", "width without inputs, m", "flagged",
    )  # fmt: skip
    return table(heads, rows)


# --- calibration --------------------------------------------------------------------------------------------------


def calibration(results: Json) -> str:
    """Scalings of logits, class sets, and how many blocks they need."""
    cases = {name: part for name, part in results["parts"].items() if name != "blocks"}
    texts = []
    for mark, chosen in by_kind(cases):
        data = "; ".join(f"*{title_of(name)}*: {note_of(part)}" for name, part in chosen.items())
        texts += [f"{mark} {data}.", _scalings(chosen), _sets(chosen)]
    first = next(_systems(case)[0][1]["runs"] for case in cases.values())
    intro = (
        "Is a scaling of the logits worth it, and do class sets cover? Labels are divided into blocks or polygons; "
        f"{len(first)} seeds from {first[0]['seed']} on, which were not looked at while the rules were chosen. "
        f"Goals: ECE at most {ECE_GOAL}, coverage averaged over blocks {share(COVERAGE_GOAL[0], 0)} to "
        f"{share(COVERAGE_GOAL[1], 0)}."
    )
    if "blocks" in results["parts"]:
        texts.append(_blocks_needed(results["parts"]["blocks"]))
    return section("Trust: calibration and class sets", results, intro, *texts)


def _systems(case: Json) -> list[tuple[str, Json]]:
    return [(name, entry) for name, entry in case.items() if isinstance(entry, dict) and "summary" in entry]


def _scalings(cases: Json) -> str:
    rows = []
    for name, case in cases.items():
        for system, entry in _systems(case):
            found = entry["summary"]
            ece = {key: value["expected_calibration_error"] for key, value in found["scaling"].items()}
            kept = sum(chosen == "identity" for chosen in found["chosen"])
            rows.append(
                [
                    title_of(name),
                    system,
                    spread(ece["identity"]),
                    against(spread(ece["chosen"]), round(ece["chosen"]["mean"], 3) <= ECE_GOAL),
                    number(found["ece_of_all_seeds_pooled"]["chosen"]),
                    spread(ece.get("temperature")),
                    spread(ece.get("vector")),
                    spread(ece.get("dirichlet")),
                    f"{kept} of {len(found['chosen'])}",
                ]
            )
    heads = (
        "data", "system", "ECE unscaled", "ECE of the choice", "the same, seeds pooled", "temperature always",
        "vector always", "Dirichlet always", "seeds in which none was chosen",
    )  # fmt: skip
    return "Scaling of logits:\n\n" + table(heads, rows)


def _sets(cases: Json) -> str:
    rows = []
    for name, case in cases.items():
        for system, entry in _systems(case):
            sets = entry["summary"]["sets"]
            for method in ("lac", "aps", "aps-randomised", "lac, per class"):
                found = sets[method]
                coverage = found["coverage_mean_of_all_blocks"]
                rows.append(
                    [
                        title_of(name),
                        system,
                        method,
                        against(
                            f"{share(coverage)} ± {share(found['coverage_standard_error'])}",
                            in_goal(coverage),
                        ),
                        share(found["coverage_worst_block"]),
                        " / ".join(number(value, 2) for value in found["coverage_per_class"]),
                        spread(found["mean_size"], 2),
                        spread(found["mean_size_knowing_shares_only"], 2),
                    ]
                )
    heads = (
        "data", "system", "sets", "coverage, mean of blocks ± its standard error", "worst block",
        "coverage by class", "size", "size knowing shares only, same coverage",
    )  # fmt: skip
    return "Class sets:\n\n" + table(heads, rows)


def _blocks_needed(part: Json) -> str:
    rows = [
        [
            blocks,
            number(found["ece"]["identity"]),
            number(found["ece"]["chosen"]),
            number(found["ece"]["temperature"]),
            share(found["share_with_a_scaling"], 0),
            share(found["coverage_mean_of_blocks"]),
            number(found["mean_size"], 2),
        ]
        for blocks, found in part["by_calibration_blocks"].items()
    ]
    heads = (
        "calibration blocks", "ECE unscaled", "ECE of the choice", "temperature always", "draws with a scaling",
        "coverage", "set size",
    )  # fmt: skip
    draws = next(iter(part["by_calibration_blocks"].values()))["draws"]
    return (
        f"{REAL} How many calibration blocks are needed: {note_of(part)}, cut into small blocks, random forest, "
        f"{draws} draws a row, wanted coverage {share(part['wanted_coverage'], 0)}. Blocks side by side are alike, so "
        "that these figures are on the hopeful side. Perfect probabilities would show an ECE of "
        f"{number(part['ece_of_honest_probabilities_on_independent_pixels'])} on as many independent pixels.\n\n"
    ) + table(heads, rows)


# --- outliers -----------------------------------------------------------------------------------------------------


def outliers(results: Json) -> str:
    """Detectors side by side on shifts, and what the default does."""
    columns: dict[str, Json] = {}
    for name, part in results["parts"].items():
        if "shifts" in part:
            columns |= {
                f"{title_of(name)}: {shift.removeprefix('region: ')}": methods
                for shift, methods in part["shifts"].items()
            }
        else:
            columns[f"{title_of(name)}: a class left out"] = part["mean_over_classes"]
    data = "; ".join(f"{note_of(part)}, {len(part['seeds'])} seeds" for part in results["parts"].values())
    intro = (
        f"{REAL} {data}. A compact U-Net learns from a scene and meets other regions or clouds with the same bands "
        "and level; or one class is left out of the training (mean over classes). Thresholds are set on held-out "
        "blocks. *Yardsticks* see band means alone."
    )
    chosen = (
        f"What was chosen on what: the default, `{DEFAULT_DETECTOR}`, and its ridge were chosen on earlier runs of "
        "the scene shifts, so that its figures there are no independent test; the class shifts were not used. The "
        "preference of TARDIS for fine grids was fixed on the first seed of Slovenia. TARDIS has seen wild data, the "
        "others have not; its upper bound knows which pixels are wild."
    )
    return section("Trust: outlier detectors", results, intro, chosen, _auroc(columns), _default(columns))


def _methods(columns: Json) -> list[str]:
    found: dict[str, None] = {}
    for methods in columns.values():
        found |= dict.fromkeys(methods)
    return list(found)


def _auroc(columns: Json) -> str:
    rows = []
    for method in _methods(columns):
        cells = [number(entry[method]["auroc"]["mean"] if method in entry else None) for entry in columns.values()]
        rows.append([f"**{method}** (default)" if method == DEFAULT_DETECTOR else method, *cells])
    return "AUROC, mean over seeds:\n\n" + table(("method", *columns), rows)


def _default(columns: Json) -> str:
    rows = []
    for name, methods in columns.items():
        found = methods[DEFAULT_DETECTOR]
        best = max(
            (entry["auroc"]["mean"], method)
            for method, entry in methods.items()
            if not method.startswith(("tardis", "upper bound", "yardstick"))
        )
        auroc = found["auroc"]
        is_scene = "class" not in name
        rows.append(
            [
                name,
                against(spread(auroc), round(auroc["mean"], 3) >= AUROC_GOAL) if is_scene else spread(auroc),
                f"{number(best[0])} ({best[1]})",
                spread(found["fpr95"]),
                spread(found["flagged"]),
                spread(found["false_alarms"]),
            ]
        )
    heads = ("shift", "AUROC", "highest AUROC of a method without wild data", "FPR95", "flagged", "false alarms")
    return (
        f"The default. Goal on region and cloud shifts: AUROC of at least {AUROC_GOAL}. For left-out classes the "
        "deviation is that between classes.\n\n" + table(heads, rows)
    )


# --- members ------------------------------------------------------------------------------------------------------


def members(results: Json) -> str:
    """Ensembles and their kin: quality and cost."""
    texts = []
    for mark, cases in by_kind(results["data_sets"]):
        for name, part in cases.items():
            protocol = ", ".join(f"{words(key)} {value}" for key, value in part["protocol"].items())
            texts += [f"{mark} {title_of(name)}: {note_of(part)}; {protocol}.", _members(part["summary"])]
    intro = (
        "Ways to a predictive distribution side by side, raw members without calibration. All networks learn from the "
        "same data with the same options; sub-networks of MIMO are as wide as the multiplications of the single "
        "network allow. Time and operations are ratios to the single network in one run. Goal for MIMO: at the "
        f"accuracy of the single network (less one percentage point) at most {MIMO_TIME_GOAL} times its time."
    )
    return section("Trust: ensembles, dropout, Laplace, MIMO", results, intro, *texts)


def _equal(found: Json, single: Json) -> bool:
    """Whether an accuracy is not below the single network's by more than a percentage point."""
    return bool(found["overall_accuracy"]["mean"] >= single["overall_accuracy"]["mean"] - 0.01)


def _members(summary: Json) -> str:
    single = summary["single"]
    rows = []
    for method, found in summary.items():
        time = found["time_ratio"]
        free = not method.startswith("mimo")
        rows.append(
            [
                method,
                against(spread(found["overall_accuracy"]), free or _equal(found, single)),
                spread(found["negative_log_likelihood"]),
                spread(found["expected_calibration_error"]),
                spread(found["brier_score"]),
                spread(found["auroc_of_errors"]),
                spread(found["ause"]),
                spread(found["auroc_of_shift_by_total"]),
                spread(found.get("auroc_of_shift_by_epistemic")),
                against(spread(time, 2), free or time["mean"] <= MIMO_TIME_GOAL),
                spread(found["flop_ratio"], 2),
                f"{found['flops_per_pixel']['mean']:,.0f}",
                f"{found['parameters']['mean']:,.0f}",
            ]
        )
    heads = (
        "method", "overall accuracy", "NLL", "ECE", "Brier score", "AUROC of errors", "AUSE",
        "AUROC of the shift: total", "epistemic", "time, ratio", "operations, ratio", "operations a pixel",
        "parameters",
    )  # fmt: skip
    return table(heads, rows)


# --- where to label next ------------------------------------------------------------------------------------------


def label_next(results: Json) -> str:
    """Learning curves of the strategies that choose places for labels."""
    texts = []
    for name, field in results["fields"].items():
        mark = KINDS[field["data"]["kind"]]
        texts += [
            f"{mark} {title_of(name)}: {note_of(field)}. {field['protocol'][0].upper()}{field['protocol'][1:]}; "
            f"{len(field['seeds'])} seeds from {field['seeds'][0]} on.",
            _strategies(field),
        ]
    intro = (
        "Where to label next: learning curves of a random forest whose training places are chosen one batch after "
        "the other. The gain is the mean difference to random places over the whole curve, with its 95 % interval "
        "over seeds; goal: fewer labels than random places need. What was chosen on what: the settings on other runs "
        "of the same images; `combined` had been seen on the runs of Salinas before `mixed` became the default."
    )
    return section("Trust: where to label next", results, intro, *texts)


def _strategies(field: Json) -> str:
    accuracy, score = (field["comparison"][key] for key in ("overall_accuracy", "macro_f1"))
    rows = []
    for name, found in score["strategies"].items():
        other = accuracy["strategies"][name]
        rows.append(
            [
                f"**{name}** (default)" if name == DEFAULT_STRATEGY else name,
                number(other["last"]),
                number(found["last"]),
                *("-" if name == "random" else _gain(entry) for entry in (other, found)),
                "-" if name == "random" else f"{found['seeds_better_than_random']} of {len(field['seeds'])}",
                number(other["places_needed_for_random_at_last"], 0),
                number(found["places_needed_for_random_at_last"], 0),
            ]
        )
    last = score["places"][-1]
    heads = (
        "strategy", f"overall accuracy at {last}", f"macro F1 at {last}", "gain in accuracy", "gain in macro F1",
        "seeds with a gain in F1", f"places for the accuracy of {last} random ones", "for their macro F1",
    )  # fmt: skip
    return table(heads, rows) + "\nA dash: not reached.\n"


def _gain(found: Json) -> str:
    low, high = found["gain_95_interval"]
    return f"{found['gain_over_random']:+.3f} ({low:+.3f} to {high:+.3f})"


# --- cost ---------------------------------------------------------------------------------------------------------


def cost(results: Json) -> str:
    """Time of a map with everything against the time of the classes alone."""
    settings = ", ".join(f"{words(key)} {value}" for key, value in results["settings"].items())
    rows = [
        [
            name,
            against(number(found["wall"], 2), name != "default" or found["wall"] <= COST_GOAL),
            number(found["processor"], 2),
        ]
        for name, found in results["ratio_to_class_only"].items()
    ]
    return section(
        "Trust: what the default layers cost a map",
        results,
        f"{SIMULATED} {results['data'][0].upper()}{results['data'][1:]}; {settings}. Ratios of medians to a map of "
        "value and valid only, one process, rounds interleaved. Goal for the default: at most "
        f"{COST_GOAL} times.\n\n" + table(("map", "wall time, ratio", "processor time, ratio"), rows),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "trust_blocks": blocks,
    "trust_calibration": calibration,
    "trust_outliers": outliers,
    "trust_members": members,
    "label_next": label_next,
    "trust_cost": cost,
}
