"""Hyperspectral pixels on real data: few labelled pixels of Salinas, and the training spectra of Indian Pines.

Each draw takes 5, 10 or 50 pixels of each class. `random` draws them anywhere and tests on all others, which have
neighbours among the learned ones. `disjoint` divides the image into blocks of 30 pixels, draws from one half of them,
and tests in the other half where a patch of 15 pixels shares no pixel with a patch around any learned one.
Settings of the networks were chosen on draw 100 of `random` with 50 pixels (two were also tried on draw 101), and stay
for everything else.

    ECUMENE_DATA=... python benchmarks/hyperspectral.py [--draws 10] [--only NAME ...] [--minutes 20]

Every finished run is written at once; the same call goes on where another one stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.ndimage import distance_transform_cdt

from common import RESULTS, data_root, data_set, store
from ecumene.indicators.scene_accuracy import class_metrics
from ecumene.legends import Legend
from ecumene.samples.datasets.cubes import HyperspectralCube
from ecumene.scenes.contract import Channel
from hyperspectral_methods import ABLATIONS, METHODS, PATCH_METHODS, Method

NAME = "hyperspectral"
RECURRENT = "GRU-PRetanh"
REFERENCE = {"5": 0.918, "10": 0.941, "50": 0.976}
"""RBF-SVM with C = 100 on the same file, random draws; stated with the data, mean of 5 draws."""
BLOCK, PATCH, SIDES = 30, 15, 2
SIZES = (50, 10, 5)
TESTED = 3000
SLOW = ("GRU-tanh", "LSTM")
KEYS = ("data", "protocol", "pixels", "draw", "method")


@dataclass(frozen=True)
class Draw:
    """Which pixels are learned from and which are tested."""

    learn: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Salinas:
    """The labelled pixels of the crop: spectra `[N, 204]`, classes `[N]`, places `[N]`."""

    spectra: NDArray[np.float32]
    label: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]


def read_salinas() -> Salinas:
    """Read the crop of 150 x 150 pixels."""
    with np.load(data_root() / "hsi_salinas_150" / "salinas_150.npz") as file:
        rows, _ = file["shape"]
        index = file["linear_index"].astype(np.int64)
        return Salinas(
            file["spectra"].astype(np.float32), file["labels"].astype(np.int64) - 1, index % rows, index // rows
        )


def draw_random(data: Salinas, pixels: int, seed: int) -> Draw:
    """Draw pixels of each class anywhere."""
    rng = np.random.default_rng(seed)
    learn = np.concatenate(
        [rng.choice(np.flatnonzero(data.label == c), pixels, replace=False) for c in range(data.label.max() + 1)]
    )
    return Draw(learn, np.setdiff1d(np.arange(len(data.label)), learn))


def draw_disjoint(data: Salinas, pixels: int, seed: int) -> Draw:
    """Draw pixels of each class in one half of the blocks; test far from them in the other half."""
    rng = np.random.default_rng([seed, 1])
    block = data.row // BLOCK * 1000 + data.col // BLOCK
    names = np.unique(block)
    classes = data.label.max() + 1
    for _ in range(1000):
        inside = np.isin(block, rng.permutation(names)[: len(names) // SIDES])
        counts = np.bincount(data.label[inside], minlength=classes)
        # Every class must be learnable, and keep some of its pixels for the test.
        if (counts >= max(SIZES)).all() and (counts <= 0.8 * np.bincount(data.label)).all():
            break
    else:
        raise RuntimeError("No division of the blocks has all classes on both sides.")
    learn = np.concatenate(
        [rng.choice(np.flatnonzero(inside & (data.label == c)), pixels, replace=False) for c in range(classes)]
    )
    free = np.ones((data.row.max() + 1, data.col.max() + 1), bool)
    free[data.row[learn], data.col[learn]] = False
    far = distance_transform_cdt(free, metric="chessboard")[data.row, data.col] >= PATCH
    return Draw(learn, np.flatnonzero(~inside & far))


DRAWS = {"random": draw_random, "disjoint": draw_disjoint}


def salinas_runs(data: Salinas, draws: int) -> Iterator[tuple[dict[str, Any], Draw, Method]]:
    """Yield the runs draw by draw, so that every method has as many draws when the time is over; settings come first.

    Two slow relatives are run on three draws of `random` with 50 pixels only.
    """
    chosen = {**ABLATIONS, **{name: METHODS[name] for name in ("SVM, C = 100", "SVM, grid search", RECURRENT)}}
    for draw in (100, 101):
        for name, method in chosen.items():
            key = dict(zip(KEYS, ("salinas", "random", max(SIZES), draw, name), strict=True))
            yield key, DRAWS["random"](data, max(SIZES), draw), method
    for draw in range(draws):
        for protocol in DRAWS:
            for pixels in SIZES:
                for name, method in METHODS.items():
                    if name in SLOW and (draw >= 3 or pixels != max(SIZES) or protocol != "random"):
                        continue
                    key = dict(zip(KEYS, ("salinas", protocol, pixels, draw, name), strict=True))
                    yield key, DRAWS[protocol](data, pixels, draw), method


def patch_runs(data: Salinas, draws: int) -> Iterator[tuple[dict[str, Any], Draw, Method]]:
    """Yield the runs of methods that see patches; at most `TESTED` pixels of a draw are tested."""
    cube = np.full((150, 150, data.spectra.shape[1]), np.nan, np.float32)
    truth = np.full((150, 150), -1)
    cube[data.row, data.col], truth[data.row, data.col] = data.spectra, data.label
    channels = tuple(Channel("aviris", "DN", f"band{n:03d}", "DN") for n in range(1, cube.shape[2] + 1))
    legend = Legend.from_names([f"class {n}" for n in range(truth.max() + 1)])
    patches = HyperspectralCube.from_arrays(cube, truth, channels, legend, patch=PATCH)
    number = np.full(truth.shape, -1)
    number[truth >= 0] = np.arange(len(patches))
    for draw in range(min(draws, 3)):
        for protocol in DRAWS:
            for pixels in SIZES:
                for name, method in PATCH_METHODS.items():
                    full = DRAWS[protocol](data, pixels, draw)
                    rng = np.random.default_rng([draw, 2])
                    test = np.sort(rng.permutation(full.test)[:TESTED])
                    places = [number[data.row[part], data.col[part]] for part in (full.learn, test)]

                    def run(*_: Any, method: Any = method, places: Any = places, draw: int = draw) -> NDArray[np.int64]:
                        return np.asarray(method(patches, *places, draw))

                    key = dict(zip(KEYS, ("salinas", protocol, pixels, draw, name), strict=True))
                    yield key, Draw(full.learn, test), run


def read_indian_pines() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the 695 training spectra (scaled to 0..1) and their classes."""
    folder = data_root() / "hsi_indian_pines_partial"
    spectra = loadmat(folder / "Train_X.mat")["Train_X"].astype(np.float32)
    return spectra, loadmat(folder / "TrLabel.mat")["TrLabel"].ravel().astype(np.int64) - 1


