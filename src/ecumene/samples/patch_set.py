"""Training data in memory: image patches or single pixels with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.samples.contract import IGNORE, Sample, digest_of
from ecumene.scenes.contract import Channel


@dataclass(frozen=True)
class PatchSet:
    """Patches of one shape.

    Attributes:
        image: float32 `[N, C, P, P]`, or `[N, T, C, P, P]` for series; physical units, NaN for no data.
        mask: int64 `[N, P, P]` class index, -1 unlabelled; or float32 with NaN for regression.
        valid: bool `[N, P, P]` (`[N, T, P, P]`): all channels finite.
        dates: int64 `[N, T]`, days since 1970-01-01 (0 where a frame has no date; T = 1 for images).
        group: int32 `[N, P, P]`: block or feature of a labelled pixel, -1 elsewhere; pixels of one
            group are not independent.
        channels: The image's channels.
        windows: Where each patch was cut from.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.int64] | NDArray[np.float32]
    valid: NDArray[np.bool_]
    dates: NDArray[np.int64]
    group: NDArray[np.int32]
    channels: tuple[Channel, ...] = ()
    windows: tuple[Window, ...] = ()

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample; its arrays are views."""
        return Sample(image=self.image[index], mask=self.mask[index], valid=self.valid[index], dates=self.dates[index])

    @property
    def temporal(self) -> bool:
        """Whether the images are series."""
        return self.image.ndim == 5

    @property
    def n_channels(self) -> int:
        """Channels of the image."""
        return int(self.image.shape[-3])

    @property
    def n_dates(self) -> int:
        """Frames of a series; 1 for images."""
        return int(self.dates.shape[1])

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Bool `[N, P, P]`: pixels with a label."""
        return np.isfinite(self.mask) if self.mask.dtype.kind == "f" else self.mask != IGNORE

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the labelled pixels of each class.

        Args:
            n_classes: Length of the result.
        """
        if self.mask.dtype.kind == "f":
            raise LabelError("Numeric targets have no classes to count.")
        counts: NDArray[np.int64] = np.bincount(
            np.asarray(self.mask, dtype=np.int64)[self.labelled], minlength=n_classes
        )
        return counts

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> PatchSet:
        """Return the patches with these numbers, in this order."""
        chosen = np.asarray(indices, dtype=np.intp)
        windows = tuple(self.windows[i] for i in chosen) if self.windows else ()
        return PatchSet(
            self.image[chosen],
            self.mask[chosen],
            self.valid[chosen],
            self.dates[chosen],
            self.group[chosen],
            self.channels,
            windows,
        )

    def digest(self) -> bytes:
        """Return a SHA-256 of images and labels."""
        return digest_of(self.image, self.mask)

    @staticmethod
    def concatenate(sets: Sequence[PatchSet]) -> PatchSet:
        """Join sets of the same shape; their groups stay apart.

        Raises:
            LabelError: If there is none, or shapes, channels or kinds of label differ.
        """
        if not sets:
            raise LabelError("There are no patches to join.")
        first = sets[0]
        for other in sets[1:]:
            same = other.image.shape[1:] == first.image.shape[1:] and other.mask.dtype == first.mask.dtype
            if not same or [c.key for c in other.channels] != [c.key for c in first.channels]:
                raise LabelError(
                    "Patches of different shape, channels, number of dates or kind of label cannot be joined."
                )
        groups, start = [], 0
        for item in sets:
            groups.append(np.where(item.group >= 0, item.group + start, np.int32(-1)).astype(np.int32))
            start += int(item.group.max(initial=-1)) + 1
        return PatchSet(
            np.concatenate([item.image for item in sets]),
            np.concatenate([item.mask for item in sets]),
            np.concatenate([item.valid for item in sets]),
            np.concatenate([item.dates for item in sets]),
            np.concatenate(groups),
            first.channels,
            tuple(window for item in sets for window in item.windows),
        )
