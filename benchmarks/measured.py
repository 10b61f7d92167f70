"""Writes what `ecumene systems` shows as measured, `systems/data/measured.json`, from the benchmarks' files.

Usage: python benchmarks/measured.py [--check]; with `--check` it only fails if the file is out of date.

A system gets a figure where a benchmark has trained its network as it is, whatever the length; how it was trained
stands in the protocol. Variants with another trunk, task or width are no figures of a system.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import RESULTS
from ecumene.systems import list_systems
from ecumene.systems.measured import MeasuredFigure

Json = dict[str, Any]
TARGET = Path(__file__).parent.parent / "src" / "ecumene" / "systems" / "data" / "measured.json"
METRIC = "overall_accuracy"
RSSCN7 = {
    "resnet50": "eurosat-resnet50",
    "googlenet": "eurosat-googlenet",
    "attention": "attention-cnn",
    "attention-cbam": "attention-cnn-cbam",
}
HYPERSPECTRAL = {
    "GRU-PRetanh": "hsi-gru-pretanh",
    "GRU-tanh": "hsi-gru-tanh",
    "LSTM": "hsi-lstm",
    "CNN": "hsi-cnn",
    "SVM, grid search": "hsi-svm",
    "random forest, 200 trees": "hsi-rf",
}
"""Methods of a benchmark and the systems that they are."""


def rsscn7(results: Json) -> Iterator[Json]:
    """Yield the figures of the RSSCN7 subset: half of the images learned from, the longest training of each network."""
    best: dict[str, Json] = {}
    for row in results["rows"]:
        known = row["method"] in RSSCN7 and row["share"] == 0.5
        if known and row["epochs"] >= best.get(row["method"], {"epochs": 0})["epochs"]:
            best[row["method"]] = row
    for method, row in best.items():
        protocol = f"random, 50 % learned from, {row['epochs']} epochs of {row['input_size']} pixels, AdamW"
        yield figure(RSSCN7[method], "RSSCN7 subset", "real", protocol, row[METRIC], len(row[METRIC]["values"]))


def hyperspectral(results: Json) -> Iterator[Json]:
    """Yield the figures of Salinas with 50 pixels a class."""
    for kind in ("random", "disjoint"):
        for method, entry in results[METRIC].get(f"salinas, {kind}", {}).get("50", {}).items():
            if method in HYPERSPECTRAL:
                where = f"{kind}, 50 pixels a class"
                yield figure(HYPERSPECTRAL[method], "Salinas crop", "real", where, entry, entry["draws"])


def lcz(results: Json) -> Iterator[Json]:
    """Yield the figures of local climate zones."""
    data = results["data"]
    protocol = f"{results['split']['name']}, {data['images']} patches, {results['epochs']} epochs"
    systems = {system.name for system in list_systems()}
    for learner, found in results["learners"].items():
        if learner in systems:
            values = found[METRIC]
            yield figure(learner, data["name"], data["kind"], protocol, values, len(values["values"]))


def simulated(results: Json) -> Iterator[Json]:
    """Yield the figure of the simulated EuroSAT."""
    values = results["metrics"][METRIC]
    protocol = f"{results['protocol']}, at most {results['epochs_allowed']} epochs of {results['input_size']} pixels"
    yield figure(results["system"], "EuroSAT", results["data"]["kind"], protocol, values, len(values["values"]))


def few_labels(results: Json) -> Iterator[Json]:
    """Yield the figures of change learned from few labelled pixels: the largest number of labels of each network."""
    most: dict[tuple[str, str], int] = {}
    for key in results["summary"]:
        place, labels, method = key.split("|")
        if method in {system.name for system in list_systems()}:
            most[place, method] = max(int(labels), most.get((place, method), 0))
    for (place, method), labels in most.items():
        found = results["summary"][f"{place}|{labels}|{method}"]
        protocol = f"{labels} labels a class, other blocks tested, {results['plan']['training']['epochs']} epochs"
        yield figure(method, f"{place.title()} pair", "real", protocol, found["kappa"], found["seeds"], metric="kappa")


def restoration(results: Json) -> Iterator[Json]:
    """Yield the PSNR under simulated clouds over a part of real scenes, where the row says how it was trained."""
    for place, found in results["simulated_clouds"].items():
        for method, row in found.get("part", {}).items():
            training = row.get("training", {})
            if "side" not in training or row["psnr"] is None:
                continue
            protocol = (
                f"simulated clouds over {100 * found['covered']['mean']:.0f} % of the pixels of real dates, "
                f"learned elsewhere {'with' if training['radar'] else 'without'} radar from {training['samples']} "
                f"windows of {training['side']} pixels, {training['epochs']} epochs"
            )
            yield figure(method, place, "real", protocol, {"mean": row["psnr"]}, row["runs"], metric="psnr")


def figure(
    system: str, data_set: str, kind: str, protocol: str, values: Json, draws: int, metric: str = METRIC
) -> Json:
    """Return one figure; its source is filled in later."""
    spread = values.get("standard_deviation")
    return {
        "system": system,
        "data_set": data_set,
        "kind": kind,
        "protocol": protocol,
        "metric": metric,
        "mean": round(values["mean"], 4),
        "standard_deviation": None if spread is None else round(spread, 4),
        "draws": draws,
    }


READERS: dict[str, Callable[[Json], Iterator[Json]]] = {
    "scenes_rsscn7": rsscn7,
    "hyperspectral": hyperspectral,
    "lcz": lcz,
    "scenes_simulated": simulated,
    "change_few_labels": few_labels,
    "restoration": restoration,
}


def collect(folder: Path = RESULTS) -> list[Json]:
    """Return the figures of the files that are there: those of real data first, in the order of the systems' names.

    Args:
        folder: Where `<benchmark>.json` files are.
    """
    found = []
    for name, read in READERS.items():
        path = folder / f"{name}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            found += [{**entry, "source": f"{name}.json"} for entry in read(results)]
    checked = [MeasuredFigure.model_validate(entry).model_dump(mode="json") for entry in found]
    return sorted(checked, key=lambda entry: (entry["system"], entry["kind"] != "real"))


def main() -> None:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the file is out of date")
    text = json.dumps(collect(), indent=2) + "\n"
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} is out of date: run `python benchmarks/measured.py`.")


if __name__ == "__main__":
    main()
