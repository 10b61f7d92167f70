"""Ways to a predictive distribution side by side: quality, and cost in ratios measured in one run.

    python benchmarks/trust_members.py [--seeds 1] [--quick]              # simulated cities
    ECUMENE_DATA=... python benchmarks/trust_members.py --data --seeds 5  # Slovenia, one date; shift: a clouded date

The plain network is the MIMO U-Net with one sub-network, which is a plain U-Net; S sub-networks get the width (about
1/S of the plain one's) whose multiplications are the plain network's as nearly as a whole number allows; `wide` ones
have the plain network's width. All are trained with the same data, steps and options. Quality is that of the raw
members, without calibration.

Writes `results/trust_members.json`; each data set's figures replace its older ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from common import RESULTS, data_root, data_set, spread, store
from ecumene.legends import Legend
from ecumene.models.contract import InputBand
from ecumene.models.deployed import normalise_tensor
from ecumene.networks import build_network
from ecumene.objectives import Members, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.samples.augmentation import augmentation_for
from ecumene.samples.contract import Part
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.statistics import channel_statistics
from ecumene.scenes.contract import Channel
from ecumene.simulate import LEGEND, observe_sentinel2, simulate_city
from ecumene.systems import System
from ecumene.training.fit_network import FitResult, fit_network
from ecumene.training.options import TrainingOptions
from ecumene.training.provenance import make_inputs
from ecumene.trust import measures
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import MemberFit, Uncertainty, fit_members

PATCH = 64
MAIN_DATE, OTHER_DATE = "2023-07-06", "2023-01-12"
METHODS: dict[str, tuple[int, Uncertainty]] = {
    "single": (1, Uncertainty()),
    "ensemble 4": (1, Uncertainty("ensemble", 4)),
    "mimo 2": (2, Uncertainty()),
    "mimo 2 wide": (2, Uncertainty()),
    "mimo 4": (4, Uncertainty()),
    "mc-dropout 8": (1, Uncertainty("mc-dropout", 8)),
    "laplace 16": (1, Uncertainty("laplace", 16)),
    "augmentation 8": (1, Uncertainty("augmentation", 8)),
}
"""Name: (sub-networks, what is put around the network); `wide` sub-networks are as wide as the plain network."""


@dataclass(frozen=True)
class Task:
    """Data of one comparison; `shifted` shows the places of the test part under other conditions."""

    legend: Legend
    data: TrainingData
    shifted: PatchSet
    about: dict[str, Any]


def simulated(seed: int, cities: tuple[int, int, int]) -> Task:
    """Simulate cities for training, validation and test; the shift is winter light on the test cities."""
    first = 5000 + 100 * seed
    counts = dict(zip((Part.TRAIN, Part.VALIDATION, Part.TEST), cities, strict=True))
    parts, number = {}, first
    for part, count in counts.items():
        parts[part] = PatchSet.concatenate([_city(number + k, MAIN_DATE) for k in range(count)])
        number += count
    tests = range(number - cities[2], number)
    shifted = PatchSet.concatenate([_city(city, OTHER_DATE) for city in tests])
    about = {"kind": "simulated", "cities": list(cities), "dates": [MAIN_DATE, OTHER_DATE]}
    return Task(LEGEND, TrainingData(parts), shifted, about)


def _city(seed: int, date: str) -> PatchSet:
    """Cut a simulated city into patches without overlap."""
    city = simulate_city(seed)
    seen = observe_sentinel2(city, date, seed=seed)
    target = np.searchsorted(np.array(LEGEND.values), city.land_cover(2023)).astype(np.int64)
    side = target.shape[0] // PATCH
    image = seen.image.reshape(len(seen.image), side, PATCH, side, PATCH).transpose(1, 3, 0, 2, 4)
    mask = target.reshape(side, PATCH, side, PATCH).swapaxes(1, 2).reshape(-1, PATCH, PATCH)
    image = np.ascontiguousarray(image.reshape(side * side, len(seen.image), PATCH, PATCH), np.float32)
    channels = tuple(Channel(seen.sensor, seen.level, band, seen.unit, None, 10.0) for band in seen.bands)
    valid = np.isfinite(image).all(axis=1)
    return PatchSet(image, mask, valid, np.zeros((len(image), 1), np.int64), np.zeros(mask.shape, np.int32), channels)


def slovenia(seed: int) -> Task:
    """Land cover of one clear date in spatial blocks; the shift is a clouded date at the test blocks."""
    from ecumene.samples.labels import read_labels
    from ecumene.samples.split import split_blocks
    from ecumene.workflows.stacks import open_stack
    from ecumene.workflows.training_data import collect_training_data
    from main_path import CLEAR, CLOUDED, SLOVENIA, slovenia_scene

    labels_path = data_root() / "s2_eopatch_slovenia" / "lulc_vector.geojson"
    scenes = [slovenia_scene(CLEAR[0]), slovenia_scene(CLOUDED[1])]
    clear, clouded = (open_stack([scene], mask_clouds=False, **SLOVENIA) for scene in scenes)
    labels = read_labels(labels_path, "LULC_NAME", clear.geobox)
    split = split_blocks(labels, seed=seed)
    data, other = (collect_training_data(stack, labels, split, _system(1, 8), seed=seed) for stack in (clear, clouded))
    about = data_set("s2_eopatch_slovenia", [*scenes, labels_path])
    return Task(labels.legend, data, other[Part.TEST], about)


def _system(members: int, width: int) -> System:
    """Return the U-Net with so many sub-networks."""
    return System(
        name="unet",
        title="U-Net",
        task="segmentation",
        reads="image",
        kind="network",
        network="mimo-unet",
        network_arguments={"members": members, "width": width},
        patch_size=PATCH,
    )


def _width(members: int, plain: int) -> int:
    """Return the width with which S sub-networks cost about what the plain network costs."""
    counts = {width: flops("mimo-unet", _arguments(members, width, 12, 6)) for width in range(2, plain + 1)}
    wanted = flops("mimo-unet", _arguments(1, plain, 12, 6))
    return min(counts, key=lambda width: abs(counts[width] - wanted))


def _arguments(members: int, width: int, bands: int, classes: int) -> dict[str, Any]:
    return {"members": members, "width": width, "in_channels": bands, "n_outputs": members * classes}


def flops(name: str, arguments: dict[str, Any]) -> int:
    """Return multiplications and additions of one image of 64 x 64 pixels."""
    network = build_network(name, pretrained=False, **arguments).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, arguments["in_channels"], 64, 64))
    return int(counter.get_total_flops())


def train(
    task: Task, method: str, width: int, epochs: int, seed: int, folder: Path
) -> tuple[MemberFit, tuple[InputBand, ...], float]:
    """Fit one method; return it with its inputs and its seconds."""
    members, uncertainty = METHODS[method]
    patches = task.data[Part.TRAIN]
    inputs = make_inputs(patches.channels, channel_statistics(patches))
    objective: Objective = Segmentation(task.legend)
    if members > 1:
        objective = Members(objective, members)
    options = TrainingOptions(
        epochs=epochs, patience=epochs, learning_rate=2e-3, batch_size=8, seed=seed, accelerator="auto"
    )

    def fit(member_seed: int, place: Path, arguments: dict[str, Any]) -> FitResult:
        return fit_network(
            "mimo-unet",
            arguments,
            objective,
            patches,
            task.data[Part.VALIDATION],
            inputs,
            options=options.model_copy(update={"seed": member_seed}),
            folder=place,
            augmentation=augmentation_for(inputs),
        )

    arguments = _arguments(members, width, len(inputs), len(task.legend))
    if uncertainty.method == "mc-dropout":
        arguments["dropout"] = 0.1
    start = time.perf_counter()
    # The single network and the ensemble's first member are the same training, found again in the folder.
    place = folder / ("dropout" if uncertainty.method == "mc-dropout" else f"members-{members}-{width}")
    place = folder / "ensemble" if uncertainty.method == "ensemble" else place
    fitted = fit_members(
        uncertainty,
        _system(members, width),
        arguments,
        objective,
        inputs,
        task.data,
        fit,
        seed=seed,
        folder=place,
    )
    return fitted, inputs, time.perf_counter() - start


def network_of(fitted: MemberFit) -> torch.nn.Module:
    """Rebuild a fitted network."""
    network = build_network(fitted.architecture["name"], pretrained=False, **fitted.architecture["arguments"])
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in fitted.weights.items()})
    return network.eval()


def predictions(
    network: torch.nn.Module, objective: Objective, patches: PatchSet, inputs: tuple[InputBand, ...]
) -> dict[str, NDArray[np.float64]]:
    """Return probabilities `[N, K]`, total and epistemic uncertainty `[N]`, and targets of labelled pixels."""
    mean = torch.tensor([band.mean for band in inputs])[:, None, None]
    std = torch.tensor([band.std for band in inputs])[:, None, None]
    rows: dict[str, list[NDArray[Any]]] = {"probability": [], "total": [], "epistemic": [], "target": []}
    for start in range(0, len(patches), 16):
        part = slice(start, start + 16)
        x, valid = normalise_tensor(torch.from_numpy(patches.image[part]), mean, std)
        with torch.inference_mode():
            prediction = objective.predict(network(x).numpy())
        usable = patches.labelled[part] & valid.numpy()
        rows["probability"].append(np.moveaxis(prediction.layers["probability"], 1, -1)[usable])
        rows["total"].append(prediction.total[usable])
        epistemic = np.zeros_like(prediction.total) if prediction.epistemic is None else prediction.epistemic
        rows["epistemic"].append(epistemic[usable])
        rows["target"].append(patches.mask[part][usable])
    return {name: np.concatenate(values).astype(np.float64) for name, values in rows.items()}


def quality(inside: dict[str, NDArray[Any]], outside: dict[str, NDArray[Any]]) -> dict[str, float]:
    """Return measures of the probabilities in distribution, and of the shift's uncertainty."""
    p, target = inside["probability"], inside["target"].astype(np.int64)
    wrong = p.argmax(axis=1) != target
    figures = {
        "overall_accuracy": float(1.0 - wrong.mean()),
        "negative_log_likelihood": measures.negative_log_likelihood(p, target),
        "expected_calibration_error": measures.expected_calibration_error(p, target),
        "brier_score": measures.brier_score(p, target),
        "auroc_of_errors": measures.auroc(inside["total"][~wrong], inside["total"][wrong]),
        "ause": measures.ause(wrong.astype(float), inside["total"]),
        "epistemic_share": float(inside["epistemic"].sum() / inside["total"].sum()),
        "epistemic_share_shifted": float(outside["epistemic"].sum() / outside["total"].sum()),
        "auroc_of_shift_by_total": measures.auroc(inside["total"], outside["total"]),
    }
    if inside["epistemic"].any():
        figures["auroc_of_shift_by_epistemic"] = measures.auroc(inside["epistemic"], outside["epistemic"])
    other = outside["probability"].argmax(axis=1) == outside["target"]
    figures["overall_accuracy_shifted"] = float(other.mean())
    return figures


