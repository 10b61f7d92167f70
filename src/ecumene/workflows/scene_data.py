"""From a published data set to the parts that a system of whole images learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.contract import Part
from ecumene.samples.datasets import DataSet, open_data_set
from ecumene.samples.datasets.loading import CACHE_BYTES, ImageCache, LazyScenes
from ecumene.samples.scene_set import SceneSamples
from ecumene.samples.scene_split import split_scenes
from ecumene.samples.statistics import ChannelStatistics, channel_statistics
from ecumene.systems import BenchProtocol, System
from ecumene.workflows.training_data import TrainingData

STATISTICS_IMAGES = 2000
"""Training images from which the channels' statistics are taken; thousands of images give them to a thousandth."""

USUAL_PROTOCOL = BenchProtocol(name="random-80", split="random", train_share=0.8)
"""What a system without a protocol of its own is trained and measured by."""


def open_system_data(
    system: System, folder: str | Path, name: str | None = None, options: Mapping[str, Any] | None = None
) -> DataSet:
    """Open the data set of a system.

    Args:
        system: What will be trained.
        folder: With the official files.
        name: Of the data set; None: the system's first.
        options: Instead of the system's own where they name the same.

    Raises:
        ConfigurationError: If no data set is named, or the system learns another kind of answer.
        EcumeneError: If files are missing, cut short or of another layout.
    """
    if system.reads == "pair":
        raise ConfigurationError(f"{system.name} learns what changed between two dates; train it with `ecumene train`.")
    chosen = name or (system.data_sets[0] if system.data_sets else None)
    if chosen is None:
        raise ConfigurationError(
            f"{system.name} names no data set; say which one lies in the folder: --data-set NAME (`ecumene datasets`)."
        )
    # Options such as bands are those of the system's own data set and mean nothing to another.
    own = system.data_options if not system.data_sets or chosen == system.data_sets[0] else {}
    merged = {**own, **(options or {})}
    sampling = merged.pop("resolution_m", None)
    data = open_data_set(chosen, folder, **merged)
    if sampling is not None:
        data.resolution_m = _positive(sampling)
    several = np.asarray(data.label).ndim == 2
    if system.task in ("scene-classification", "multi-label") and several != (system.task == "multi-label"):
        kinds = ("several labels" if several else "one class", "several labels" if not several else "one class")
        raise ConfigurationError(
            f"The images of {chosen} have {kinds[0]} each, but {system.name} learns {kinds[1]}; choose another system."
        )
    return data


def split_data_set(data: DataSet, protocol: BenchProtocol, seed: int) -> NDArray[np.int8]:
    """Return the `Part` of each sample, int8 `[N]`; see `split_scenes`.

    Raises:
        EcumeneError: If the data set cannot be split so.
    """
    return split_scenes(
        data.label,
        data.group,
        protocol.split,
        train_share=protocol.train_share,
        official=data.splits() if protocol.split == "official" else None,
        name=protocol.official,
        seed=seed,
    )


def divide(data: DataSet, parts: NDArray[np.int8], *, cache_bytes: int = CACHE_BYTES) -> TrainingData:
    """Return the parts as sources that read the official files when needed and share one cache."""
    shape = (len(data.channels), data.patch_size, data.patch_size)
    cache = ImageCache(len(data), shape, cache_bytes)
    wanted = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST)
    return TrainingData({part: LazyScenes(data, np.flatnonzero(parts == part), cache=cache) for part in wanted})


def scene_statistics(train: SceneSamples, seed: int = 0) -> ChannelStatistics:
    """Return the statistics of the channels over training images, of all or of enough of them drawn at random.

    Raises:
        LabelError: If there is no image.
    """
    count = len(train)
    if count == 0:
        raise LabelError("The training set is empty; give more images or another share (--train-share).")
    chosen = np.arange(count)
    if count > STATISTICS_IMAGES:
        chosen = np.sort(np.random.default_rng([seed, 7]).choice(count, STATISTICS_IMAGES, replace=False))
    return channel_statistics(train.read(chosen), seed)


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0.0 < number < 1e6:
        raise ConfigurationError(f"resolution_m is the ground sampling in metres, a positive number, not {value!r}.")
    return number


def resolution_of(data: DataSet) -> float:
    """Return metres a pixel of a data set's images: what it states, or its finest channel's sampling.

    Raises:
        ConfigurationError: If neither is known.
    """
    stated = data.resolution_m
    known = [channel.ground_sampling_m for channel in data.channels if channel.ground_sampling_m]
    if stated is None and not known:
        raise ConfigurationError(
            f"The ground sampling of {data.info.name} is not known, so that no scene would fit its model; "
            "give it: --data-option resolution_m=METRES."
        )
    return float(stated if stated is not None else min(known))


def describe_split(parts: NDArray[np.int8], data: DataSet, protocol: BenchProtocol, seed: int) -> dict[str, Any]:
    """Return what the card says of a split."""
    return {
        "kind": protocol.split,
        "train_share": protocol.train_share if protocol.split != "official" else None,
        "official": protocol.official or None,
        "seed": seed,
        "images": {part.name.lower(): int((parts == part).sum()) for part in Part if part is not Part.NONE},
        "places": len(np.unique(data.group)),
    }
