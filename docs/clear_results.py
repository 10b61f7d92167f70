"""The sections of `docs/results.md` on filled clouds, from the benchmarks' JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, Json, data_note, mean_and_spread, number, section, share, table

FIGURES = ("PSNR, dB", "SSIM", "SAM, degrees", "MAE", "UCE / RMSE", "90 % interval holds")


def weights(results: Json) -> str:
    """Whether weighing filled pixels helps a classifier."""
    columns = {
        "filled_as_observed": "as observed",
        "filled_weighed": "weighed",
        "filled_left_out": "left out",
        "true_date": "date without clouds",
        "gain_of_weights": "gain of weights",
    }
    rows = [
        [f"filled by {name}", share(found["filled_share"]["mean"]), *(mean_and_spread(found[key]) for key in columns)]
        for name, found in results["accuracy"].items()
    ]
    return section(
        "Filled pixels as training data",
        results,
        f"{REAL} {data_note([results['data']])} Clouds are simulated. Accuracy of a forest that learns from a partly "
        "filled date and is tested on the true one in other blocks; filled pixels count as observed ones, by the "
        "inverse of their variance, or not at all.",
        table(("date", "filled", *columns.values()), rows),
    )


def clear(results: Json) -> str:
    """Clouds filled on real scenes: simulated clouds and real ones apart."""
    heads = ("place", "level", "covered", "method", *FIGURES, "filled")
    kinds: dict[str, list[list[str]]] = {"part": [], "whole": []}
    for place, found in results["simulated_clouds"].items():
        for kind, rows in kinds.items():
            covered = share(found["covered"]["mean"], 0) if kind == "part" else "all"
            for name, figures in found.get(kind, {}).items():
                rows.append([place, found["level"], covered, name, *_errors(figures), share(figures["filled"], 0)])
    real = [
        [place, when, str(pair["days_apart"]), name, *_errors(figures)]
        for place, pairs in results["real_clouds"].items()
        for when, pair in pairs.items()
        if isinstance(pair, dict) and "methods" in pair
        for name, figures in pair["methods"].items()
    ]
    return section(
        "Clouds filled",
        results,
        f"{REAL} {data_note(results['data'])} {results['seeds']} seeds, which decide the clouds; means over covered "
        "pixels. *Simulated clouds* over a part of clear dates:",
        table(heads, kinds["part"]),
        "*Simulated clouds* over a whole date:",
        table(heads, kinds["whole"]),
        "*Real clouds*: clouded dates filled from the others without one clear neighbour in time, and compared with "
        "that neighbour, so that what changed in between counts as error:",
        table(("place", "date", "days apart", "method", *FIGURES), real),
    )


def _errors(figures: Json) -> tuple[str, ...]:
    """Return PSNR, SSIM, SAM, MAE, UCE over RMSE and coverage as text."""
    return (
        number(figures["psnr"], 1),
        number(figures["ssim"]),
        number(figures["sam"], 2),
        number(figures["mae"], 4),
        share(figures["uce_over_rmse"], 0),
        share(figures["coverage_90"]),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {"restoration": clear, "restoration_weights": weights}
