"""Windows drawn anew in every epoch from whole labelled regions, the rare class more often than its area says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.contract import IGNORE, Sample, digest_of
from ecumene.samples.importance import draw_window, summed
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.statistics import ChannelStatistics
from ecumene.scenes.contract import Channel

_QUANTILE_VALUES = 1_000_000


@dataclass(frozen=True)
class Region:
    """A place with its label, whole in memory.

    Attributes:
        name: Of the place.
        image: float32 `[T, C, H, W]`, physical units, NaN for no data.
        mask: int64 `[H, W]` class index, -1 unlabelled (or of another part of a split).
        dates: int64 `[T]`, days since 1970-01-01.
        group: int32 `[H, W]`: block of a labelled pixel; pixels of one block are not independent.
    """

    name: str
    image: NDArray[np.float32]
    mask: NDArray[np.int64]
    dates: NDArray[np.int64]
    group: NDArray[np.int32]


@dataclass(frozen=True)
class CropSamples:
    """Samples that are drawn when they are asked for: sample k of an epoch is a window of region k modulo regions.

    The rare class of `importance.draw_window` is the rarest of the regions.

    Attributes:
        regions: The places.
        channels: Channels of the images.
        size: Rows and columns of a window; a smaller region is surrounded by NaN.
        per_region: Windows of a region in an epoch.
        candidates: Windows to choose from.
        offset: See `importance.draw_window`.
    """

    regions: tuple[Region, ...]
    channels: tuple[Channel, ...]
    size: int
    per_region: int = 5
    candidates: int = 1
    offset: float = 5.0
    _sums: tuple[NDArray[np.int64], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.size, self.per_region, self.candidates) < 1 or self.offset <= 0:
            raise ConfigurationError("Crops need a positive size, number, number of candidates and offset.")
        if not self.regions or not any((region.mask != IGNORE).any() for region in self.regions):
            raise LabelError("No labelled pixel is left to learn from; give more regions or labels.")
        counts = self.class_counts(1 + max(int(region.mask.max()) for region in self.regions))
        rare = int(np.argmin(np.where(counts > 0, counts, counts.max() + 1)))
        object.__setattr__(self, "_sums", tuple(summed(region.mask == rare) for region in self.regions))

    def __len__(self) -> int:
        return self.per_region * len(self.regions)

    @property
    def n_channels(self) -> int:
        """Channels of the image."""
        return len(self.channels)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the labelled pixels of each class in all regions, `[n_classes]`."""
        known = [region.mask[region.mask != IGNORE] for region in self.regions]
        counts: NDArray[np.int64] = np.bincount(np.concatenate(known), minlength=n_classes).astype(np.int64)
        return counts

    def digest(self) -> bytes:
        """Return what changes whenever images, labels, their order or the way of drawing do."""
        drawing = np.array([self.size, self.per_region, self.candidates, self.offset])
        return digest_of(drawing, *(array for region in self.regions for array in (region.image, region.mask)))

    def draw(self, number: int, rng: np.random.Generator) -> Sample:
        """Return sample `number` of an epoch.

        Args:
            number: 0 .. length - 1.
            rng: Decides which window of the region it is.
        """
        position = number % len(self.regions)
        region = self.regions[position]
        top, left = draw_window(self._sums[position], (self.size, self.size), self.candidates, self.offset, rng)
        return cut(region, top, left, self.size)

    def statistics(self, seed: int = 0) -> ChannelStatistics:
        """Return the statistics of each channel over labelled pixels of all dates, ignoring NaN.

        Args:
            seed: Chooses the values for the quantiles where there are more than a million.
        """
        rng = np.random.default_rng(seed)
        found = []
        for channel in range(self.n_channels):
            parts = [region.image[:, channel][:, region.mask != IGNORE].ravel() for region in self.regions]
            values = np.concatenate(parts)
            values = values[np.isfinite(values)].astype(np.float64)
            if values.size == 0:
                found.append(np.full(7, np.nan))
                continue
            drawn = values if values.size <= _QUANTILE_VALUES else rng.choice(values, _QUANTILE_VALUES, replace=False)
            low, high = np.quantile(drawn, [0.001, 0.999])
            found.append(np.array([values.mean(), values.std(), values.min(), values.max(), low, high, values.size]))
        mean, std, lowest, highest, low, high, count = np.stack(found, axis=1)
        return ChannelStatistics(mean, std, lowest, highest, low, high, np.nan_to_num(count).astype(np.int64))


def cut(region: Region, row: int, col: int, size: int) -> Sample:
    """Return the window of a region that begins at a pixel, which may lie outside; NaN and -1 beyond the border."""
    image = np.full((*region.image.shape[:2], size, size), np.nan, np.float32)
    mask = np.full((size, size), IGNORE, np.int64)
    rows, here_rows = _overlap(row, size, region.mask.shape[0])
    cols, here_cols = _overlap(col, size, region.mask.shape[1])
    image[..., here_rows, here_cols] = region.image[..., rows, cols]
    mask[here_rows, here_cols] = region.mask[rows, cols]
    return Sample(image=image, mask=mask, valid=np.asarray(np.isfinite(image).all(axis=1)), dates=region.dates)


def region_patches(regions: Sequence[Region], channels: tuple[Channel, ...], size: int, margin: int = 0) -> PatchSet:
    """Return windows that hold all valid labels of regions, each label once.

    Args:
        regions: The places; all with as many dates.
        channels: Of the images.
        size: Rows and columns of the part of a window that has labels.
        margin: Pixels around it without labels, for what a network sees beyond.
    """
    samples, groups = [], []
    for region in regions:
        for row in range(0, region.mask.shape[0], size):
            for col in range(0, region.mask.shape[1], size):
                core = region.mask[row : row + size, col : col + size]
                if not (core != IGNORE).any():
                    continue
                sample = cut(region, row - margin, col - margin, size + 2 * margin)
                inside = (slice(margin, margin + core.shape[0]), slice(margin, margin + core.shape[1]))
                mask = np.full_like(sample["mask"], IGNORE)
                mask[inside] = core
                if not ((mask != IGNORE) & sample["valid"].all(axis=0)).any():
                    continue
                group = np.full(mask.shape, -1, np.int32)
                group[inside] = region.group[row : row + size, col : col + size]
                samples.append(Sample(image=sample["image"], mask=mask, valid=sample["valid"], dates=region.dates))
                groups.append(group)
    side = size + 2 * margin
    frames = regions[0].image.shape[0] if regions else 2
    if not samples:
        flat = np.empty((0, side, side), np.int32)
        none = np.empty((0, frames, len(channels), side, side), np.float32)
        days = np.empty((0, frames), np.int64)
        return PatchSet(none, flat.astype(np.int64), np.empty(none[:, :, 0].shape, bool), days, flat, channels)
    return PatchSet(
        np.stack([sample["image"] for sample in samples]),
        np.stack([sample["mask"] for sample in samples]).astype(np.int64),
        np.stack([sample["valid"] for sample in samples]),
        np.stack([sample["dates"] for sample in samples]),
        np.stack(groups),
        channels,
    )


def _overlap(start: int, size: int, length: int) -> tuple[slice, slice]:
    """Return where a window meets a side of some length: on the side, and in the window."""
    first, last = max(0, start), max(0, min(start + size, length))
    return slice(first, last), slice(first - start, last - start)
