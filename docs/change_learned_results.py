"""The sections of `docs/results.md` on learned change and on a town's growth, from the benchmarks' JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, data_note, mean_and_spread, number, section, table, words

SEMI_HEADS = {
    "labels": ("training", "F1", "precision", "recall"),
    "style": ("training", "F1, known style", "F1, other style"),
    "balance": ("balance", "F1, both", "radar alone", "optical alone", "both, radar missing", "both, optical missing"),
    "series": ("dates from", "F1 of growth", "same interval", "mean error, years"),
}

STREAMS = ("fusion", "radar", "optical", "fusion-without-radar", "fusion-without-optical")
SERIES_FIGURES = ("grown_f1", "same_interval", "mean_error_years")


def few_labels(results: Json) -> str:
    """Change learned from few labelled pixels, and without labels on the same pairs."""
    rows = []
    for key, found in results["summary"].items():
        place, per_class, method = key.split("|")
        figures = (mean_and_spread(found[name]) for name in ("oa", "kappa", "f1", "auc"))
        rows.append([words(place), per_class, method, str(found["seeds"]), *figures])
    without = [
        [words(place), name, *(number(found[figure]) for figure in ("oa", "kappa", "f1", "auc"))]
        for place, methods in results["without labels, all labelled pixels"].items()
        for name, found in methods.items()
    ]
    plan = results["plan"]
    return section(
        "Change learned from few labels",
        results,
        f"{REAL} {data_note(results['data'])} Learned and tested in different blocks of {plan['block']} pixels, "
        "patches of both sides share no pixel; the same pixels for all methods of a seed. `svm` sees the stacked "
        "spectra of both dates, `svm 5x5` those of a patch.",
        table(("pair", "labels a class", "method", "seeds", "OA", "kappa", "F1", "AUC"), sorted(rows)),
        "Without labels, on all labelled pixels of the same pairs, which is not the same test:",
        table(("pair", "method", "OA", "kappa", "F1", "AUC"), without),
    )


def growth(results: Json) -> str:
    """A growing town from scenes to SDG 11.3.1."""
    rows = [
        [what, name, mean_and_spread(found)]
        for what, figures in results["summary"].items()
        for name, found in figures.items()
        if isinstance(found, dict) and "mean" in found
    ]
    towns = len(results["towns"])
    return section(
        "Growth of a town, from scenes to SDG 11.3.1",
        results,
        f"{SIMULATED} {towns} towns that grow from 2016 to 2024: yearly maps by a forest (`series --model`), breaks in "
        "two-monthly scenes (`series --method breaks`), first and last map compared (`change`), indicators of the "
        "years of first built-up. Intervals are meant to hold 90 %.",
        table(("part", "figure", "mean ± deviation over towns"), rows),
    )


def semi(results: Json) -> str:
    """Unlabelled places, another style of towns, balance of modalities, series of sites."""
    summary = results["summary"]
    rows: dict[str, list[list[str]]] = {
        "labels": [
            [name, *(mean_and_spread(found[figure]) for figure in ("f1", "precision", "recall"))]
            for name, found in summary.get("labels", {}).items()
        ],
        "style": [
            [name, *(mean_and_spread(found[f"{style}.f1"]) for style in ("temperate", "arid"))]
            for name, found in summary.get("style", {}).items()
        ],
        "balance": [
            [name, *(mean_and_spread(found[f"f1.{stream}"]) for stream in STREAMS)]
            for name, found in summary.get("balance", {}).items()
        ],
        "series": [
            [f"{name}: {words(how)}", *(mean_and_spread(found[f"{how}.{figure}"]) for figure in SERIES_FIGURES)]
            for name, found in summary.get("series", {}).items()
            for how in dict.fromkeys(key.split(".")[0] for key in found if "." in key)
        ],
    }
    titles = {
        "labels": "Share of labelled places, supervised and with consistency on unlabelled ones (C4):",
        "style": "Settlement found in towns of a style without labels (C3):",
        "balance": "Balance of radar and optical streams (C12):",
        "series": "Time of change in series of sites (C5):",
    }
    most = {part: max(len(runs) for runs in results["runs"][part].values()) for part in rows if rows[part]}
    said = ", ".join(f"{part} {count}" for part, count in most.items())
    blocks = [text for part in most for text in (titles[part], table(SEMI_HEADS[part], rows[part]))]
    return section(
        "Semi-supervised and multi-modal change",
        results,
        f"{SIMULATED} Towns of {results['settings']['side']} pixels, narrow networks, {results['settings']['steps']} "
        f"steps. Seeds: {said}; with one seed nothing is known about chance, and differences are to be read so.",
        *blocks,
    )


def oscd(results: Json) -> str:
    """Urban change with one city left out."""
    rows = []
    for key, found in results["summary"].items():
        system, cities = key.split("|")
        figures = (mean_and_spread(found.get("at threshold", {}).get(name)) for name in ("f1", "precision", "recall"))
        rows.append([system, cities, str(found["complete seeds"]), str(found["trainings"]), *figures])
    without = [
        [name, *(number(found[figure]) for figure in ("f1", "precision", "recall"))]
        for name, found in results["without labels, best single threshold"].items()
    ]
    plan = results["plan"]
    return section(
        "Urban change, one city left out (OSCD)",
        results,
        f"{REAL} {data_note(results['data'])} Seven cities; pixels of all left-out cities together. **Trainings are "
        f"short**: {plan['steps']} steps of 8 windows of 64 pixels, where the systems' own are 1,500 steps and more; "
        "DS-UNet has a quarter of its widths and sees Sentinel-2 only. The threshold comes from blocks of the learned "
        "cities. A dash: no seed has all seven cities yet.",
        table(("system", "cities learned from", "complete seeds", "trainings", "F1", "precision", "recall"), rows),
        "Without labels, at the one threshold that is best for the test labels, which a network cannot know:",
        table(("method", "F1", "precision", "recall"), without),
    )


def sinop(results: Json) -> str:
    """Classes of MODIS series."""
    rows = [
        [name, str(len(found["values"])), mean_and_spread(found)] for name, found in results["overall_accuracy"].items()
    ]
    points = sum(results["points of a class"].values())
    most = number(results["always the most frequent class"])
    return section(
        "Crops from a MODIS series (Sinop)",
        results,
        f"{REAL} {data_note(results['data'])} Leave one out over {points} points of 12 dates; one point is "
        f"{100 / points:.0f} % of the accuracy. Always naming the commonest class gives {most}.",
        table(("method", "seeds", "overall accuracy"), rows),
    )


def bolivia(results: Json) -> str:
    """Breaks of one deforested pixel."""
    found = results["bolivia"]
    rows = [
        [
            words(name),
            str(one["observations"]),
            one["date"],
            " to ".join(one["interval_90"]),
            number(one["probability"], 4),
        ]
        for name, one in found.items()
        if isinstance(one, dict) and "interval_90" in one
    ]
    return section(
        "Break in a pixel series: deforestation in Bolivia",
        results,
        f"{REAL} {data_note([found['data']])} The forest was cleared in early 2016. One pixel: an example, no rate.",
        table(("series", "observations", "date of the break", "90 % interval", "probability"), rows),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "change_few_labels": few_labels,
    "change_growth": growth,
    "change_semi": semi,
    "change_oscd": oscd,
    "change_sinop": sinop,
    "change_series_bolivia": bolivia,
}
