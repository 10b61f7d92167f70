"""Made-up cities in the compact layout of OSCD."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

from ecumene.samples.datasets.oscd import BANDS


def write_raster(path, values):
    """Write a band as GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs="EPSG:4326", transform=from_origin(2.3, 48.8, 1e-4, 1e-4),
    ) as file:  # fmt: skip
        file.write(values, 1)


def write_city(folder, name, *, seed, side):
    """Write two dates with squares that have become bright, and the map of them."""
    rng = np.random.default_rng(seed)
    changed = np.zeros((side, side), bool)
    for row, col in rng.integers(0, side - 8, (12, 2)):
        changed[row : row + 8, col : col + 8] = True
    for date in (1, 2):
        for band in BANDS:
            values = rng.normal(1000, 80, (side, side)) + (900 * changed if date == 2 else 0)
            write_raster(folder / name / f"imgs_{date}" / f"{band}.tif", values.round().astype(np.uint16))
    (folder / name / "dates.txt").write_text("date_1: 20160102\ndate_2: 20170203\n")
    write_raster(folder / name / "cm.tif", np.where(changed, 2, 1).astype(np.uint8))
