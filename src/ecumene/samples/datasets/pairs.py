"""Published data sets of change: places with two dates each and a map of what changed.

Adding one is adding a module here that defines a `PairDataSet`, and its line below.
"""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.samples.contract import Part
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


_PAIR_SETS: dict[str, tuple[str, str]] = {
    # name: (module, class)
    "oscd": ("oscd", "Oscd"),
}


def pair_set_class(name: str) -> type[PairDataSet]:
    """Return the class of a data set of pairs.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in _PAIR_SETS:
        near = difflib.get_close_matches(name, _PAIR_SETS, n=3) or sorted(_PAIR_SETS)
        raise ConfigurationError(f"There is no data set of pairs {name!r}; did you mean {', '.join(near)}?")
    module, class_name = _PAIR_SETS[name]
    loaded: type[PairDataSet] = getattr(importlib.import_module(f"ecumene.samples.datasets.{module}"), class_name)
    return loaded


def list_pair_sets() -> tuple[DataSetInfo, ...]:
    """Return what is known of every data set of pairs."""
    return tuple(pair_set_class(name).info for name in _PAIR_SETS)


def open_pair_set(name: str, folder: str | Path, **options: Any) -> PairDataSet:
    """Open a data set of pairs by name.

    Raises:
        EcumeneError: If the name is unknown, or the files are missing or wrong.
    """
    return pair_set_class(name).open(folder, **options)
