"""Checks on real acquisitions; they need the data sets that ECUMENE_DATA names."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes.cloud_rule import bad_by_rule, cloud_pixels
from ecumene.scenes.contract import BandSource, MaskSource, SceneSource
from ecumene.scenes.grid import full_window, ground_sampling_m
from ecumene.scenes.masks import clear_sky, landsat_bad, with_rule_mask
from ecumene.scenes.stack import align_scenes
from ecumene.scenes.statistics import scene_statistics

DATA = Path(os.environ.get("ECUMENE_DATA", ""))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("ECUMENE_DATA" not in os.environ, reason="ECUMENE_DATA does not name the real data sets"),
]


def describe(identifier, files, *, time, sensor="sentinel-2", level="L1C", unit="1", scale=1e-4, nodata=None):
    """Describe (band name, path, index) triples by hand."""
    bands = []
    for name, path, index in files:
        with rasterio.open(path) as dataset:
            grid = GeoBox((dataset.height, dataset.width), dataset.transform, dataset.crs)
            bands.append(BandSource(name, str(path), index, grid, dataset.dtypes[0], scale, 0.0, nodata, unit))
    finest = min((band.geobox for band in bands), key=lambda grid: abs(grid.affine.determinant))
    quantity = "backscatter" if unit == "dB" else "reflectance"
    moment = np.datetime64(time, "ns")
    return SceneSource(identifier, sensor, level, quantity, unit, moment, tuple(bands), finest)


def named(number):
    return f"B{int(number):02d}" if number.isdigit() else f"B{number}"


def test_the_smaller_later_date_of_saclay_is_put_on_the_first():
    folder = DATA / "oscd" / "saclay_e"
    sources = [
        describe(part, [(p.stem, p, 1) for p in sorted((folder / part).glob("*.tif"))], time=day)
        for part, day in (("imgs_1", "2016-03-15"), ("imgs_2", "2017-08-19"))
    ]
    assert sources[1].geobox.shape == (631, 679)
    stack = align_scenes(sources)
    assert stack.shape == (2, 13, 639, 688)
    block = stack.read(full_window(stack.geobox))
    assert block.valid.mean() > 0.995
    red = block.image[:, stack.channels.index(next(c for c in stack.channels if c.band == "B04"))]
    both = np.isfinite(red).all(axis=0)
    correlation = np.corrcoef(red[0][both], red[1][both])[0, 1]
    unaligned = np.corrcoef(red[0][:, 40:][both[:, 40:]], red[1][:, :-40][both[:, 40:]])[0, 1]
    assert correlation > 0.5 > unaligned + 0.1
    window = Window(200, 300, 64, 64)
    part = stack.read(window)
    np.testing.assert_allclose(part.image, block.image[(..., *window.slices)], atol=1e-5)


def test_sentinel_1_and_2_of_one_place_on_one_grid():
    root = DATA / "ssl4eo_s12_patch_0000200"

    def optical(folder):
        files = [(named(p.stem.removeprefix("B")), p, 1) for p in sorted(folder.glob("B*.tif"))]
        return describe(folder.name, files, time=f"{folder.name[:4]}-{folder.name[4:6]}-{folder.name[6:8]}")

    def radar(folder):
        day = folder.name.split("_")[4]
        files = [(name, folder / f"{name}.tif", 1) for name in ("VV", "VH")]
        time = f"{day[:4]}-{day[4:6]}-{day[6:8]}T{day[9:11]}:{day[11:13]}"
        return describe(folder.name, files, time=time, sensor="sentinel-1", level="GRD", unit="dB", scale=1.0)

    sources = [optical(f) for f in sorted((root / "s2c" / "0000200").iterdir())]
    radars = [radar(f) for f in sorted((root / "s1" / "0000200").iterdir())]
    stack = align_scenes([*sources, *radars])
    assert stack.shape == (2, 15, 264, 264)
    assert [frame.mosaics[1][0].id for frame in stack.frames] == [r.id for r in radars]
    assert ground_sampling_m(stack.geobox) == pytest.approx(9.75, abs=0.1)
    block = stack.read(full_window(stack.geobox))
    assert block.valid.mean() > 0.95
    keys = [channel.band for channel in stack.channels]
    vv, nir = block.image[:, keys.index("VV")], block.image[:, keys.index("B08")]
    assert -14 < np.nanmedian(vv) < -6
    assert 0.15 < np.nanmedian(nir) < 0.5


def slovenia(day):
    path = DATA / "s2_eopatch_slovenia" / f"S2_L1C_{day}.tif"
    with rasterio.open(path) as dataset:
        names = dataset.descriptions
    return describe(day, [(name, path, i) for i, name in enumerate(names, 1)], time=day)


@pytest.mark.parametrize(
    ("day", "clouded"),
    [("2015-07-11", False), ("2015-07-31", True), ("2015-08-20", True), ("2015-08-30", False), ("2015-09-09", False)],
)
def test_the_rule_separates_clear_from_clouded_dates(day, clouded):
    source = with_rule_mask(slovenia(day))
    bad = ~clear_sky(source, source.geobox)
    assert (bad.mean() > 0.95) if clouded else (bad.mean() < 0.01)
    statistics = scene_statistics(slovenia(day))
    assert statistics.cloud_mask == "rule"
    assert statistics.cloud_fraction == pytest.approx(bad.mean(), abs=0.02)
    assert 0 < statistics.bands["B04"].mean < 0.5


def test_the_rule_on_a_hand_labelled_landsat_patch():
    folder = DATA / "38cloud_sample_patch"
    with rasterio.open(next(folder.glob("*B2B3B4B5.tif"))) as dataset:
        reflectance = dataset.read().astype(np.float32) * 2e-5 - 0.1  # without the sun's elevation, which is not known
    with rasterio.open(next(folder.glob("*cloud_gt.tif"))) as dataset:
        truth = dataset.read(1) == 1
    bands = dict(zip(("blue", "green", "red", "nir"), reflectance, strict=True))
    found = cloud_pixels(bands)
    assert (found & truth).sum() / (found | truth).sum() > 0.85
    grown = bad_by_rule(bands, 30.0)
    assert (grown & truth).sum() / truth.sum() > 0.97


def test_the_quality_band_and_the_rule_on_a_cirrocumulus_scene():
    folder = DATA / "landsat8_cloudy_20150804"
    path, quality = folder / "LC08_020039_20150804_dn.tif", folder / "LC08_020039_20150804_bqa.tif"
    names = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9")
    source = describe(
        "l8", [(n, path, i) for i, n in enumerate(names, 1)], time="2015-08-04", sensor="landsat-8", level="L1"
    )
    sun = np.sin(np.deg2rad(64.74360932))
    source = replace(source, bands=tuple(replace(band, scale=2e-5 / sun, offset=-0.1 / sun) for band in source.bands))
    mask = MaskSource("landsat_qa", str(quality), 1, source.geobox)
    masked = replace(source, mask=mask, properties={"landsat_collection": "pre"})
    provider = ~clear_sky(masked, source.geobox)
    with rasterio.open(quality) as dataset:
        codes = dataset.read(1)
    np.testing.assert_array_equal(provider, landsat_bad(codes, "pre"))
    rule = ~clear_sky(with_rule_mask(source), source.geobox)
    assert (rule & provider).sum() / provider.sum() > 0.95  # the rule finds what the provider flags
    assert 0.3 < provider.mean() < rule.mean() < 0.65
