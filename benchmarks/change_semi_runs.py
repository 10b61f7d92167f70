"""One training of a system of sites and its figures on the test sites, for `change_semi.py`."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.models.bundle import Model
from ecumene.models.deployed import normalise_tensor
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets.growth_sites import GrowthSites
from ecumene.samples.patch_set import PatchSet
from ecumene.systems import get_system
from ecumene.workflows.site_data import collect_sites
from ecumene.workflows.site_train import answer_only, fit_sites, site_options

BATCH = 8
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Run:
    """What to train.

    Attributes:
        key: Name of the variant.
        system: The system.
        arguments: Of its network.
        options: Of its samples.
        crop: Side of the training crops.
        steps: Optimiser steps.
    """

    key: str
    system: str
    arguments: dict[str, Any]
    options: dict[str, Any]
    crop: int
    steps: int
    training: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 3e-3, "schedule": "cosine"})


def trained(run: Run, folder: Path, seed: int, out: Path) -> tuple[Model, PatchSet, GrowthSites, float]:
    """Train a variant; return the model without trust, the test windows, the sites, and the seconds."""
    began = time.process_time()
    system = get_system(run.system)
    training = {**system.training, "batch_size": BATCH, "patience": 1000, **run.training}
    system = system.model_copy(
        update={"network_arguments": run.arguments, "patch_size": run.crop, "training": training}
    )
    options = site_options(system, run.options)
    sites = GrowthSites.open(folder, options.bands)
    stride = 1 << len(run.arguments["widths"])
    data = collect_sites(sites, options, run.crop, stride, seed=seed)
    epochs = max(1, round(run.steps / -(-len(data[Part.TRAIN]) // BATCH)))
    model = fit_sites(system, sites, data, options, seed=seed, epochs=epochs, max_minutes=None, out=out)
    shutil.rmtree(out.parent / f".{out.name}.training", ignore_errors=True)
    return model, data[Part.TEST], sites, time.process_time() - began


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return F1, precision and recall of pixels pooled over all places."""
    both = float((found & truth).sum())
    precision = both / max(1.0, float(found.sum()))
    recall = both / max(1.0, float(truth.sum()))
    return {"f1": 2 * precision * recall / max(1e-12, precision + recall), "precision": precision, "recall": recall}


def outputs_of(model: Model, patches: PatchSet) -> NDArray[np.float32]:
    """Return raw outputs of all windows."""
    days = patches.dates.astype(np.float32) if model.spec.temporal else None
    parts = []
    for start in range(0, len(patches), 4):
        part = slice(start, start + 4)
        parts.append(model.raw_output(patches.image[part], None if days is None else days[part]))
    return np.concatenate(parts)


