"""A small task that networks learn in seconds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ecumene.legends import Legend
from ecumene.models.contract import InputBand
from ecumene.objectives import Segmentation
from ecumene.samples.patches import PatchSet, channel_statistics
from ecumene.scenes.contract import Channel
from ecumene.training.provenance import make_inputs

LEGEND = Legend.from_names(["water", "forest", "built"])
CHANNELS = tuple(
    Channel("sentinel-2", "L2A", band, "1", wave, 10.0)
    for band, wave in [("B03", 0.56), ("B04", 0.665), ("B08", 0.842)]
)


def make_patches(n: int = 24, side: int = 16, dates: int | None = None, seed: int = 0) -> PatchSet:
    generator = np.random.default_rng(seed)
    mask = generator.choice(3, (n, side // 8, side // 8), p=[0.6, 0.3, 0.1]).repeat(8, 1).repeat(8, 2)
    spectra = np.array([[0.05, 0.03, 0.01], [0.05, 0.04, 0.30], [0.15, 0.17, 0.20]])
    clean = np.moveaxis(spectra[mask], -1, 1)
    clean = clean if dates is None else np.repeat(clean[:, None], dates, axis=1)
    image = (clean + 0.06 * generator.standard_normal(clean.shape)).astype(np.float32)
    image[..., :2, :2] = np.nan
    labels = mask.astype(np.int64)
    labels[:, -3:] = -1
    days = np.tile(np.arange(dates or 1) * 30 + 16_600, (n, 1)).astype(np.int64)
    group = np.where(labels >= 0, 0, -1).astype(np.int32)
    return PatchSet(image, labels, np.isfinite(image).all(axis=-3), days, group, CHANNELS)


@pytest.fixture
def patches() -> Callable[..., PatchSet]:
    return make_patches


@pytest.fixture
def inputs() -> tuple[InputBand, ...]:
    return make_inputs(CHANNELS, channel_statistics(make_patches()))


@pytest.fixture
def objective() -> Segmentation:
    return Segmentation(LEGEND)
