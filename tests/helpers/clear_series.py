"""Small clouded series on disk, each date a folder with image, mask and `scene.yaml`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine

from ecumene.restoration.contract import FILLED, OBSERVED
from ecumene.simulate.noise import fractal_field

BANDS = ("B02", "B03", "B04", "B08")
SIZE = 80
TRANSFORM = Affine(10, 0, 600000, 0, -10, 5000000)


def ground(seed=0, size=SIZE):
    """A landscape of four bands, reflectance."""
    field = fractal_field(np.random.default_rng(seed), (size, size), longest=25.0, exponent=3.0)
    return np.clip(
        np.stack([0.06 + 0.01 * field, 0.08 + 0.02 * field, 0.09 - 0.02 * field, 0.28 + 0.06 * field]), 0.01, 0.9
    )


def season(day, size=SIZE, seed=0):
    """The landscape on a day of the year, with noise."""
    rng = np.random.default_rng([seed, day])
    bright = 1.0 + 0.1 * np.sin(2 * np.pi * day / 365.0)
    return ground(seed, size) * bright + 0.003 * rng.normal(size=(4, size, size))


def write_raster(path, values, transform=TRANSFORM, crs="EPSG:32633", nodata=None):
    """Write `[bands, H, W]`."""
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype.name,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)


def write_date(folder: Path, day: int, clouds=None, *, level="L2A", size=SIZE, bands=BANDS, dated=True) -> Path:
    """Write a date with clouds (bool `[H, W]`) that shine and are masked; return its folder."""
    date = np.datetime64("2020-01-01") + day
    place = folder / str(date)
    place.mkdir(parents=True)
    image = season(day, size)
    clouds = np.zeros((size, size), bool) if clouds is None else clouds
    image[:, clouds] = 0.8
    write_raster(place / "image.tif", np.rint(image * 10000).astype(np.uint16), nodata=0)
    write_raster(place / "clouds.tif", clouds[None].astype(np.uint8))
    scene = {
        "sensor": "sentinel-2",
        "level": level,
        "offset": 0.0,
        "bands": list(bands),
        "files": ["image.tif"],
        "mask": {"file": "clouds.tif", "kind": "binary", "bad_values": [1]},
    }
    if dated:
        scene["time"] = f"{date}T10:00:00"
    (place / "scene.yaml").write_text(yaml.safe_dump(scene))
    return place


def write_radar(folder: Path, day: int, *, zero=False, size=SIZE, pixel=20.0) -> Path:
    """Write radar in dB that goes with the landscape, on a coarser grid; return its folder."""
    place = folder / f"radar-{day}"
    place.mkdir(parents=True)
    date = np.datetime64("2020-01-01") + day
    coarse = ground(size=size)[3].reshape(size // 2, 2, size // 2, 2).mean(axis=(1, 3))
    db = np.stack([-20.0 + 40.0 * coarse, -27.0 + 40.0 * coarse]).astype(np.float32)
    transform = Affine(pixel, 0, 600000, 0, -pixel, 5000000)
    write_raster(place / "image.tif", np.zeros_like(db) if zero else db, transform)
    scene = {
        "sensor": "sentinel-1",
        "level": "GRD",
        "bands": ["VV", "VH"],
        "files": ["image.tif"],
        "time": f"{date}T17:00:00",
    }
    (place / "scene.yaml").write_text(yaml.safe_dump(scene))
    return place


def disc(row, col, radius, size=SIZE):
    """A round cloud."""
    rows, cols = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (cols - col) ** 2 < radius**2


def read(product, layer):
    """Read all bands of a layer."""
    with rasterio.open(product.layers[layer].path) as raster:
        return raster.read()


def errors_of_filled(product, truth, cloud):
    """Check that clouds alone were filled; return errors under them, `[bands, N]`, and the error bars everywhere."""
    value, state, spread = (read(product, name) for name in ("reflectance", "state", "uncertainty"))
    assert np.array_equal(state[0] == FILLED, cloud)
    assert np.array_equal(state[0] == OBSERVED, ~cloud)
    np.testing.assert_allclose(value[:, ~cloud], np.rint(truth * 10000)[:, ~cloud] / 10000, atol=1e-6)
    return value[:, cloud] - truth[:, cloud], spread
