"""Published data sets of change: places with two dates each and a map of what changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.legends import Legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets import class_of_kind
from ecumene.samples.datasets.contract import DataSetInfo
from ecumene.scenes.contract import Channel


@dataclass(frozen=True)
class LabelledPair:
    """One place on two dates.

    Attributes:
        name: Of the place.
        image: float32 `[2, C, H, W]`, earlier date first, physical units; NaN on both where one has no data.
        mask: int64 `[H, W]` class index, -1 unlabelled.
        dates: int64 `[2]`, days since 1970-01-01.
    """

    name: str
    image: NDArray[np.float32]
    mask: NDArray[np.int64]
    dates: NDArray[np.int64]


class PairDataSet(ABC):
    """Places with two dates each, in their official files.

    Attributes:
        info: What is known without the files; its size counts places.
        folder: Where the files are.
        legend: The classes.
        channels: What the images hold, in order.
        resolution_m: Metres a pixel.
        names: The places that the folder holds with labels, sorted.
    """

    info: ClassVar[DataSetInfo]
    folder: Path
    legend: Legend
    channels: tuple[Channel, ...]
    resolution_m: float
    names: tuple[str, ...]

    @classmethod
    @abstractmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with the official files; reads names only, no pixels.

        Raises:
            EcumeneError: In one sentence, if files are missing or an option is wrong.
        """

    @abstractmethod
    def read(self, name: str) -> LabelledPair:
        """Return a place.

        Raises:
            EcumeneError: In one sentence, if its files are missing, damaged or do not fit together.
        """

    @property
    @abstractmethod
    def official(self) -> Mapping[str, Part]:
        """Official part (`TRAIN` or `TEST`) of each place that is there; empty where there is no official split."""


def pair_set_class(name: str) -> type[PairDataSet]:
    """Return the class of a data set of pairs.

    Raises:
        ConfigurationError: If there is none of that name, or it holds something else.
    """
    otherwise = "does not hold places on two dates; choose another, such as oscd"
    return class_of_kind(name, PairDataSet, otherwise)  # type: ignore[type-abstract]  # asked for, not made


def open_pair_set(name: str, folder: str | Path, **options: Any) -> PairDataSet:
    """Open a data set of pairs by name.

    Raises:
        EcumeneError: If the name is unknown, or the files are missing or wrong.
    """
    return pair_set_class(name).open(folder, **options)
