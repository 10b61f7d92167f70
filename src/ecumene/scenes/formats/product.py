"""What product metadata say, in a form that no longer depends on the agency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecumene.scenes.contract import MaskSource
from ecumene.scenes.formats.raster import RasterInfo


@dataclass(frozen=True)
class Calibration:
    """physical = stored * scale + offset; with k1 and k2 that is a radiance, and the unit is kelvin."""

    scale: float
    offset: float
    k1: float | None = None
    k2: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One band of one file that may belong to the scene.

    Attributes:
        info: The file.
        index: Number of the band in the file, from 1.
        name: The sensor's name of the band, where product metadata or a declaration says it.
        text: What the file or its name says about the band.
    """

    info: RasterInfo
    index: int
    name: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Product:
    """Facts from a product's metadata file (Sentinel-2 MTD, Landsat MTL)."""

    sensor: str
    level: str
    id: str
    time: np.datetime64 | None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    mask: MaskSource | None = None
    files: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
