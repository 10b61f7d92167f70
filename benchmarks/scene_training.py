"""Speed of training on a data set that does not fit into the loader's cache, read from its official files.

The same network is trained, some steps in turn, on images that are in memory as they are, on images in memory with
augmentation, and on the files with augmentation and a cache that holds a quarter of them. Beside it: how many images a
second our loader and a plain PyTorch loop over the same files deliver and train on. Every timing has a bounded number
of steps; those of a round follow each other, so that a busy machine hits all of them.

    python benchmarks/scene_training.py [--quick] [--images N] [--rounds N] [--steps N] [--network NAME] [--store]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import store

BANDS, SIDE, CLASSES = 13, 64, ("Forest", "Highway", "River")


def write_files(folder: Path, count: int) -> None:
    """Write patches in EuroSAT's layout and format: uint16, 13 bands, uncompressed, georeferenced."""
    import rasterio
    from rasterio.transform import from_origin

    generator = np.random.default_rng(0)
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        place = folder / name / f"{name}_{number // len(CLASSES) + 1}.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        level = 600 + 900 * (number % len(CLASSES)) + 40 * np.arange(BANDS)[:, None, None]
        pixels = (level + 200 * generator.standard_normal((BANDS, SIDE, SIDE))).clip(1, 60_000).astype(np.uint16)
        profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": BANDS, "dtype": "uint16"}
        where = from_origin(600_000 + 640 * (number % 100), 5_000_000 - 640 * (number // 100), 10, 10)
        with rasterio.open(place, "w", crs="EPSG:32633", transform=where, **profile) as file:
            file.write(pixels)


class Steps:
    """One network in training, fed by any loader."""

    def __init__(self, name: str, inputs: Any, classes: int, precision: str) -> None:
        import torch

        from ecumene.legends import Legend
        from ecumene.models.memory_layout import to_channels_last
        from ecumene.networks import build_network
        from ecumene.objectives import SceneClassification
        from ecumene.training.learner import Learner
        from ecumene.training.options import TrainingOptions

        torch.manual_seed(0)
        network = build_network("scene-resnet", in_channels=BANDS, n_outputs=classes, encoder=name)
        legend = Legend.from_names([f"c{i}" for i in range(classes)])
        self.learner = Learner(
            to_channels_last(network), SceneClassification(legend), inputs, TrainingOptions(), steps=1
        )
        self.learner.train()
        self.optimiser = self.learner.configure_optimizers()
        self.bf16 = precision == "bf16"

    def run(self, batches: Any, most: int | None = None) -> tuple[int, float, float]:
        """Return (images, wall seconds, processor seconds) of training on all batches or the first ones."""
        import torch

        images, wall, processor = 0, 0.0, 0.0
        began, used = time.perf_counter(), time.process_time()
        for number, batch in enumerate(batches, start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                loss = self.learner.training_step(batch, 0)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad()
            images += len(batch["image"])
            # The time is taken here, because ending a loader early waits for the batches that it has begun.
            wall, processor = time.perf_counter() - began, time.process_time() - used
            if number == most:
                break
        return images, wall, processor


def plain_loop(paths: list[Path], labels: np.ndarray, size: int, workers: int) -> Any:
    """Return PyTorch's own loader over the files, opened by rasterio one by one, with the usual flips."""
    import rasterio
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> dict[str, Any]:
            with rasterio.open(paths[index]) as file:
                image = torch.from_numpy(file.read().astype(np.float32) / 10_000)
            if torch.rand(()) < 0.5:
                image = image.flip(-1)
            if torch.rand(()) < 0.5:
                image = image.flip(-2)
            return {"image": image, "target": int(labels[index])}

    return DataLoader(Files(), size, shuffle=True, num_workers=workers)


def deliver(batches: Any, most: int) -> float:
    """Return images a second of a loader that nobody waits for, over so many batches."""
    images, seconds, began = 0, 0.0, time.perf_counter()
    for number, batch in enumerate(batches, start=1):
        images += len(batch["image"])
        seconds = time.perf_counter() - began
        if number == most:
            break
    return images / seconds


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    from ecumene.models.hardware import processor_has_bfloat16
    from ecumene.samples.datasets import open_data_set
    from ecumene.samples.datasets.loading import LazyScenes
    from ecumene.training.provenance import make_inputs
    from ecumene.workflows.scene_data import scene_statistics

    data = open_data_set("eurosat", folder, classes=CLASSES)
    image_bytes = 4 * BANDS * SIDE * SIDE
    files = LazyScenes(data, cache_bytes=int(image_bytes * len(data) * arguments.cache_share))
    memory = data.read(np.arange(len(data)))
    inputs = make_inputs(data.channels, scene_statistics(memory))
    size, steps = arguments.batch_size, arguments.steps
    precision = "bf16" if processor_has_bfloat16() else "fp32"
    loaders = loaders_of(memory, files, inputs, size)
    network = Steps(arguments.network, inputs, len(CLASSES), precision)
    files.read(np.arange(files.cache.capacity))  # the cache is full from the beginning
    for loader in loaders.values():
        network.run(loader(0), most=2)  # compiles kernels
    wall: dict[str, list[float]] = {name: [] for name in loaders}
    processor: dict[str, list[float]] = {name: [] for name in loaders}
    for epoch in range(arguments.rounds):
        for name, loader in loaders.items():
            images, seconds, used = network.run(loader(epoch + 1), most=steps)
            wall[name].append(images / seconds)
            processor[name].append(images / used)
    paths = [path for name in CLASSES for path in sorted((folder / name).iterdir())]
    labels = np.repeat(np.arange(len(CLASSES)), [len(list((folder / name).iterdir())) for name in CLASSES])
    workers = os.cpu_count() or 1
    images, seconds, _ = network.run(plain_loop(paths, labels, size, workers), most=steps)
    ours = "from files, augmented"
    ratios = {
        name: [a / b for a, b in zip(wall[ours], wall[other], strict=True)]
        for name, other in (
            ("files_over_memory", "in memory"),
            ("files_over_memory_augmented", "in memory, augmented"),
        )
    }
    return {
        "data": {"name": "random patches in EuroSAT's files", "kind": "simulated", "images": len(data)},
        "cache": {
            "share": files.cache.capacity / len(data),
            "images": files.cache.capacity,
            "note": "the loader's cache was made smaller than its usual gigabyte, so that the data set does not fit",
        },
        "network": arguments.network,
        "precision": precision,
        "batch_size": size,
        "steps": min(steps, -(-len(data) // size)),
        "images_per_second": wall,
        "images_per_processor_second": processor,
        **{name: {"values": values, "median": statistics.median(values)} for name, values in ratios.items()},
        "delivered_per_second": {
            "ours": deliver(loaders[ours](99), steps),
            "plain PyTorch, one process": deliver(plain_loop(paths, labels, size, 0), steps),
            f"plain PyTorch, {workers} workers": deliver(plain_loop(paths, labels, size, workers), steps),
        },
        "trained_per_second": {"ours": statistics.median(wall[ours]), "plain": images / seconds},
    }


def loaders_of(memory: Any, files: Any, inputs: Any, size: int) -> dict[str, Callable[[int], Any]]:
    """Return the three loaders by name; each takes the number of an epoch."""
    from ecumene.samples.augmentation import augmentation_for
    from ecumene.training.scene_batches import SceneBatches

    augmentation = augmentation_for(inputs)
    return {
        "in memory": lambda epoch: SceneBatches(memory, size, epoch=lambda: epoch, shuffle=True),
        "in memory, augmented": lambda epoch: SceneBatches(
            memory, size, epoch=lambda: epoch, shuffle=True, augmentation=augmentation
        ),
        "from files, augmented": lambda epoch: SceneBatches(
            files, size, epoch=lambda: epoch, shuffle=True, augmentation=augmentation
        ),
    }


def main() -> None:
    """Measure and print; with --store also write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=28, help="of each timing; many, because batches are made ahead")
    parser.add_argument("--cache-share", type=float, default=0.25, help="of the images that the loader may keep")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--store", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.images, arguments.rounds, arguments.steps = min(arguments.images, 192), min(arguments.rounds, 2), 3
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), arguments.images)
        results = measure(Path(folder), arguments)
    for name, value in results.items():
        print(name, value)
    if arguments.store:
        print(store("scene_training", results))


if __name__ == "__main__":
    main()
