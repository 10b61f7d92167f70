"""Small scenes and maps with known changes, as files."""

import numpy as np
import rasterio
from affine import Affine

from ecumene.legends import Legend
from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.streamed_product import StreamedProduct, write_streamed_product

SHAPE = (72, 80)
BANDS = ("B2", "B3", "B4", "B5", "B6", "B7")
DECLARED = {"sensor": "landsat-8", "level": "DN", "bands": list(BANDS)}
LEGEND = Legend.from_names(["water", "forest", "built-up"], name="three")


def write(path, values, nodata=None, shift=(0, 0)):
    """Write `[b, h, w]` as GeoTIFF on a 10 m grid."""
    affine = Affine(10, 0, 500_000 + 10 * shift[1], 0, -10, 5_200_000 - 10 * shift[0])
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[2], height=values.shape[1], count=len(values),
        dtype=values.dtype, crs="EPSG:32633", transform=affine, nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values)
    return path


def changed():
    """Where the scenes of `optical_pair` differ."""
    where = np.zeros(SHAPE, bool)
    where[10:26, 12:30] = True
    where[50:60, 55:75] = True
    return where


def optical_pair(folder, seed=0):
    """Two optical scenes; the second is also brighter everywhere by a linear function of each band."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(size=(4, *SHAPE)) * 200.0
    mixing = rng.uniform(0.2, 1.0, (len(BANDS), 4))
    first = 2000.0 + np.tensordot(mixing, ground, 1)
    second = first.copy()
    second[:, changed()] = 2000.0 + np.tensordot(mixing[:, ::-1], rng.normal(size=(4, changed().sum())) * 200.0, 1)
    second[:3, changed()] += 1500.0
    gain = rng.uniform(0.8, 1.3, len(BANDS))[:, None, None]
    noise = rng.normal(size=(2, len(BANDS), *SHAPE)) * 15.0
    one, two = first + noise[0], (second + noise[1]) * gain + 120.0
    return write(folder / "before.tif", one.astype(np.float32)), write(folder / "after.tif", two.astype(np.float32))


def radar_pair(folder, decibels=True):
    """Two radar scenes of four looks, ten times brighter where changed."""
    rng = np.random.default_rng(3)
    mean = np.where(changed(), 10.0, 1.0)
    first, second = rng.gamma(4, 0.25, SHAPE), mean * rng.gamma(4, 0.25, SHAPE)
    paths = []
    for name, image in (("r1.tif", first), ("r2.tif", second)):
        stored = 10.0 * np.log10(image) if decibels else image
        paths.append(write(folder / name, stored[None].astype(np.float32)))
    return paths


def map_product(folder, codes, chances=None, *, time=None, legend=LEGEND, valid=None, unit=None, bars=None, shift=0):
    """Write a map of classes (codes `[h, w]`, chances `[K, h, w]`), or of numbers where a unit is given."""
    from odc.geo.geobox import GeoBox

    folder.mkdir(parents=True)
    known = np.ones(codes.shape, bool) if valid is None else valid
    layers, values = [], {"valid": known[None]}
    if unit is None:
        layers.append(LayerSpec("value", "uint8", 255, categorical=True, role="value", band_names=("class",)))
    else:
        layers.append(LayerSpec("value", "float32", float("nan"), unit, role="value", band_names=("number",)))
    values["value"] = codes[None]
    if chances is not None:
        scale = 1 / 60_000
        layers.append(LayerSpec("probability", "uint16", 65535, scale=scale, role="probability",
                                band_names=legend.names))  # fmt: skip
        values["probability"] = chances
    if bars is not None:
        layers.append(LayerSpec("uncertainty", "float32", float("nan"), unit, role="uncertainty", band_names=("s",),
                                description="one standard deviation"))  # fmt: skip
        values["uncertainty"] = bars[None]
    layers.append(LayerSpec("valid", "uint8", 255, categorical=True, role="valid", band_names=("valid",)))
    affine = Affine(10, 0, 500_000 + 10 * shift, 0, -10, 5_200_000)
    when = None if time is None else f"{time}T10:00:00Z"
    return write_streamed_product(
        folder,
        StreamedProduct(
            name="test", title="test", lineage="Made by a test.", geobox=GeoBox(codes.shape, affine, "EPSG:32633"),
            layers=tuple(layers), tile=lambda w: {k: v[:, *w.slices] for k, v in values.items()}, inputs=(),
            start=when, end=when, parameters={}, legends={} if unit else {"value": legend},
        ),
        draw=lambda path, files: path.write_bytes(b"png"),
    ).folder  # fmt: skip


def layer(product, name, band=1):
    """Read a layer of a product: physical values, NaN without data."""
    with rasterio.open(product.path(name)) as source:
        stored = source.read(band, masked=True)
    info = product.layers[name]
    return stored.astype(float).filled(np.nan) * info.scale + info.offset
