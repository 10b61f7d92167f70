"""The sections of `docs/results.md` on change, population and indicators, from the benchmarks' JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, data_note, number, section, share, table, words

HEADS = ("pair", "method", "threshold by", "OA", "kappa", "AUC", "goal: OA, kappa, AUC")


def pairs(results: Json) -> str:
    """Change between two dates, on labelled pixels or reference maps."""
    goals = results["goals"]
    optical = [
        [
            words(place),
            name,
            found["rule"],
            *(number(found[key]) for key in ("oa", "kappa", "auc")),
            ", ".join(number(goal) for goal in goals[place][name]) if name in goals[place] else "-",
        ]
        for place, methods in results["optical"].items()
        for name, found in methods.items()
    ]
    radar = [
        [
            words(place),
            name,
            found["rule"],
            *(number(found[key]) for key in ("oa", "kappa", "auc")),
            f"-, {number(goals[place]['kappa'], 2)}, -" if name == "ratio-variation" else "-",
        ]
        for place, methods in results["radar"].items()
        for name, found in methods.items()
    ]
    sensitivity = results["sensitivity of ratio-variation (kappa)"]
    places = list(next(iter(sensitivity.values())))
    return section(
        "Change between two dates",
        results,
        f"{REAL} {data_note(results['data'])} No label enters a method; a threshold is found on all pixels of a "
        "pair. Optical pairs are judged on their labelled pixels, radar pairs on their whole reference map. The "
        "goals were set before.",
        table(HEADS, optical),
        table(HEADS, radar),
        "One setting of `ratio-variation` serves all four radar pairs, but it was **chosen with the references of "
        "these four in sight**; no pair was left for an independent test, and the goals are met narrowly. Kappa of "
        "other settings:",
        table(
            ("setting", *map(words, places)),
            [[name, *(number(found[place]) for place in places)] for name, found in sensitivity.items()],
        ),
    )


def population(results: Json) -> str:
    """Dasymetric population: mass, and persons in wrong places."""
    rows = [
        [
            name,
            f"{found['largest_relative_error_of_a_zone']:.1e}",
            share(found["island_to_municipalities"]["misplaced_share"]),
            share(found["municipalities_to_cells"]["misplaced_share"]),
        ]
        for name, found in results["weights"].items()
    ]
    heads = ("weights", "largest relative error of a zone's sum", "island to municipalities", "municipalities to cells")
    return section(
        "Population on a map: Sao Miguel",
        results,
        f"{REAL} {data_note(results['data_sets'])} Reference: {results['reference']}. Share of the persons that are "
        "put into a wrong municipality or cell:",
        table(heads, rows),
    )


def indicators(results: Json) -> str:
    """Coverage of the intervals of SDG 11.3.1 that rest on a map's own probabilities."""
    rows = [
        [
            where,
            kind,
            f"{reach} m",
            share(found["area"], 0),
            share(found["logarithmic ratio"], 0),
            number(found["logarithmic width"], 1),
            share(found["metadata-2021 ratio"], 0),
            number(found["metadata-2021 width"], 1),
        ]
        for where, kinds in results["calibrated"].items()
        for kind, reaches in kinds.items()
        for reach, found in reaches.items()
    ]
    heads = (
        "probabilities calibrated", "errors known from", "shared within", "area covered", "ratio covered, logarithmic",
        "mean width", "ratio covered, 2021 form", "mean width",
    )  # fmt: skip
    return section(
        "SDG 11.3.1 from a map's own probabilities",
        results,
        f"{SIMULATED} {results['seeds']} cities, {share(results['confidence'], 0)} wanted. `blocks`: how far errors "
        f"are shared is measured on labelled blocks of {results['block_m']} m of other cities, as calibration does; "
        "`both years`: with the correlation of both years' errors on blocks labelled twice; `worst case`: without such "
        "blocks. Blocks count as independent, so errors that reach over their borders (shared over as much as a "
        "block, or more) make the intervals too short.",
        table(heads, rows),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "change_pairs": pairs,
    "change_population": population,
    "change_indicators": indicators,
}
