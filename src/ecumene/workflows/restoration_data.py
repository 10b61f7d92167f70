"""From a published data set of cloudy and clear images to the parts that a system learns from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.contract import Part
from ecumene.samples.datasets import data_set_class, open_data_set
from ecumene.samples.datasets.loading import CACHE_BYTES, checksum_of
from ecumene.samples.datasets.restoration import RestorationData
from ecumene.samples.restoration_set import RestorationSamples, RestorationSet
from ecumene.scenes.contract import Channel
from ecumene.systems import System
from ecumene.workflows.training_data import PARTS, TrainingData

STATISTICS_SAMPLES = 32
"""Training samples that the card's quantiles come from."""


class PairCache:
    """Samples that stay in memory while there is room; what does not fit is read each time.

    Args:
        limit: Most bytes.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._left = limit
        self._kept: dict[int, RestorationSet] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> RestorationSet | None:
        """Return a sample, if it is there."""
        return self._kept.get(index)

    def put(self, index: int, sample: RestorationSet) -> None:
        """Keep a sample while there is room."""
        size = sample.image.nbytes + sample.target.nbytes + sample.cloudy.nbytes
        with self._lock:
            if index not in self._kept and size <= self._left:
                self._kept[index] = sample
                self._left -= size


class LazyPairs:
    """Some samples of a data set, read when they are needed; see `RestorationSamples`.

    Args:
        data: The opened data set.
        indices: Which of its samples, in this order; None: all.
        cache: Shared by the parts of one data set; None: a new one.
    """

    def __init__(
        self,
        data: RestorationData,
        indices: NDArray[np.integer] | Sequence[int] | None = None,
        cache: PairCache | None = None,
    ) -> None:
        self.data = data
        self.indices = np.arange(len(data)) if indices is None else np.asarray(indices, np.intp)
        self.cache = cache or PairCache()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def group(self) -> NDArray[np.int32]:
        """As in `RestorationSet`."""
        return self.data.group[self.indices]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the images."""
        return self.data.channels

    @property
    def crop(self) -> int | None:
        """As in `RestorationSet`."""
        return self.data.crop

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return the samples with these numbers, in this order, from the cache where they are there.

        Raises:
            EcumeneError: If a file cannot be read.
        """
        found = []
        for index in self.indices[np.asarray(indices, np.intp)]:
            sample = self.cache.get(int(index))
            if sample is None:
                sample = self.data.read_pairs([int(index)])
                self.cache.put(int(index), sample)
            found.append(sample)
        return RestorationSet.concatenate(found)

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> LazyPairs:
        """Return these samples as a source that shares the cache."""
        return LazyPairs(self.data, self.indices[np.asarray(indices, np.intp)], self.cache)

    def digest(self) -> bytes:
        """Return a SHA-256 of the files' names and sizes, the options, the channels and the order of the samples."""
        digest = hashlib.sha256(checksum_of(self.data).encode())
        digest.update(f"{self.data.variant}\n".encode())
        digest.update("\n".join(channel.key for channel in self.channels).encode())
        digest.update(np.ascontiguousarray(self.indices).data)
        return digest.digest()


def open_restoration_data(
    system: System, folder: str | Path, name: str | None = None, options: Mapping[str, Any] | None = None
) -> RestorationData:
    """Open the data set of a system that removes clouds.

    Args:
        system: What will be trained.
        folder: With the official files.
        name: Of the data set; None: the system's first.
        options: Instead of the system's own where they name the same.

    Raises:
        ConfigurationError: If the data set holds no cloudy images with clear ones, or series where the system reads
            single images, or the other way round.
        EcumeneError: If files are missing, cut short or of another layout.
    """
    if not system.data_sets:
        raise ConfigurationError(
            f"{system.name} learns from scenes whose clear pixels are hidden, not from a data set."
        )
    chosen = name or system.data_sets[0]
    own = system.data_options if chosen == system.data_sets[0] else {}
    if not issubclass(data_set_class(chosen), RestorationData):
        raise ConfigurationError(
            f"{system.name} learns to remove clouds, and {chosen} holds no cloudy images with clear ones; choose "
            f"{' or '.join(system.data_sets)} (--data-set)."
        )
    data = open_data_set(chosen, folder, **{**own, **(options or {})})
    assert isinstance(data, RestorationData)
    if data.temporal != (system.reads == "series"):
        has, reads = ("series", "one date") if data.temporal else ("one date", "series")
        raise ConfigurationError(
            f"{chosen} has {has} a sample, but {system.name} reads {reads}; choose another system or data set."
        )
    return data


def divide_pairs(data: RestorationData, parts: NDArray[np.int8]) -> TrainingData:
    """Return the parts as sources that read the official files when needed and share one cache."""
    cache = PairCache()
    return TrainingData({part: LazyPairs(data, np.flatnonzero(parts == part), cache) for part in PARTS})


def value_range(train: RestorationSamples, seed: int = 0) -> dict[str, list[float]]:
    """Return `low` and `high`, the 0.1 % and 99.9 % quantiles of each channel over some training samples.

    Raises:
        LabelError: If there is no sample.
    """
    if len(train) == 0:
        raise LabelError("The training set is empty; give more images or another share (--train-share).")
    count = min(len(train), STATISTICS_SAMPLES)
    chosen = np.sort(np.random.default_rng([seed, 7]).choice(len(train), count, replace=False))
    image = np.moveaxis(train.read(chosen).image, -3, 0)
    ranges = [np.nanquantile(channel, [0.001, 0.999]) if np.isfinite(channel).any() else None for channel in image]
    pairs = [(np.nan, np.nan) if pair is None else (float(pair[0]), float(pair[1])) for pair in ranges]
    return {"low": [low for low, _ in pairs], "high": [high for _, high in pairs]}


def missing_parts(sets: TrainingData) -> str | None:
    """Return the name of a part that learning needs and that is empty."""
    return next((part.name.lower() for part in (Part.TRAIN, Part.VALIDATION) if len(sets[part]) == 0), None)
