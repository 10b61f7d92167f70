"""Images with one answer each, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.contract import IGNORE, Sample
from ecumene.scenes.contract import Channel


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
    label: NDArray[np.int64] | NDArray[np.float32]
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
            return np.isfinite(self.label)
        known = self.label != IGNORE
        return known if known.ndim == 1 else known.any(axis=1)

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return the images with these numbers, in this order."""
        chosen = np.asarray(indices, dtype=np.intp)
        return SceneSet(self.image[chosen], self.label[chosen], self.group[chosen], self.channels)
