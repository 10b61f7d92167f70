"""Is the simulated city hard enough, and does context help: random forest against U-Net on held-out cities.

    python benchmarks/simulated_city.py            # 5 seeds, results to benchmarks/results/simulated_city.json
    python benchmarks/simulated_city.py --quick    # 1 seed, fewer epochs, prints only

Each seed has its own cities. A forest is trained on all pixels' spectra of a date drawn evenly from the
classes of one city, another one in proportion from all training cities (as much as the network sees); a
small U-Net is trained on all training cities. All are tested on every pixel of two cities that none has
seen. The simulator's target: the forest of one city reaches an overall accuracy of 0.70 to 0.90, and the
U-Net beats both forests.

Models are functions `fit(cities, seed) -> predict`, where `predict` maps an image `[bands, H, W]` to class
indices `[H, W]`: another trainer can be added to `MODELS` without touching the protocol.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.nn import functional

from common import spread, store
from ecumene.simulate import LEGEND, observe_sentinel2, simulate_city

DATE = "2023-07-06"
YEAR = 2023
TRAIN_CITIES = 8
TEST_CITIES = 2
CLASSES = len(LEGEND)
Predict = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class Scene:
    """One city: its image `[bands, H, W]` and its class indices `[H, W]`."""

    image: NDArray[np.float32]
    target: NDArray[np.int64]


def make_scene(seed: int) -> Scene:
    """Simulate a city and one clear date of it."""
    city = simulate_city(seed)
    index = np.searchsorted(np.array(LEGEND.values), city.land_cover(YEAR))
    return Scene(observe_sentinel2(city, DATE, seed=seed).image, index.astype(np.int64))


def fit_forest(scenes: list[Scene], seed: int, *, balanced: bool, pixels: int = 15_000) -> Predict:
    """Train a random forest of 200 trees on single spectra."""
    rng = np.random.default_rng(seed)
    spectra = np.concatenate([scene.image.reshape(len(scene.image), -1).T for scene in scenes])
    target = np.concatenate([scene.target.ravel() for scene in scenes])
    if balanced:
        each = pixels // CLASSES
        chosen = np.concatenate([rng.permutation(np.flatnonzero(target == k))[:each] for k in range(CLASSES)])
    else:
        chosen = rng.permutation(target.size)[:pixels]
    forest = RandomForestClassifier(200, n_jobs=1, random_state=seed)
    forest.fit(spectra[chosen], target[chosen])

    def predict(image: NDArray) -> NDArray:
        return forest.predict(image.reshape(len(image), -1).T).reshape(image.shape[1:])

    return predict


class SmallUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with three levels, batch normalisation and few channels."""

    def __init__(self, bands: int, classes: int, width: int = 24) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [self._block(bands, width), self._block(width, 2 * width), self._block(2 * width, 4 * width)]
        )
        self.bottom = self._block(4 * width, 4 * width)
        self.up = nn.ModuleList(
            [self._block(8 * width, 2 * width), self._block(4 * width, width), self._block(2 * width, width)]
        )
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, bands, H, W]` to `[B, classes, H, W]`; sides are multiples of 8."""
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, kept.pop()], dim=1))
        return self.head(x)


def fit_unet(scenes: list[Scene], seed: int, *, epochs: int, patch: int = 128) -> Predict:
    """Train the U-Net on random patches, flipped and turned."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = np.stack([scene.image for scene in scenes])
    targets = np.stack([scene.target for scene in scenes])
    mean = images.mean(axis=(0, 2, 3))[:, None, None]
    std = images.std(axis=(0, 2, 3))[:, None, None]
    images = (images - mean) / std
    network = SmallUNet(images.shape[1], CLASSES).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    batch, per_epoch = 8, 4 * len(scenes) // 8
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * per_epoch)
    network.train()
    for _ in range(epochs * per_epoch):
        inputs, wanted = [], []
        for _ in range(batch):
            which = rng.integers(len(scenes))
            row, col = rng.integers(0, np.array(images.shape[2:]) - patch + 1)
            window = (slice(row, row + patch), slice(col, col + patch))
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            x = np.rot90(images[which][(slice(None), *window)], turns, (1, 2))
            y = np.rot90(targets[which][window], turns)
            inputs.append(x[..., ::-1] if flip else x)
            wanted.append(y[..., ::-1] if flip else y)
        x_batch = torch.from_numpy(np.stack(inputs).copy()).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            output = network(x_batch)
        loss = functional.cross_entropy(output.float(), torch.from_numpy(np.stack(wanted).copy()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()

    def predict(image: NDArray) -> NDArray:
        with torch.no_grad():
            return network(torch.from_numpy((image - mean) / std)[None])[0].argmax(dim=0).numpy()

    return predict


def models(epochs: int) -> dict[str, Callable[[list[Scene], int], Predict]]:
    """Return the competitors."""
    return {
        "random_forest_one_city": lambda scenes, seed: fit_forest(scenes[:1], seed, balanced=True),
        "random_forest_all_cities": lambda scenes, seed: fit_forest(scenes, seed, balanced=False, pixels=30_000),
        "unet_all_cities": lambda scenes, seed: fit_unet(scenes, seed, epochs=epochs),
    }


def score(predict: Predict, scenes: list[Scene]) -> dict[str, float]:
    """Return overall accuracy and mean intersection over union over all pixels of the scenes."""
    confusion = np.zeros((CLASSES, CLASSES), np.int64)
    for scene in scenes:
        pairs = scene.target * CLASSES + predict(scene.image)
        confusion += np.bincount(pairs.ravel(), minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    hit = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return {"oa": float(hit.sum() / confusion.sum()), "miou": float((hit / np.maximum(union, 1)).mean())}


def run(seeds: int, epochs: int) -> dict[str, object]:
    """Run all competitors for all seeds and return the table."""
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in models(epochs)}
    for seed in range(seeds):
        first = 1000 * (seed + 1)
        scenes = [make_scene(first + number) for number in range(TRAIN_CITIES + TEST_CITIES)]
        for name, fit in models(epochs).items():
            start = time.perf_counter()
            result = score(fit(scenes[:TRAIN_CITIES], seed), scenes[TRAIN_CITIES:])
            seconds = time.perf_counter() - start
            scores[name].append({**result, "seconds": seconds})
            print(f"seed {seed} {name}: OA {result['oa']:.4f} mIoU {result['miou']:.4f} ({seconds:.0f} s)", flush=True)
    summary = {
        name: {measure: spread([round(row[measure], 4) for row in rows]) for measure in ("oa", "miou", "seconds")}
        for name, rows in scores.items()
    }
    wins = [
        unet["oa"] > max(one["oa"], many["oa"])
        for unet, one, many in zip(
            scores["unet_all_cities"],
            scores["random_forest_one_city"],
            scores["random_forest_all_cities"],
            strict=True,
        )
    ]
    return {"scores": summary, "unet_beats_both_forests": wins}


def main() -> None:
    """Parse the options, run, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="one seed, 30 epochs, nothing stored")
    options = parser.parse_args()
    seeds, epochs = (1, 30) if options.quick else (options.seeds, options.epochs)
    result = {
        "what": "overall accuracy on two held-out simulated cities, single date, Sentinel-2 L2A, 12 bands",
        "protocol": {
            "date": DATE,
            "train_cities": TRAIN_CITIES,
            "test_cities": TEST_CITIES,
            "city_pixels": [256, 256],
            "seeds": list(range(seeds)),
            "unet_epochs": epochs,
        },
        **run(seeds, epochs),
    }
    print(result)
    if not options.quick:
        print(store("simulated_city", result).name)


if __name__ == "__main__":
    main()
