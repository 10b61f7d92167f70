"""Real pairs with references: labelled Landsat pixels, SAR pairs; the setting is the same for all of a kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from ecumene.change.contract import ImagePair
from ecumene.change.methods import detect_change

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("ECUMENE_DATA"), reason="ECUMENE_DATA does not name the real data sets"),
]


def kappa(found: np.ndarray, truth: np.ndarray) -> float:
    right = (found == truth).mean()
    chance = found.mean() * truth.mean() + (1.0 - found.mean()) * (1.0 - truth.mean())
    return float((right - chance) / (1.0 - chance))


@pytest.mark.parametrize(("name", "dates", "method", "goal"), [
    ("taizhou", ("t2000", "t2003"), "irmad", 0.87),
    ("taizhou", ("t2000", "t2003"), "cva", 0.77),
    ("nanjing", ("t2000", "t2002"), "irmad", 0.67),
    ("nanjing", ("t2000", "t2002"), "cva", 0.57),
])  # fmt: skip
def test_labelled_landsat_pixels(name: str, dates: tuple[str, str], method: str, goal: float) -> None:
    folder = Path(os.environ["ECUMENE_DATA"]) / "landsat_cd" / name
    images = []
    for date in dates:
        with rasterio.open(folder / f"{date}.tif") as source:
            images.append(source.read().astype(float))
    changed, unchanged = (np.asarray(Image.open(folder / f"{part}.png")) > 0 for part in ("change", "unchanged"))
    result = detect_change(ImagePair.from_arrays(*images), method)
    labelled = changed | unchanged
    assert kappa(result.changed[labelled], changed[labelled]) > goal


@pytest.mark.parametrize(
    ("name", "goal"), [("ottawa", 0.93), ("farmland", 0.85), ("bern", 0.87), ("san_francisco", 0.92)]
)
def test_sar_pairs_with_one_setting(name: str, goal: float) -> None:
    folder = Path(os.environ["ECUMENE_DATA"]) / "sar_cd"
    before, after, truth = (
        np.asarray(Image.open(folder / f"{name}_{part}.png")).astype(float) for part in ("1", "2", "gt")
    )
    result = detect_change(ImagePair.from_arrays(before, after), "ratio-variation", floor=5.0)
    assert kappa(result.changed, truth > 0) >= goal
