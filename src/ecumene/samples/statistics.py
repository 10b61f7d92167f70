"""Statistics of the channels of training data, for normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.samples.patch_set import PatchSet
from ecumene.samples.scene_set import SceneSet


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of each channel over finite values; float64 `[C]`, NaN for a channel without data.

    Attributes:
        mean: Arithmetic mean, in the channel's unit.
        std: Population standard deviation.
        min: Smallest value.
        max: Largest value.
        low: 0.1 % quantile (of at most a million values).
        high: 99.9 % quantile (of at most a million values).
        count: int64 `[C]`, finite values.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]


def channel_statistics(patches: PatchSet | SceneSet, seed: int = 0) -> ChannelStatistics:
    """Return the statistics of each channel over all patches, dates and pixels, ignoring NaN.

    Args:
        patches: The data.
        seed: Chooses the values for the quantiles where there are more than a million.
    """
    rng = np.random.default_rng(seed)
    rows = []
    counts = []
    for channel in range(patches.n_channels):
        values = patches.image[..., channel, :, :]
        values = values[np.isfinite(values)].astype(np.float64)
        counts.append(values.size)
        if values.size == 0:
            rows.append(np.full(6, np.nan))
            continue
        drawn = values if values.size <= 1_000_000 else rng.choice(values, 1_000_000, replace=False)
        low, high = np.quantile(drawn, [0.001, 0.999])
        rows.append(np.array([values.mean(), values.std(), values.min(), values.max(), low, high]))
    mean, std, lowest, highest, low, high = np.stack(rows, axis=1)
    return ChannelStatistics(mean, std, lowest, highest, low, high, np.array(counts, dtype=np.int64))
