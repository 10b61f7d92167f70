"""Calibration on blocks that nothing was fitted on: scalings of logits, class sets, and how many blocks they need.

    ECUMENE_DATA=... python benchmarks/trust_calibration.py [--seeds 5] [--only slovenia,amazon,simulated,blocks]

Writes `results/trust_calibration.json`. `--cache FOLDER` keeps the models' raw outputs, so that a part can be measured
again without training. The rules (at least 4 blocks, level 99 %, sets weighted by block) were chosen on seeds 0 to 9
and 100 to 104; the seeds from 200 on were not looked at before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, data_root, data_set, spread, store
from ecumene.core.errors import EcumeneError
from ecumene.core.progress import silent
from ecumene.samples.contract import Part
from ecumene.samples.labels import read_labels
from ecumene.samples.split import split_blocks
from ecumene.scenes.grid import ground_sampling_m
from ecumene.simulate.demo import write_demo
from ecumene.systems import get_system
from ecumene.trust.conformal import METHODS, ConformalSets
from ecumene.trust.likelihood import pooled_probabilities
from ecumene.trust.measures import expected_calibration_error
from ecumene.trust.scaling import IDENTITY, Scaling, Temperature
from ecumene.trust.scaling_fit import choose_scaling, fit_named
from ecumene.trust.set_measures import set_report, size_knowing_shares
from ecumene.trust.temperature import fit_temperature
from ecumene.workflows.calibrate import results_at_labels
from ecumene.workflows.evaluate import calibration_figures
from ecumene.workflows.fit import class_objective, fit_system
from ecumene.workflows.stacks import open_stack
from ecumene.workflows.training_data import collect_training_data

FIRST_SEED = 200
COVERAGE = 0.9
SCALINGS = ("identity", "temperature", "vector", "dirichlet")
KEPT = ("expected_calibration_error", "equal_mass_calibration_error", "classwise_calibration_error",
        "negative_log_likelihood", "brier_score")  # fmt: skip
PARTS = (Part.VALIDATION, Part.CALIBRATION, Part.TEST)


@dataclass(frozen=True)
class Held:
    """Raw output, class and block of labelled pixels."""

    output: np.ndarray
    target: np.ndarray
    group: np.ndarray

    def probabilities(self, scaling: Scaling) -> np.ndarray:
        """Return class probabilities after a scaling."""
        return pooled_probabilities(scaling.apply(self.output.astype(np.float64)), self.output.shape[1])

    def only(self, blocks: np.ndarray) -> Held:
        """Return the pixels of some blocks."""
        keep = np.isin(self.group, blocks)
        return Held(self.output[keep], self.target[keep], self.group[keep])

    @staticmethod
    def join(parts: list[Held]) -> Held:
        """Return the pixels of several parts; blocks keep their number."""
        return Held(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("output", "target", "group")))


@dataclass(frozen=True)
class Case:
    """One data set."""

    scenes: list[Path]
    labels: Path
    field: str
    declaration: dict[str, Any]
    group: str
    mask_clouds: bool = False


def case_of(name: str, folder: Path) -> Case:
    if name == "slovenia":
        root = data_root() / "s2_eopatch_slovenia"
        declared = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
        return Case([root / "S2_L1C_2015-07-11.tif"], root / "lulc_vector.geojson", "LULC_NAME", declared, "block")
    if name == "amazon":
        root = data_root() / "s2_amazon_village"
        declared = {"sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": -0.1}
        return Case(
            [root / "S2_L2A_12band.tif"],
            root / "training_polygons.gpkg",
            "class",
            declared,
            "feature",
            mask_clouds=True,
        )
    town = write_demo(folder, 7)
    return Case([town.sentinel2[-1]], town.labels, "class", {}, "feature", mask_clouds=True)


def held_out(name: str, system: str, seed: int, cache: Path, block_size_m: float | None = None) -> dict[Part, Held]:
    """Train as `ecumene train` does, and return what the model says at labels that it has not learned from."""
    path = cache / f"{name}_{system}_{seed}_{block_size_m}.npz"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            case = case_of(name, Path(folder))
            stack = open_stack(case.scenes, mask_clouds=case.mask_clouds, **case.declaration)
            raster = read_labels(case.labels, case.field, stack.geobox)
            chosen = get_system(system)
            split = split_blocks(raster, seed=seed, group=case.group, block_size_m=block_size_m)
            data = collect_training_data(stack, raster, split, chosen, seed=seed)
            fitted = fit_system(
                chosen, stack, class_objective(chosen, raster.legend), data, seed=seed, epochs=None, max_minutes=None,
                folder=Path(folder) / "model", progress=silent,
            )  # fmt: skip
            resolution = ground_sampling_m(stack.geobox)
            model = fitted.to_model(name="benchmark", created="", resolution_m=resolution, training={})
            arrays = {}
            for part in PARTS:
                found = results_at_labels(model, data[part], seed=seed)
                arrays |= {f"{part.name}_{key}": getattr(found, key) for key in ("output", "target", "group")}
        np.savez(path, **arrays)
        print(name, system, seed, "trained", flush=True)
    stored = np.load(path)
    return {part: Held(*(stored[f"{part.name}_{key}"] for key in ("output", "target", "group"))) for part in PARTS}


def calibration_of(parts: dict[Part, Held], system: str) -> Held:
    """Return what `ecumene train` calibrates on: trees do not look at the validation part."""
    own = parts[Part.CALIBRATION]
    return own if system.startswith("unet") else Held.join([parts[Part.VALIDATION], own])


def figures_of(probabilities: np.ndarray, target: np.ndarray) -> dict[str, float]:
    figures = calibration_figures(probabilities, target)
    return {key: figures[key] for key in KEPT}


def compare_scalings(parts: dict[Part, Held], system: str) -> dict[str, Any]:
    """Every scaling, fitted whether it helps or not, beside the choice, and the former rule of one temperature."""
    known, test = calibration_of(parts, system), parts[Part.TEST]
    choice = choose_scaling(known.output, known.target, known.group)
    fitted: dict[str, Scaling] = {"chosen": choice.scaling}
    own = parts[Part.CALIBRATION]
    fitted["former rule"] = Temperature(fit_temperature(own.output, own.target))
    for name in SCALINGS:
        try:
            fitted[name] = fit_named(name, known.output, known.target, known.group)
        except EcumeneError as error:
            print(name, error)
    return {
        "calibration_blocks": len(np.unique(known.group)),
        "chosen": choice.to_dict(),
        "test": {name: figures_of(test.probabilities(scaling), test.target) for name, scaling in fitted.items()},
    }


def compare_sets(parts: dict[Part, Held], system: str) -> dict[str, Any]:
    """Class sets of each method, weighted by block, marginal and per class, and the former rule (pixels counted)."""
    known, test = calibration_of(parts, system), parts[Part.TEST]
    scaling = choose_scaling(known.output, known.target, known.group).scaling
    p, q = known.probabilities(scaling), test.probabilities(scaling)
    out: dict[str, Any] = {}
    for method in METHODS:
        sets = ConformalSets.fit(p, known.target, COVERAGE, method, groups=known.group, aim="average")
        out[method] = {"promised": sets.promised, **set_report(sets.sets(q), test.target, test.group).to_dict()}
    each = ConformalSets.fit(
        p, known.target, COVERAGE, groups=known.group, aim="average", per_class=True, rare="include"
    )
    out["lac, per class"] = set_report(each.sets(q), test.target, test.group).to_dict()
    own = parts[Part.CALIBRATION]
    pixels = ConformalSets.fit(own.probabilities(scaling), own.target, COVERAGE)
    out["former rule"] = set_report(pixels.sets(q), test.target, test.group).to_dict()
    shares = np.bincount(test.target, minlength=q.shape[1]) / len(test.target)
    out["class shares only"] = {"mean_size": size_knowing_shares(shares, COVERAGE), "coverage": COVERAGE}
    return out


def pool(runs: list[dict[str, Any]], blocks: list[tuple[str, float]]) -> dict[str, Any]:
    """Summarise over seeds; coverage is averaged over all held-out blocks of all seeds."""
    names = runs[0]["scaling"]["test"]
    summary: dict[str, Any] = {
        "scaling": {
            name: {key: spread([run["scaling"]["test"][name][key] for run in runs]) for key in KEPT}
            for name in names
            if all(name in run["scaling"]["test"] for run in runs)
        },
        "chosen": [run["scaling"]["chosen"]["chosen"] for run in runs],
    }
    worse = [
        run["scaling"]["test"][rule]["expected_calibration_error"]
        - run["scaling"]["test"]["identity"]["expected_calibration_error"]
        for rule in ("chosen", "former rule")
        for run in runs
    ]
    summary["largest_rise_of_ece"] = {"chosen": max(worse[: len(runs)]), "former rule": max(worse[len(runs) :])}
    summary["sets"] = {}
    for name in runs[0]["sets"]:
        rows = [run["sets"][name] for run in runs]
        summary["sets"][name] = {"mean_size": spread([row["mean_size"] for row in rows])}
        if "worst_block" not in rows[0] and "coverage_worst_block" not in rows[0]:
            continue
        values = [value for key, value in blocks if key == name]
        summary["sets"][name] |= {
            "coverage_mean_of_all_blocks": float(np.mean(values)),
            "coverage_standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
            "coverage_worst_block": float(np.min(values)),
            "blocks": len(values),
            "coverage_of_pixels": spread([row["coverage"] for row in rows]),
            "mean_size_knowing_shares_only": spread([row["mean_size_knowing_shares_only"] for row in rows]),
            "coverage_per_class": per_class(rows),
        }
    return summary


def per_class(rows: list[dict[str, Any]]) -> list[float | None]:
    """Mean over seeds of the coverage within each true class."""
    columns = zip(*(row["coverage_per_class"] for row in rows), strict=True)
    return [float(np.mean(known)) if (known := [v for v in column if v is not None]) else None for column in columns]


def block_values(parts: dict[Part, Held], system: str) -> list[tuple[str, float]]:
    """Coverage of each test block, by method."""
    known, test = calibration_of(parts, system), parts[Part.TEST]
    scaling = choose_scaling(known.output, known.target, known.group).scaling
    p, q = known.probabilities(scaling), test.probabilities(scaling)
    fitted = {
        method: ConformalSets.fit(p, known.target, COVERAGE, method, groups=known.group, aim="average")
        for method in METHODS
    }
    fitted["lac, per class"] = ConformalSets.fit(
        p, known.target, COVERAGE, groups=known.group, aim="average", per_class=True, rare="include"
    )
    own = parts[Part.CALIBRATION]
    fitted["former rule"] = ConformalSets.fit(own.probabilities(scaling), own.target, COVERAGE)
    rows = np.arange(len(test.target))
    values = []
    for name, sets in fitted.items():
        hit = sets.sets(q)[rows, test.target]
        values += [(name, float(hit[test.group == block].mean())) for block in np.unique(test.group)]
    return values


def part_of(name: str, seeds: int, cache: Path) -> dict[str, Any]:
    """Scalings and sets of one data set, networks beside forests on the same split."""
    out: dict[str, Any] = {}
    for system in ("random-forest", "unet-small"):
        runs, blocks, pooled = [], [], []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            parts = held_out(name, system, seed, cache)
            scaling, sets = compare_scalings(parts, system), compare_sets(parts, system)
            runs.append({"seed": seed, "scaling": scaling, "sets": sets})
            blocks += block_values(parts, system)
            known, test = calibration_of(parts, system), parts[Part.TEST]
            chosen = choose_scaling(known.output, known.target, known.group).scaling
            pooled.append((test.probabilities(IDENTITY), test.probabilities(chosen), test.target))
        summary = pool(runs, blocks)
        target = np.concatenate([row[2] for row in pooled])
        summary["ece_of_all_seeds_pooled"] = {
            name: expected_calibration_error(np.concatenate([row[position] for row in pooled]), target)
            for position, name in ((0, "identity"), (1, "chosen"))
        }
        ece = {key: summary["scaling"][key]["expected_calibration_error"]["mean"] for key in ("identity", "chosen")}
        lac = summary["sets"]["lac"]
        print(f"{name} {system}: ECE {ece}, coverage {lac['coverage_mean_of_all_blocks']:.3f}", flush=True)
        out[system] = {"summary": summary, "runs": runs}
    return out


def floor_of(probabilities: np.ndarray, generator: np.random.Generator) -> float:
    """Expected calibration error that honest probabilities would show on as many independent pixels."""
    found = []
    for _ in range(20):
        target = (probabilities.cumsum(axis=1) > generator.random((len(probabilities), 1))).argmax(axis=1)
        found.append(expected_calibration_error(probabilities, target))
    return float(np.mean(found))


def blocks_needed(seeds: int, cache: Path) -> dict[str, Any]:
    """Slovenia cut into blocks of 80 m: error and coverage on other blocks, by the number of calibration blocks.

    Small blocks beside each other are not independent, so that these figures are on the hopeful side.
    """
    rows: dict[int, dict[str, list[float]]] = {}
    generator = np.random.default_rng(0)
    floors = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        parts = held_out("slovenia", "random-forest", seed, cache, block_size_m=80.0)
        every = Held.join(list(parts.values()))
        names = np.unique(every.group)
        half = len(names) // 2
        floors.append(floor_of(every.probabilities(IDENTITY), generator))
        for _ in range(4):
            order = generator.permutation(names)
            test = every.only(order[half:])
            for number in (2, 4, 8, 16, 32):
                if number > half:
                    continue
                known = every.only(order[:number])
                choice = choose_scaling(known.output, known.target, known.group)
                row = rows.setdefault(number, {"chosen": [], "identity": [], "temperature": [], "cover": [], "size": [],
                                               "changed": []})  # fmt: skip
                row["changed"].append(float(choice.scaling is not IDENTITY))
                forced = fit_named("temperature", known.output, known.target, known.group)
                for key, scaling in (("chosen", choice.scaling), ("identity", IDENTITY), ("temperature", forced)):
                    row[key].append(expected_calibration_error(test.probabilities(scaling), test.target))
                p = known.probabilities(choice.scaling)
                sets = ConformalSets.fit(p, known.target, COVERAGE, groups=known.group, aim="average")
                report = set_report(sets.sets(test.probabilities(choice.scaling)), test.target, test.group)
                row["cover"].append(report.block_coverage)
                row["size"].append(report.mean_size)
    return {
        "blocks_held_out": half * 2,
        "ece_of_honest_probabilities_on_independent_pixels": float(np.mean(floors)),
        "by_calibration_blocks": {
            str(number): {
                "ece": {key: float(np.mean(row[key])) for key in ("identity", "temperature", "chosen")},
                "share_with_a_scaling": float(np.mean(row["changed"])),
                "coverage_mean_of_blocks": float(np.mean(row["cover"])),
                "mean_size": float(np.mean(row["size"])),
                "draws": len(row["cover"]),
            }
            for number, row in sorted(rows.items())
        },
    }


def data_of(name: str) -> dict[str, str]:
    if name == "simulated":
        return {"name": "simulated town, seed 7", "kind": "simulated"}
    case = case_of("slovenia" if name == "blocks" else name, Path())
    return data_set("s2_amazon_village" if name == "amazon" else "s2_eopatch_slovenia", [*case.scenes, case.labels])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="slovenia,amazon,simulated,blocks")
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    path = RESULTS / "trust_calibration.json"
    results = json.loads(path.read_text())["parts"] if path.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = chosen.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        for name in chosen.only.split(","):
            measured = blocks_needed(chosen.seeds, cache) if name == "blocks" else part_of(name, chosen.seeds, cache)
            results[name] = {"data": data_of(name), "wanted_coverage": COVERAGE, **measured}
            store("trust_calibration", {"parts": results})
    print(path)


if __name__ == "__main__":
    main()