def folds_of(label: NDArray[np.int64], folds: int = 5) -> NDArray[np.int64]:
    """Return the fold of each spectrum, classes spread evenly."""
    rng = np.random.default_rng(0)
    fold = np.empty(len(label), np.int64)
    for number in np.unique(label):
        here = rng.permutation(np.flatnonzero(label == number))
        fold[here] = np.arange(len(here)) % folds
    return fold


def run_one(
    spectra: NDArray[np.float32], label: NDArray[np.int64], draw: Draw, method: Method, seed: int
) -> dict[str, Any]:
    """Learn, answer, measure."""
    classes = int(label.max()) + 1
    began, cpu = time.monotonic(), time.process_time()
    answer = method(spectra[draw.learn], label[draw.learn], spectra[draw.test], classes, seed)
    figures = class_metrics(label[draw.test], answer, classes)
    return {
        "tested": len(draw.test),
        **{name: figures[name] for name in ("overall_accuracy", "average_accuracy", "kappa")},
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and spread of every cell, and paired differences to both machines."""
    cells: dict[tuple[Any, ...], dict[int, float]] = {}
    for run in runs:
        if run["draw"] < 100:
            cell = (run["data"], run["protocol"], run["pixels"], run["method"])
            cells.setdefault(cell, {})[run["draw"]] = run["overall_accuracy"]
    table: dict[str, Any] = {}
    for (data, protocol, pixels, method), values in sorted(cells.items(), key=str):
        entry: dict[str, Any] = {"draws": len(values), "mean": round(statistics.fmean(values.values()), 4)}
        if len(values) > 1:
            entry["standard_deviation"] = round(statistics.stdev(values.values()), 4)
        for other in ("SVM, C = 100", "SVM, grid search"):
            peer = cells.get((data, protocol, pixels, other), {})
            both = sorted(set(peer) & set(values))
            if other != method and len(both) > 1:
                gains = [values[draw] - peer[draw] for draw in both]
                entry[f"gain over {other}"] = {
                    "mean": round(statistics.fmean(gains), 4),
                    "standard_error": round(statistics.stdev(gains) / len(gains) ** 0.5, 4),
                    "better": sum(gain > 0 for gain in gains),
                    "of": len(gains),
                }
        table.setdefault(f"{data}, {protocol}", {}).setdefault(str(pixels), {})[method] = entry
    return table


def ablations(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the accuracy of the variants of the recurrent network, and how they differ from it on the same draws."""
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        found.setdefault(run["method"], {})[run["draw"]] = run["overall_accuracy"]
    usual = found.get(RECURRENT, {})
    table = {}
    for name, values in found.items():
        both = sorted(set(values) & set(usual))
        gains = [values[draw] - usual[draw] for draw in both]
        table[name] = {
            "draws": sorted(values),
            "mean": round(statistics.fmean(values.values()), 4),
            **({f"gain over {RECURRENT}": round(statistics.fmean(gains), 4)} if gains and name != RECURRENT else {}),
        }
    return table


def write(runs: list[dict[str, Any]]) -> None:
    """Write everything that has been measured."""
    root = data_root()
    sets = [
        data_set("Salinas crop", [root / "hsi_salinas_150" / "salinas_150.npz"]),
        data_set("Indian Pines training spectra", sorted((root / "hsi_indian_pines_partial").glob("Tr*.mat"))),
    ]
    settings = [run for run in runs if run["draw"] >= 100]
    store(
        NAME,
        {
            "data": sets,
            "protocol": __doc__.split("\n\n    ")[0],
            "reference_random": REFERENCE,
            "overall_accuracy": summarise(runs),
            "ablations": ablations(settings),
            "settings_chosen_on": [
                {key: run[key] for key in ("draw", "method", "overall_accuracy", "cpu_seconds")} for run in settings
            ],
            "runs": runs,
        },
    )


def main() -> None:
    """Run what has not been run yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="methods")
    parser.add_argument("--protocol", help="random, disjoint or cross-validation")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after this time")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    done = {tuple(run[key] for key in KEYS) for run in runs}
    began = time.monotonic()
    for key, spectra, label, draw, method in everything(chosen.draws):
        skipped = (chosen.only and key["method"] not in chosen.only) or (
            chosen.protocol and key["protocol"] != chosen.protocol
        )
        if skipped or tuple(key.values()) in done:
            continue
        if time.monotonic() - began > 60 * chosen.minutes:
            break
        runs.append({**key, **run_one(spectra, label, draw, method, key["draw"])})
        print({name: runs[-1][name] for name in (*KEYS, "overall_accuracy", "cpu_seconds")}, flush=True)
        write(runs)
    write(runs)


def everything(draws: int) -> Iterator[tuple[dict[str, Any], NDArray[np.float32], NDArray[np.int64], Draw, Method]]:
    """Yield all runs with their data: short ones first, then draw by draw."""
    salinas = read_salinas()
    spectra, label = read_indian_pines()
    fold = folds_of(label)
    for name, method in METHODS.items():
        for number in range(5):
            if name in SLOW:
                continue
            key = dict(zip(KEYS, ("indian-pines spectra", "cross-validation", "all", number, name), strict=True))
            yield key, spectra, label, Draw(np.flatnonzero(fold != number), np.flatnonzero(fold == number)), method
    for key, draw, method in salinas_runs(salinas, draws):
        yield key, salinas.spectra, salinas.label, draw, method
    for key, draw, method in patch_runs(salinas, draws):
        yield key, salinas.spectra, salinas.label, draw, method


if __name__ == "__main__":
    main()
