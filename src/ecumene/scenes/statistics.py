"""What a scene holds at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes.calibration import calibrate, thermal_constants
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import BandSource, SceneSource
from ecumene.scenes.grid import ground_sampling_m, window_geobox
from ecumene.scenes.handles import with_raster
from ecumene.scenes.masks import clear_sky, with_rule_mask


@dataclass(frozen=True)
class BandStatistics:
    """Smallest, mean and largest physical value of a band; NaN if it has none."""

    unit: str
    minimum: float
    mean: float
    maximum: float


@dataclass(frozen=True)
class SceneStatistics:
    """A scene at a glance, estimated on at most `max_size` x `max_size` sampled pixels.

    Attributes:
        valid_fraction: Share of pixels where every band has data, 0..1.
        cloud_fraction: Share of those that the mask calls cloud, shadow or defect; None if there is no mask.
        cloud_mask: Kind of mask that `cloud_fraction` is from (`scl`, `landsat_qa`, `binary`, `rule`), or None.
        bands: By band name.
    """

    valid_fraction: float
    cloud_fraction: float | None
    cloud_mask: str | None
    bands: Mapping[str, BandStatistics]


def scene_statistics(source: SceneSource, max_size: int = 512) -> SceneStatistics:
    """Estimate the valid share, the cloud share and the range of every band from a decimated read.

    Pixels are sampled (nearest neighbour, from overviews where there are some), not averaged, so that
    gaps and extremes are seen as they are. Each band is sampled over its own extent. A scene in
    reflectance without a mask of its own is judged by the rule of `cloud_rule`.

    Args:
        source: The scene.
        max_size: Rows and columns sampled at most.

    Returns:
        The estimates.

    Raises:
        SceneError: If a file is gone or damaged.
    """
    height, width = (int(size) for size in source.geobox.shape)
    rows, columns = min(height, max_size), min(width, max_size)
    samples = {band.name: _decimated(source, band, rows, columns) for band in source.bands}
    valid = np.ones((rows, columns), bool)
    bands = {}
    for band in source.bands:
        finite = np.isfinite(samples[band.name])
        valid &= finite
        values = samples[band.name][finite].astype(np.float64)
        low, mean, high = (values.min(), values.mean(), values.max()) if values.size else (np.nan,) * 3
        bands[band.name] = BandStatistics(band.unit, float(low), float(mean), float(high))
    kind, clear = _decimated_clear(source, samples, (rows, columns))
    fraction = None
    if clear is not None and valid.any():
        fraction = float((~clear)[valid].mean())
    return SceneStatistics(float(valid.mean()), fraction, kind, bands)


def _decimated(source: SceneSource, band: BandSource, rows: int, columns: int) -> NDArray[np.float32]:
    """Sample one band over its whole extent to `[rows, columns]` physical values."""
    raw = with_raster(band.href, lambda dataset: dataset.read(band.index, out_shape=(rows, columns)))
    out = np.empty((rows, columns), np.float32)
    calibrate(raw, band, out, thermal_constants(source, band.name))
    return out


def _decimated_clear(
    source: SceneSource, samples: Mapping[str, NDArray[np.float32]], shape: tuple[int, int]
) -> tuple[str | None, NDArray[np.bool_] | None]:
    """Return (kind of mask, clear) on the decimated grid; the mask is sampled strip by strip."""
    from ecumene.scenes.cloud_rule import NEEDED, USED, bad_by_rule

    masked = with_rule_mask(source)
    if masked.mask is None:
        return None, None
    grid = _decimated_grid(source.geobox, shape)
    if masked.mask.kind == "rule":
        found = common_bands(source.sensor, source.band_names)
        if any(name not in found for name in NEEDED):
            return None, None
        units = {band.name: band.unit for band in source.bands}
        names = [n for n in (*NEEDED, *USED) if n in found and (n != "lwir11" or units[found[n]] == "K")]
        return "rule", ~bad_by_rule({name: samples[found[name]] for name in names}, ground_sampling_m(grid))
    clear = np.empty(shape, bool)
    for row in range(0, shape[0], 32):
        strip = Window(row, 0, min(32, shape[0] - row), shape[1])
        clear[strip.slices] = clear_sky(masked, window_geobox(grid, strip))
    return masked.mask.kind, clear


def _decimated_grid(geobox: GeoBox, shape: tuple[int, int]) -> GeoBox:
    """Return the grid of `shape` with the extent of `geobox`."""
    from affine import Affine

    height, width = geobox.shape
    return GeoBox(shape, geobox.affine * Affine.scale(width / shape[1], height / shape[0]), geobox.crs)
