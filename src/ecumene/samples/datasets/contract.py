"""What a published data set of images is: official files in, samples out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.legends import Legend
from ecumene.samples.scene_set import SceneSet
from ecumene.scenes.contract import Channel

Task = Literal["scene-classification", "multi-label", "regression", "segmentation", "restoration", "change"]


@dataclass(frozen=True)
class DataSetInfo:
    """What is known of a data set before its files are opened.

    Attributes:
        name: Name in the registry.
        title: One line for people.
        task: Kind of answer.
        paper: Where it was published.
        licence: Of the files, as their publisher says; empty where it is not known.
        size: Images, as published.
        layout: What must lie in the folder, one line for people.
    """

    name: str
    title: str
    task: Task
    paper: str
    licence: str
    size: int
    layout: str


class DataSet(ABC):
    """A published data set in its official files.

    Opening reads names, labels and shapes, never pixels, so that it is quick whatever the size; `read` reads pixels
    and may be called from several threads at once. Samples have a fixed order, the same on every machine.

    Attributes:
        info: What is known without the files.
        folder: Where the files are.
        legend: The classes or labels.
        channels: What the images hold, in order, with unit in their sensor's terms.
        patch_size: Rows and columns of an image.
        label: int64 `[N]` class index, or int64 `[N, K]` of 0, 1 and -1; as in `SceneSet`.
        group: int32 `[N]`: place of an image; images of one group must stay in one part of a split.
        ids: Name of each sample, as the official split files spell it.
        resolution_m: Metres a pixel of the images; None: the finest ground sampling of the channels.
        options: With which it was opened.
    """

    info: ClassVar[DataSetInfo]
    folder: Path
    legend: Legend
    channels: tuple[Channel, ...]
    patch_size: int
    label: NDArray[np.int64]
    group: NDArray[np.int32]
    ids: Sequence[str]
    resolution_m: float | None = None
    options: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    @abstractmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder (or archive) with the official files.

        Args:
            folder: Where the files are.
            **options: The data set's own: bands, variant, kind of label.

        Raises:
            EcumeneError: In one sentence, if files are missing, cut short, or of another layout.
        """

    @abstractmethod
    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return images and labels of these samples, in this order, in physical units.

        Raises:
            EcumeneError: If a file cannot be read.
        """

    @abstractmethod
    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return the official splits: name -> `samples.contract.Part` of each sample (empty where there is none)."""

    def __len__(self) -> int:
        return len(self.label)
