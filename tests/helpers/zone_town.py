"""A small simulated place of five local climate zones: Sentinel-2 scene, zones and settlement extent as rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ZONES = (2, 6, 8, 11, 17)
"""Compact mid-rise, open low-rise, large low-rise, dense trees, water."""


@dataclass(frozen=True)
class ZoneTown:
    """Files of the place and its truth."""

    scene: Path
    zones: Path
    extent: Path
    truth: np.ndarray


def write_zone_town(
    folder: Path,
    *,
    blocks: int = 8,
    zone_px: int = 32,
    seed: int = 0,
    level: str = "L2A",
    east: float = 600_000.0,
    north: float = 5_300_000.0,
) -> ZoneTown:
    """Write a place of `blocks` x `blocks` zones; the extent is the share of ground that is built or paved."""
    from ecumene.legends.library import get_legend
    from ecumene.simulate.datasets.so2sat import USES
    from ecumene.simulate.land_use import Use
    from ecumene.simulate.landscape import Where, simulate_landscape
    from ecumene.simulate.optical import observe_sentinel2
    from ecumene.simulate.writing import write_raster, write_sentinel2

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.resize(ZONES, blocks * blocks)).reshape(blocks, blocks)
    uses = np.array([[USES[code - 1][0] for code in row] for row in codes])
    assert isinstance(uses[0, 0], Use | np.integer)
    town = simulate_landscape(seed, uses, zone_px, Where(32632, east, north))
    observed = observe_sentinel2(town, "2020-06-20", level=level, seed=seed)
    scene = write_sentinel2(observed, folder / "scene.tif")
    truth = codes.repeat(zone_px, 0).repeat(zone_px, 1).astype(np.uint8)
    zones = write_raster(folder / "zones.tif", truth, town.geobox, nodata=255, legend=get_legend("lcz"))
    shares = town.fractions()[:2].sum(axis=0).clip(0, 1).astype(np.float32)
    extent = write_raster(folder / "extent.tif", shares, town.geobox, nodata=float("nan"))
    return ZoneTown(scene, zones, extent, truth)
