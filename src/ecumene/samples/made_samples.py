"""Cloudy images that are made when they are read, so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecumene.samples.restoration_set import RestorationSet
from ecumene.scenes.contract import Channel


@dataclass(frozen=True)
class MadeSamples:
    """Samples by number; see `RestorationSamples`.

    Attributes:
        make: Returns the one sample of a number, always the same; may be called from several threads.
        numbers: int64 `[N]`.
        group: int32 `[N]`: place.
        channels: Of the images.
        key: What the samples depend on beside their numbers.
        crop: As in `RestorationSet`.
    """

    make: Callable[[int], RestorationSet]
    numbers: NDArray[np.int64]
    group: NDArray[np.int32]
    channels: tuple[Channel, ...]
    key: bytes
    crop: int | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return the samples with these places, in this order."""
        return RestorationSet.concatenate([self.make(int(number)) for number in self.numbers[np.asarray(indices)]])

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> MadeSamples:
        """Return the source of the samples with these places, in this order."""
        chosen = np.asarray(indices, np.intp)
        return replace(self, numbers=self.numbers[chosen], group=self.group[chosen])

    def digest(self) -> bytes:
        """Return what changes whenever samples or their order do."""
        return hashlib.sha256(self.key + np.ascontiguousarray(self.numbers).tobytes()).digest()
