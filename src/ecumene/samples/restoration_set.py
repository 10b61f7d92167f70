"""Cloudy images with their clear counterpart: what a source of them is, and the source that is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.contract import digest_of
from ecumene.scenes.contract import Channel


@runtime_checkable
class RestorationSamples(Protocol):
    """Cloudy images with a clear counterpart, wherever their pixels are; `read` may be called from several threads."""

    @property
    def group(self) -> NDArray[np.int32]:
        """As in `RestorationSet`."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the images, the restored bands first."""

    @property
    def crop(self) -> int | None:
        """As in `RestorationSet`."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return the samples with these numbers, in this order."""

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSamples:
        """Return the source of the samples with these numbers, in this order."""

    def digest(self) -> bytes:
        """Return what changes whenever samples or their order do."""


@dataclass(frozen=True)
class RestorationSet:
    """Cloudy images, or series of them, of one shape with a clear image each.

    Attributes:
        image: float32 `[N, C, P, P]`, or `[N, T, C, P, P]` for series; physical units, NaN for no data. Clouds are in
            it as measured. The first K channels are the bands that are restored.
        target: float32 `[N, K, P, P]`: the same bands without clouds, NaN where they are not known.
        cloudy: bool `[N, P, P]`: pixels that no date of the image sees without cloud or shadow.
        dates: int64 `[N, T]`, days since 1970-01-01 (T = 1 for images).
        group: int32 `[N]`: place; samples of one place are not independent.
        channels: The image's channels.
        crop: Side of the random window that training takes of a sample; None: all of it.
    """

    image: NDArray[np.float32]
    target: NDArray[np.float32]
    cloudy: NDArray[np.bool_]
    dates: NDArray[np.int64]
    group: NDArray[np.int32]
    channels: tuple[Channel, ...] = ()
    crop: int | None = None

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.image, self.target, self.cloudy, self.dates, self.group)}
        if len(lengths) != 1 or self.target.shape[1] > self.image.shape[-3]:
            raise LabelError("Images, targets, clouds, dates and places of a set of cloudy images do not fit together.")

    def __len__(self) -> int:
        return len(self.image)

    @property
    def temporal(self) -> bool:
        """Whether the images are series."""
        return self.image.ndim == 5

    @property
    def n_targets(self) -> int:
        """K, the bands that are restored."""
        return int(self.target.shape[1])

    @property
    def observed(self) -> NDArray[np.float32]:
        """The restored bands as observed, float32 `[N, K, P, P]`: of a series the median over the dates."""
        seen = self.image[..., : self.n_targets, :, :]
        return seen if not self.temporal else np.median(seen, axis=1).astype(np.float32)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Bool `[N, P, P]`: pixels that some date has in all channels."""
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(self.image).all(axis=-3))
        return np.asarray(finite.any(axis=1)) if self.temporal else finite

    def packed(self) -> NDArray[np.float32]:
        """Return what every objective of this task can learn from, float32 `[N, 2 K + 1, P, P]`.

        The clear bands, the bands as observed, and 1 where cloudy; see `objectives.restoration`. Most need the clear
        bands alone, which is `target`.
        """
        parts = (self.target, self.observed, self.cloudy[:, None].astype(np.float32))
        return np.concatenate(parts, axis=1)

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return the samples with these numbers, in this order."""
        chosen = np.asarray(indices, np.intp)
        return replace(
            self,
            image=self.image[chosen],
            target=self.target[chosen],
            cloudy=self.cloudy[chosen],
            dates=self.dates[chosen],
            group=self.group[chosen],
        )

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return the samples with these numbers, in this order; as `take`."""
        return self.take(indices)

    def digest(self) -> bytes:
        """Return a SHA-256 of images, targets and clouds."""
        return digest_of(self.image, self.target, self.cloudy, self.dates)

    @staticmethod
    def concatenate(sets: Sequence[RestorationSet]) -> RestorationSet:
        """Join sets of the same shape; places keep their numbers.

        Raises:
            LabelError: If there is none, or shapes or channels differ.
        """
        if not sets:
            raise LabelError("There are no cloudy images to join.")
        first = sets[0]
        for other in sets[1:]:
            same = other.image.shape[1:] == first.image.shape[1:] and other.target.shape[1:] == first.target.shape[1:]
            if not same or [c.key for c in other.channels] != [c.key for c in first.channels]:
                raise LabelError("Cloudy images of different shape, channels or number of dates cannot be joined.")
        return replace(
            first,
            image=np.concatenate([item.image for item in sets]),
            target=np.concatenate([item.target for item in sets]),
            cloudy=np.concatenate([item.cloudy for item in sets]),
            dates=np.concatenate([item.dates for item in sets]),
            group=np.concatenate([item.group for item in sets]),
        )
