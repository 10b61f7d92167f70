"""The real pairs of change detection: two Landsat scenes with labelled pixels, four SAR pairs with reference maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from common import data_root, data_set
from ecumene.change.contract import ImagePair

LANDSAT = {"taizhou": ("t2000", "t2003"), "nanjing": ("t2000", "t2002")}
LANDSAT_BANDS = ("B1", "B2", "B3", "B4", "B5", "B7")
SAR = ("ottawa", "farmland", "bern", "san_francisco")


@dataclass(frozen=True)
class ReferencePair:
    """A pair with its reference.

    Attributes:
        name: Of the pair.
        before: First date `[bands, rows, cols]`, as delivered.
        after: Second date.
        bands: Names of the bands.
        changed: Reference, `[rows, cols]`.
        labelled: Pixels that the reference speaks of.
        description: Name and checksum for the results.
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    bands: tuple[str, ...]
    changed: np.ndarray
    labelled: np.ndarray
    description: dict[str, str]

    def pair(self, block: int = 1024) -> ImagePair:
        """Return what a method takes."""
        return ImagePair.from_arrays(self.before, self.after, bands=self.bands, block=block)


def _picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def landsat(name: str) -> ReferencePair:
    """Read Taizhou or Nanjing: digital numbers of six bands, some pixels labelled changed or unchanged."""
    folder = data_root() / "landsat_cd" / name
    files = [folder / f"{date}.tif" for date in LANDSAT[name]]
    images = []
    for file in files:
        with rasterio.open(file) as source:
            images.append(source.read().astype(np.float64))
    changed, unchanged = _picture(folder / "change.png") > 0, _picture(folder / "unchanged.png") > 0
    files += [folder / "change.png", folder / "unchanged.png"]
    return ReferencePair(
        name, images[0], images[1], LANDSAT_BANDS, changed, changed | unchanged, data_set(f"landsat_cd/{name}", files)
    )


def sar(name: str) -> ReferencePair:
    """Read a SAR pair: 8-bit values that are taken as intensity, all pixels in the reference map."""
    folder = data_root() / "sar_cd"
    files = [folder / f"{name}_{part}.png" for part in ("1", "2", "gt")]
    before, after, truth = (_picture(file) for file in files)
    changed = truth > 0
    return ReferencePair(
        name,
        before[None].astype(np.float64),
        after[None].astype(np.float64),
        ("intensity",),
        changed,
        np.ones_like(changed),
        data_set(f"sar_cd/{name}", files),
    )
