"""Semantic shifts: one class is left out of the training and met in the test.

RSSCN7: a compact convolutional network (four 3 x 3 convolutions with batch normalisation, widths 24, 32, 48, 64,
strides 2 but for the first; global mean) on 40 x 40 RGB images, 30 epochs of AdamW. Salinas: a perceptron a pixel
(204 - 64 - 32) on standardised bands, 30 epochs; pixels of 15 x 15 blocks stay together. Half of the images (blocks) of
the known classes train, a fifth calibrates, the rest is the usual half of the test; all of the left-out class is
strange. TARDIS's wild data: a half of the left-out class and a quarter of the usual test; it is measured on what is
left of both, on the last hidden layer, with k tuned.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common import data_root
from ecumene.core.errors import ConfigurationError
from ecumene.trust.tardis import TardisDetector
from trust_outliers_methods import Features, Method, fit_methods, halves, join, measure, upper_bound

EPOCHS = 30
BATCH = 32
SIDE = 40
BLOCK = 15


class _Scene(nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for position, width in enumerate((24, 32, 48, 64)):
            stride = 1 if position == 0 else 2
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, n_classes)

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean(dim=(2, 3))


class _Pixel(nn.Module):
    def __init__(self, n_bands: int, n_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_bands, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()
        )
        self.head = nn.Linear(32, n_classes)

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def _fit(network: Any, x: torch.Tensor, y: torch.Tensor, batch: int, flips: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = EPOCHS * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    network.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - batch + 1, batch):
            chosen = order[start : start + batch]
            images = x[chosen]
            if flips and torch.rand(1, generator=generator) < 0.5:
                images = images.flip(-1)
            if flips and torch.rand(1, generator=generator) < 0.5:
                images = images.flip(-2)
            optimiser.zero_grad()
            functional.cross_entropy(network.head(network.hidden(images)), y[chosen], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    network.eval()


def _parts(network: Any, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the parts of images or pixels; `perturbed` are logits of the input moved as ODIN does."""
    found: dict[str, list[np.ndarray]] = {"hidden": [], "logits": [], "perturbed": []}
    for start in range(0, len(x), 512):
        moved = x[start : start + 512].clone().requires_grad_(True)
        hidden = network.hidden(moved)
        logits = network.head(hidden)
        certainty = (logits / 1000.0).log_softmax(dim=1).amax(dim=1).sum()
        (gradient,) = torch.autograd.grad(certainty, moved)
        with torch.no_grad():
            again = network.head(network.hidden(moved + 0.0014 * gradient.sign()))
        for name, value in (("hidden", hidden), ("logits", logits), ("perturbed", again)):
            found[name].append(value.detach().numpy())
    parts = {name: np.concatenate(values) for name, values in found.items()}
    bands = x.mean(dim=(2, 3)) if x.ndim == 4 else x
    return parts | {"bands": bands.numpy(), "features": parts["hidden"]}


@lru_cache
def rsscn7() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Path]]:
    """Return images `[N, 3, 40, 40]` in 0..1, classes and groups (each image its own), and the files."""
    from PIL import Image

    files = sorted((data_root() / "rsscn7_subset").rglob("*.jpg"))
    names = sorted({path.parent.name for path in files})
    images = np.empty((len(files), 3, SIDE, SIDE), np.float32)
    for position, path in enumerate(files):
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        images[position] = np.moveaxis(np.asarray(small, np.float32) / 255.0, -1, 0)
    classes = np.array([names.index(path.parent.name) for path in files])
    return images, classes, np.arange(len(files)), files


@lru_cache
def salinas() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Path]]:
    """Return spectra `[N, 204]`, classes, blocks of 15 x 15 pixels, and the file."""
    path = data_root() / "hsi_salinas_150" / "salinas_150.npz"
    with np.load(path) as stored:
        spectra, labels = stored["spectra"].astype(np.float32), stored["labels"].astype(np.int64) - 1
        column, row = np.divmod(stored["linear_index"], 150)
    return spectra, labels, (row // BLOCK) * 10 + column // BLOCK, [path]


def leave_one_out(name: str, left_out: int, seed: int) -> dict[str, Any]:
    """Train without a class and measure every method on meeting it."""
    values, classes, group, _ = {"rsscn7": rsscn7, "salinas": salinas}[name]()
    generator = np.random.default_rng(seed)
    units = generator.permutation(np.unique(group))
    share = np.searchsorted([0.5, 0.7], np.arange(len(units)) / len(units), side="right")
    part = share[np.argsort(units)][np.searchsorted(np.sort(units), group)]
    known = classes != left_out
    train, fresh, test = (known & (part == number) for number in range(3))
    axes = (0, 2, 3) if values.ndim == 4 else (0,)
    mean = values[train].mean(axis=axes, keepdims=True)
    std = values[train].std(axis=axes, keepdims=True) + 1e-6
    x = torch.from_numpy(((values - mean) / std).astype(np.float32))
    target = np.searchsorted(np.delete(np.unique(classes), left_out), classes)
    torch.manual_seed(seed)
    n_classes = len(np.unique(classes)) - 1
    network: Any = _Scene(n_classes) if values.ndim == 4 else _Pixel(values.shape[1], n_classes)
    y = torch.from_numpy(target)
    _fit(network, x[train], y[train], BATCH if values.ndim == 4 else 256, values.ndim == 4, seed)
    sets = {
        key: _parts(network, x[mask])
        for key, mask in (("train", train), ("fresh", fresh), ("test", test), ("out", ~known))
    }
    right = sets["test"]["logits"].argmax(axis=1) == target[test]
    weight, bias = network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    methods = fit_methods(sets["train"], target[train], weight, bias, seed)
    blocks = group[fresh] if name == "salinas" else None
    found = {key: measure(method, sets["test"], sets["out"], sets["fresh"], blocks) for key, method in methods.items()}
    found |= _tardis(sets, blocks, generator, seed)
    return {"accuracy_on_known": float(right.mean()), "methods": found}


def _tardis(
    sets: dict[str, dict[str, np.ndarray]], blocks: np.ndarray | None, generator: Any, seed: int
) -> dict[str, Any]:
    usual_taught, usual = halves(sets["test"], generator.random(len(sets["test"]["hidden"])) < 0.25)
    taught, strange = halves(sets["out"], generator.random(len(sets["out"]["hidden"])) < 0.5)
    wild: Features = join(usual_taught, taught)
    bound = upper_bound(sets["train"]["hidden"], taught["hidden"], seed)
    found: dict[str, Any]
    try:
        detector = TardisDetector.fit(sets["train"]["hidden"], wild=wild["hidden"], tune=True, seed=seed)
        found = measure(Method(detector, ("hidden",)), usual, strange, sets["fresh"], blocks)
    except ConfigurationError as error:
        found = {"refused": str(error)}
    return {
        "tardis, wild data of this shift": found,
        "upper bound of tardis: true labels": measure(
            Method(bound, ("hidden",)), usual, strange, sets["fresh"], blocks
        ),
    }
