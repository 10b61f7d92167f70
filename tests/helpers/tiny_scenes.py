"""A made-up data set of small images in files of its own, a tiny network for it, and the system that joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ecumene.core.errors import SceneError
from ecumene.legends import Legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.scene_set import SceneSet
from ecumene.scenes.contract import Channel
from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

SIDE = 16
CLASSES = ("water", "forest", "built")
SPECTRA = np.array([[0.05, 0.03, 0.01], [0.05, 0.04, 0.30], [0.15, 0.17, 0.20]])
CHANNELS = tuple(
    Channel("sentinel-2", "L2A", band, "1", wave, 10.0)
    for band, wave in [("B03", 0.56), ("B04", 0.665), ("B08", 0.842)]
)


def make_image(label: int, generator: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Return `[3, side, side]` of one class with texture; reflectance."""
    noise = 0.03 * generator.standard_normal((3, side, side))
    return (SPECTRA[label][:, None, None] * (1 + 0.1 * generator.standard_normal()) + noise).astype(np.float32)


def write_images(folder: Path, count: int = 90, seed: int = 0) -> Path:
    """Write images as `class-number.npy`; every five of a class share a place."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label = number % len(CLASSES)
        np.save(folder / f"{CLASSES[label]}-{number:04d}.npy", make_image(label, generator))
    return folder


class TinyScenes(DataSet):
    """See the module."""

    info = DataSetInfo("tiny", "made-up images", "scene-classification", "nobody 2026", "CC0-1.0", 90, "npy files")
    several = False

    def __init__(self, folder: Path, several: bool = False) -> None:
        self.folder = folder
        self.paths = sorted(folder.glob("*.npy"), key=lambda path: path.stem.split("-")[1])
        if not self.paths:
            raise SceneError(f"The folder {folder.name} holds no images; fetch them again.")
        self.legend = Legend.from_names(CLASSES)
        self.channels, self.patch_size = CHANNELS, SIDE
        label = np.array([CLASSES.index(path.stem.split("-")[0]) for path in self.paths])
        self.label = np.eye(3, dtype=np.int64)[label] if several else label.astype(np.int64)
        self.group = (np.arange(len(label)) // 3 // 5 * 3 + label).astype(np.int32)
        self.ids = [path.stem for path in self.paths]
        self.reads = 0

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        return cls(Path(folder), **options)

    def read(self, indices: Sequence[int]) -> SceneSet:
        chosen = np.asarray(indices)
        self.reads += len(chosen)
        images = np.stack([np.load(self.paths[i]) for i in chosen]) if len(chosen) else np.empty((0, 3, SIDE, SIDE))
        return SceneSet(images.astype(np.float32), self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, np.ndarray]:
        parts = np.where(np.arange(len(self)) % 4 == 0, Part.TEST, Part.TRAIN)
        return {"published": parts.astype(np.int8)}


def tiny_system(**changes: Any) -> System:
    """Return a system that learns `TinyScenes` in a second."""
    return System(
        **{
            "name": "tiny-scene",
            "title": "a tiny scene classifier",
            "task": "scene-classification",
            "reads": "scene",
            "kind": "network",
            "network": "scene-resnet",
            "network_arguments": {"encoder": "test_resnet"},
            "objective": "scene-classification",
            "training": {"epochs": 6, "batch_size": 16, "learning_rate": 3e-3, "precision": "32"},
            "patch_size": SIDE,
            "data_sets": ("tiny",),
            "protocols": (
                BenchProtocol(name="random-70", split="random", train_share=0.7, draws=2),
                BenchProtocol(name="published", split="official", official="published", draws=1),
            ),
            "figures": (
                PublishedFigure(
                    data_set="Tiny", metric="overall_accuracy", value=0.9, protocol="70 %", verified=False,
                    bench="random-70",
                ),
            ),
            **changes,
        }
    )  # fmt: skip
