"""Images with one answer each: what a source of them is, and the source that is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.contract import IGNORE, Sample, digest_of
from ecumene.scenes.contract import Channel

Answers = NDArray[np.int64] | NDArray[np.float32]


@runtime_checkable
class SceneSamples(Protocol):
    """Images with one answer each, wherever their pixels are; `read` may be called from several threads."""

    @property
    def label(self) -> Answers:
        """As in `SceneSet`."""

    @property
    def group(self) -> NDArray[np.int32]:
        """As in `SceneSet`."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the images."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image."""

    @property
    def mask(self) -> Answers:
        """The answers under the name that labels of pixels have."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return the images with these numbers, in this order."""

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSamples:
        """Return the source of the images with these numbers, in this order."""

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the images of each class."""

    def digest(self) -> bytes:
        """Return what changes whenever images, labels or their order do."""


def count_classes(label: Answers, n_classes: int) -> NDArray[np.int64]:
    """Return the images of each class, or those with each of several labels.

    Raises:
        LabelError: If the labels are numbers.
    """
    if label.dtype.kind == "f":
        raise LabelError("Numeric targets have no classes to count.")
    if label.ndim == 2:
        return np.asarray((label == 1).sum(axis=0), np.int64)
    return np.bincount(np.asarray(label[label != IGNORE], np.int64), minlength=n_classes).astype(np.int64)


@dataclass(frozen=True)
class SceneSet:
    """Images of one shape with a class, several labels or a number each.

    Attributes:
        image: float32 `[N, C, P, P]` in physical units, NaN for no data.
        label: int64 `[N]` class index, -1 unlabelled; int64 `[N, K]` of 0, 1 and -1 for several labels; or
            float32 `[N]` with NaN for regression.
        group: int32 `[N]`: place of an image; images of one group are not independent.
        channels: The image's channels.
    """

    image: NDArray[np.float32]
    label: Answers
    group: NDArray[np.int32]
    channels: tuple[Channel, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.image) == len(self.label) == len(self.group):
            raise LabelError("Images, labels and groups of a set differ in number.")

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample; its arrays are views."""
        image = self.image[index]
        label = self.label[index] if self.label.ndim > 1 else self.label[index].item()
        return Sample(image=image, label=label, valid=np.isfinite(image).all(axis=0))

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Bool `[N]`: images with a label (with any, where there are several)."""
        if self.label.dtype.kind == "f":
            return np.asarray(np.isfinite(self.label))
        known: NDArray[np.bool_] = np.asarray(self.label != IGNORE)
        return known if known.ndim == 1 else np.asarray(known.any(axis=1))

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return the images with these numbers, in this order."""
        chosen = np.asarray(indices, dtype=np.intp)
        return SceneSet(self.image[chosen], self.label[chosen], self.group[chosen], self.channels)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return the images with these numbers, in this order; as `take`."""
        return self.take(indices)

    @property
    def mask(self) -> Answers:
        """The answers under the name that labels of pixels have."""
        return self.label

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image."""
        channels, rows, columns = self.image.shape[1:]
        return int(channels), int(rows), int(columns)

    @property
    def n_channels(self) -> int:
        """Channels of the images."""
        return int(self.image.shape[1])

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the images of each class, `[n_classes]`; of several labels, the images that have each.

        Raises:
            LabelError: If the labels are numbers.
        """
        return count_classes(self.label, n_classes)

    def digest(self) -> bytes:
        """Return a SHA-256 of images and labels."""
        return digest_of(self.image, self.label)