def costs(networks: dict[str, tuple[MemberFit, torch.nn.Module]], bands: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Return forward time as a ratio to the plain network's, interleaved, with multiplications and weights."""
    x = torch.randn(2, bands, 256, 256).to(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    plain = {name: module.to(memory_format=torch.channels_last) for name, (_, module) in networks.items()}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name, module in plain.items():
                start = time.perf_counter()
                module(x)
                if number:
                    seconds[name].append(time.perf_counter() - start)
    single = seconds["single"]
    counted = {
        name: flops(fit.architecture["name"], fit.architecture["arguments"]) for name, (fit, _) in networks.items()
    }
    return {
        name: {
            "time_ratio": statistics.median(a / b for a, b in zip(seconds[name], single, strict=True)),
            "time_ratios": [round(a / b, 3) for a, b in zip(seconds[name], single, strict=True)],
            "flop_ratio": counted[name] / counted["single"],
            "flops_per_pixel": counted[name] / 64**2,
            "parameters": sum(weight.numel() for weight in module.parameters()),
        }
        for name, (_, module) in networks.items()
    }


def compare(task: Task, plain_width: int, epochs: int, seed: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Train and measure all methods on one task."""
    rows: dict[str, dict[str, Any]] = {}
    networks: dict[str, tuple[MemberFit, torch.nn.Module]] = {}
    inputs: tuple[InputBand, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        for method, (members, _) in METHODS.items():
            own = members > 1 and not method.endswith("wide")
            width = _width(members, plain_width) if own else plain_width
            fitted, inputs, seconds = train(task, method, width, epochs, seed, Path(folder))
            module = network_of(fitted)
            inside, outside = (
                predictions(module, fitted.objective, patches, inputs)
                for patches in (task.data[Part.TEST], task.shifted)
            )
            rows[method] = {
                "width": width,
                **quality(inside, outside),
                "training_seconds": round(seconds, 1),
                "found": fitted.summary.get("uncertainty", {}),
            }
            networks[method] = (fitted, module)
            print(
                f"seed {seed} {method}: " + json.dumps({k: v for k, v in rows[method].items() if k != "found"}),
                flush=True,
            )
    for method, cost in costs(networks, len(inputs), rounds).items():
        rows[method] |= cost
    return rows


def summary(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return mean and spread over seeds of every figure of every method."""
    return {
        method: {
            key: spread([run[method][key] for run in runs])
            for key, value in runs[0][method].items()
            if isinstance(value, int | float)
        }
        for method in runs[0]
    }


def show(table: dict[str, Any]) -> None:
    """Print the table of quality and cost."""
    keys = ("overall_accuracy", "negative_log_likelihood", "expected_calibration_error", "brier_score",
            "auroc_of_errors", "epistemic_share", "epistemic_share_shifted", "time_ratio", "flop_ratio")  # fmt: skip
    print(f"{'':16s}" + "".join(f"{key[:14]:>16s}" for key in keys))
    for method, figures in table.items():
        print(f"{method:16s}" + "".join(f"{figures[key]['mean']:16.3f}" for key in keys))


def main() -> None:
    """Parse the options, run, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--width", type=int, default=8, help="of the plain network")
    parser.add_argument("--cities", type=int, nargs=3, default=(3, 1, 2), help="for training, validation and test")
    parser.add_argument("--data", action="store_true", help="Slovenia instead of simulated cities")
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs, prints only")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.epochs = 1, 2
    name = "slovenia" if options.data else "simulated_city"
    runs, about = [], {}
    for seed in range(options.seeds):
        cities = (1, 1, 1) if options.quick else tuple(options.cities)
        task = slovenia(seed) if options.data else simulated(seed, cities)
        about = task.about
        runs.append(compare(task, options.width, options.epochs, seed, rounds=2 if options.quick else 7))
    table = summary(runs)
    show(table)
    if options.quick:
        return
    path = RESULTS / "trust_members.json"
    older = json.loads(path.read_text()).get("data_sets", {}) if path.exists() else {}
    protocol = {key: getattr(options, key) for key in ("seeds", "epochs", "width")} | {"patch": PATCH}
    found = {"data": about, "protocol": protocol, "summary": table, "runs": runs}
    print(store("trust_members", {"data_sets": older | {name: found}}).name)


if __name__ == "__main__":
    main()