def known_overlap(
    found: NDArray[np.bool_], patches: PatchSet, where: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Return `overlap` with the second class at labelled pixels of windows [N]."""
    truth = answer_only(patches).mask
    usable = truth != IGNORE
    if where is not None:
        usable = usable & where[:, None, None]
    return overlap(found[usable], truth[usable] == 1)


def change_figures(run: Run, folder: Path, seed: int, out: Path) -> dict[str, Any]:
    """Train a variant of change between two dates; return its F1, precision and recall."""
    model, test, _, seconds = trained(run, folder, seed, out)
    return {**known_overlap(outputs_of(model, test).argmax(axis=1) == 1, test), "seconds": round(seconds, 1)}


def style_figures(run: Run, folder: Path, seed: int, out: Path) -> dict[str, Any]:
    """Train a variant of settlement extraction; return its figures in the styles of the test sites."""
    model, test, sites, seconds = trained(run, folder, seed, out)
    styles = json.loads((folder / "data_set.json").read_text())["styles"]
    of_window = np.array([styles[sites.sites[int(group)].name] for group in test.group[:, 0, 0]])
    found = outputs_of(model, test).argmax(axis=1) == 1
    figures: dict[str, Any] = {
        style: known_overlap(found, test, of_window == style) for style in sorted(set(of_window.tolist()))
    }
    return {**figures, "seconds": round(seconds, 1)}


def stream_figures(run: Run, folder: Path, seed: int, out: Path) -> dict[str, Any]:
    """Train a variant of balanced streams; return F1 of fusion and streams, and how much the fusion uses each stream.

    The utilisation of a stream is the relative loss of F1 when the fusion gets zeros instead of its map.
    """
    model, test, _, seconds = trained(run, folder, seed, out)
    module = model.executor("torch", device="cpu").module
    found: dict[str, list[NDArray[np.bool_]]] = {}
    with torch.inference_mode():
        for start in range(0, len(test), 4):
            image = torch.from_numpy(np.ascontiguousarray(test.image[start : start + 4]))
            x, _ = normalise_tensor(image, module.mean, module.std)
            for name, logits in module.network.outputs_by_stream(x).items():
                found.setdefault(name, []).append(logits.argmax(dim=1).numpy() == 1)
    figures = {name: known_overlap(np.concatenate(parts), test)["f1"] for name, parts in found.items()}
    whole = max(1e-12, figures["fusion"])
    used = {name: (figures["fusion"] - figures[f"fusion-without-{name}"]) / whole for name in ("radar", "optical")}
    return {"f1": figures, "utilisation": used, "seconds": round(seconds, 1)}


def best_step(probability: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the class of the step function nearest to probabilities `[N, T, H, W]` in the mean square.

    0 never, 1 throughout, 2 + t a step between dates t and t + 1: the model of stage (a) of continuous urban change
    detection (Hafner, `change_detection_models.py`).
    """
    dates = probability.shape[1]
    steps = [np.zeros(dates), np.ones(dates), *(np.arange(dates) > t for t in range(dates - 1))]
    errors = [((probability - step[None, :, None, None]) ** 2).mean(axis=1) for step in steps]
    return np.stack(errors).argmin(axis=0)


def date_errors(found: NDArray[np.integer], truth: NDArray[np.integer], days: NDArray[np.int64]) -> dict[str, float]:
    """Return how well classes of a series say that and when a place was built.

    Args:
        found: Classes `[N, H, W]`, see `site_data.growth_legend`.
        truth: The same, -1 unknown.
        days: `[N, T]`.
    """
    dates = days.shape[1]
    middle = 0.5 * (days[:, 1:] + days[:, :-1])
    known = truth != IGNORE
    grown, said = (truth >= 2) & (truth <= dates) & known, (found >= 2) & (found <= dates) & known
    both = grown & said
    number = np.broadcast_to(np.arange(len(days))[:, None, None], truth.shape)[both]
    error = np.abs(middle[number, found[both] - 2] - middle[number, truth[both] - 2])
    return {
        **{f"grown_{name}": value for name, value in overlap(said[known], grown[known]).items()},
        "same_interval": float((error == 0).mean()) if error.size else 0.0,
        "mean_error_years": float(error.mean() / DAYS_A_YEAR) if error.size else 0.0,
    }


def series_figures(run: Run, folder: Path, seed: int, out: Path) -> dict[str, Any]:
    """Train the series network; return date errors of its posterior, of its most probable states, and of a step."""
    model, test, _, seconds = trained(run, folder, seed, out)
    module = model.executor("torch", device="cpu").module
    built, states = [], []
    with torch.inference_mode():
        for start in range(0, len(test), 2):
            image = torch.from_numpy(np.ascontiguousarray(test.image[start : start + 2]))
            x, _ = normalise_tensor(image, module.mean, module.std)
            built.append(module.network._run(x)[0].sigmoid().numpy())
            states.append(module.network.states(x).numpy())
    truth = answer_only(test).mask
    most = _classes_of(np.concatenate(states))
    found = {
        "posterior": outputs_of(model, test).argmax(axis=1),
        "most_probable_states": most,
        "step_of_each_date": best_step(np.concatenate(built)),
    }
    figures: dict[str, Any] = {name: date_errors(classes, truth, test.dates) for name, classes in found.items()}
    return {**figures, "seconds": round(seconds, 1)}


def _classes_of(states: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return classes `[N, H, W]` of states `[N, T, H, W]`."""
    from ecumene.workflows.site_data import target_maps

    return np.stack([target_maps(pixel.astype(np.int64))[0] for pixel in states])
