"""Semi-supervised and multi-modal change on simulated growing towns: what unlabelled places and balance are worth.

    python benchmarks/change_semi.py [--quick] [--minutes 20] [--seeds 3] [--only labels,style,balance,series]

Everything is simulated (`ecumene simulate growth-sites`) and small (networks of 8 to 16 channels, towns of 0.9 km): it
says whether a mechanism works where truth is known, nothing about real towns. Results are kept after every training;
called again, the benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from change_semi_runs import Run, change_figures, series_figures, stream_figures, style_figures
from common import RESULTS, spread, store
from ecumene.simulate.datasets.growth import write_growth_sites

NAME = "change_semi"
SIDE = 96
WIDTHS = [8, 16]
Figures = Callable[[Run, Path, int, Path], dict[str, Any]]

LABELS = [("train", "temperate")] * 20 + [("validation", "temperate")] * 4 + [("calibration", "temperate")]
LABELS += [("test", "temperate")] * 8 + [("unlabelled", "temperate")] * 10
STYLE = [("train", "temperate")] * 12 + [("validation", "temperate")] * 3 + [("calibration", "temperate")]
STYLE += [("test", "temperate")] * 5 + [("test", "arid")] * 5 + [("unlabelled", "arid")] * 10
SETS = {"labels": (LABELS, 11), "style": (STYLE, 12)}
SHARES = (0.1, 0.2, 0.4, 1.0)


def label_runs(steps: int) -> list[Run]:
    """Return C4 with and without unlabelled places, at several shares of labelled ones."""
    base: dict[str, Any] = {"samples": 3}
    runs = []
    for share in SHARES:
        few = {**base, "labelled_share": share}
        alone = {"widths": WIDTHS, "consistency": 0.0}
        runs.append(Run(f"supervised-{share:g}", "mmcr-change", alone, {**few, "unlabelled": False}, 48, steps))
        weights = (0.01, 0.1) if share == SHARES[0] else (0.01,)
        for weight in weights:
            agree = {"widths": WIDTHS, "consistency": weight}
            mixed = {**few, "unlabelled": True, "least_labelled": 0.5}
            runs.append(Run(f"semi-{share:g}-weight-{weight:g}", "mmcr-change", agree, mixed, 48, steps))
    return runs


def style_runs(steps: int) -> list[Run]:
    """Return C3: plain fusion, fusion with a head for each stream, and with unlabelled places of the other style."""
    variants: dict[str, tuple[dict[str, Any], bool]] = {
        "plain-fusion": ({"stream_losses": False, "consistency": 0.0}, False),
        "stream-heads": ({"consistency": 0.0}, False),
        "adapted": ({}, True),
        "adapted-detached": ({"detach": True}, True),
    }
    return [
        Run(key, "urban-da", {"widths": WIDTHS, **more}, {"samples": 3, "unlabelled": unlabelled}, 48, steps)
        for key, (more, unlabelled) in variants.items()
    ]


def balance_runs(steps: int) -> list[Run]:
    """Return C12: without balance, and both ways of keeping it."""
    ways = ("none", "modality-dropout", "gradient")
    options = {"samples": 3}
    return [Run(way, "balanced-change", {"widths": WIDTHS, "balance": way}, options, 48, steps) for way in ways]


def series_runs(steps: int) -> list[Run]:
    """Return C5(b) with the graph of all pairs of dates, and of neighbours only."""
    small = {"widths": WIDTHS, "hidden": 16, "layers": 1}
    options = {"samples": 1, "bands": ["B02", "B03", "B04", "B08", "B11"]}
    return [
        Run(edges, "contin-urban-cd", {**small, "edges": edges}, options, 32, steps) for edges in ("dense", "adjacent")
    ]


def plan(steps: int) -> dict[str, tuple[str, list[Run], Figures]]:
    """Return experiment -> (data set, variants, measure)."""
    return {
        "labels": ("labels", label_runs(steps), change_figures),
        "style": ("style", style_runs(steps), style_figures),
        "balance": ("labels", balance_runs(steps), stream_figures),
        "series": ("labels", series_runs(steps), series_figures),
    }


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return mean and spread over seeds of every figure of each variant."""

    def leaves(entry: dict[str, Any], before: str = "") -> dict[str, float]:
        found: dict[str, float] = {}
        for key, value in entry.items():
            name = f"{before}{key}"
            found |= leaves(value, f"{name}.") if isinstance(value, dict) else {name: float(value)}
        return found

    result: dict[str, Any] = {}
    for variant, entries in runs.items():
        flat = [leaves(entry) for entry in entries]
        result[variant] = {name: spread([row[name] for row in flat]) for name in flat[0]}
    return result


def earlier(settings: dict[str, Any]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the trainings of an earlier call with the same settings."""
    path = RESULTS / f"{NAME}.json"
    if not path.is_file():
        return {}
    old = json.loads(path.read_text())
    return old["runs"] if old.get("settings") == settings else {}


def main() -> None:
    """Run what is left of the plan within the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed and few steps; nothing is stored")
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no training after this time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--only", default="labels,style,balance,series")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    steps, seeds = (6, 1) if chosen.quick else (chosen.steps, chosen.seeds)
    settings = {"side": SIDE, "widths": WIDTHS, "steps": steps, "sites": {name: len(s[0]) for name, s in SETS.items()}}
    runs = {} if chosen.quick else earlier(settings)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        experiments = {name: entry for name, entry in plan(steps).items() if name in chosen.only.split(",")}
        # Seeds are the outer loop: an early end leaves fewer repetitions, not fewer experiments.
        todo = [
            (seed, name, run) for seed in range(seeds) for name, (_, listed, _) in experiments.items() for run in listed
        ]
        for seed, name, run in todo:
            done = runs.setdefault(name, {}).setdefault(run.key, [])
            if len(done) > seed or time.monotonic() - began > 60 * chosen.minutes:
                continue
            data, _, measure = experiments[name]
            figures = measure(run, made(root, data), seed, root / "model")
            done.append({**figures, "seed": seed})
            print(f"{(time.monotonic() - began) / 60:5.1f} min  {name} {run.key} {seed}: {figures}", flush=True)
            if not chosen.quick:
                kept = {n: {k: e for k, e in v.items() if e} for n, v in runs.items()}
                kept = {n: v for n, v in kept.items() if v}
                means = {n: summary(v) for n, v in kept.items()}
                store(NAME, {"kind": "simulated", "settings": settings, "runs": kept, "summary": means})


def made(root: Path, name: str) -> Path:
    """Return the folder of a simulated data set, made when it is first needed."""
    folder = root / name
    if not folder.is_dir():
        roles, seed = SETS[name]
        write_growth_sites(folder, seed=seed, side=SIDE, roles=roles)
    return folder


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
