"""Simulated clouds: optics by band, shadows by the sun, masks, determinism, refusals."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.restoration.cloud_simulation import CloudOptions, cover_field, simulate_clouds
from ecumene.scenes.contract import Channel
from ecumene.sensors import get_sensor
from ecumene.simulate.sun import Sun

SUN = Sun(zenith=40.0, azimuth=150.0)
SHAPE = (120, 120)


def channels(sensor="sentinel-2", level="L1C", bands=("B02", "B04", "B08", "B10", "B11", "B12")):
    described = get_sensor(sensor)
    return tuple(Channel(sensor, level, name, "1", described.band(name).center_wavelength_um) for name in bands)


def clear_scene(bands, value=0.15):
    return np.full((len(bands), *SHAPE), value, np.float32)


@pytest.fixture(scope="module")
def thick():
    bands = channels()
    return simulate_clouds(
        clear_scene(bands), bands, pixel_m=20.0, sun=SUN, seed=4, options=CloudOptions(cover=0.3, cirrus_cover=0.0)
    )


def test_cover_is_what_was_asked_for(thick):
    assert thick.cloud.mean() == pytest.approx(0.3, abs=0.06)
    assert not (thick.cloud & thick.shadow).any()
    assert thick.shadow.any()


def test_thick_clouds_are_bright_in_the_visible_darker_in_the_infrared_and_hidden_in_the_cirrus_band(thick):
    core = thick.opacity[0] > 0.95
    blue, _, nir, cirrus, swir16, swir22 = (float(band[core].mean()) for band in thick.image)
    assert blue > 0.5
    assert nir > 0.5
    assert swir22 < swir16 < nir
    assert cirrus < 0.1
    assert thick.opacity.min() >= 0.0
    assert thick.opacity.max() <= 1.0


def test_clear_pixels_are_unchanged_far_from_clouds(thick):
    untouched = (thick.opacity[0] == 0.0) & ~thick.covered
    change = np.abs(thick.image[:, untouched] - 0.15)
    assert np.quantile(change, 0.5) < 0.02


def test_shadows_lie_where_the_sun_puts_them_and_are_dark(thick):
    rows, cols = thick.displacement
    assert rows < 0 < abs(cols)
    assert cols < 0
    lit = ~thick.covered
    for band in (1, 2, 4):
        assert thick.image[band][thick.shadow].mean() < 0.85 * thick.image[band][lit].mean()
    # Scattered light fills shadows in the blue more than in the infrared.
    depth = [1 - thick.image[b][thick.shadow].mean() / thick.image[b][lit].mean() for b in (0, 2)]
    assert depth[0] < depth[1]


def test_edges_are_soft(thick):
    between = (thick.opacity[0] > 0.05) & (thick.opacity[0] < 0.6)
    assert between.mean() > 0.03


def test_cirrus_shines_in_its_own_band():
    bands = channels()
    scene = simulate_clouds(
        clear_scene(bands), bands, pixel_m=20.0, sun=SUN, seed=1, options=CloudOptions(0.0, 0.5, 0.6)
    )
    assert not scene.shadow.any()
    assert scene.cloud.mean() == pytest.approx(0.5, abs=0.1)
    change = scene.image[:, scene.cloud].mean(axis=1) - 0.15
    assert 0.0 < change[0] < 0.3
    dark = simulate_clouds(
        clear_scene(bands, 0.002), bands, pixel_m=20.0, sun=SUN, seed=1, options=CloudOptions(0.0, 0.5, 0.6)
    )
    assert dark.image[3][dark.cloud].mean() > 5 * dark.image[3][~dark.cloud].mean()


@pytest.mark.parametrize(
    ("sensor", "level", "bands"),
    [
        ("sentinel-2", "L2A", ("B02", "B08", "B12")),
        ("landsat-8", "L1", ("B2", "B5", "B9")),
        ("landsat-5", "L2", ("B1", "B4", "B7")),
    ],
)
def test_any_optical_sensor_is_clouded_by_its_description(sensor, level, bands):
    found = channels(sensor, level, bands)
    scene = simulate_clouds(clear_scene(found), found, pixel_m=30.0, sun=SUN, seed=0)
    assert np.isfinite(scene.image).all()
    assert scene.image[0][scene.cloud].mean() > 0.17


def test_the_seed_decides_the_clouds():
    bands = channels()
    one, same, other = (
        simulate_clouds(clear_scene(bands), bands, pixel_m=20.0, sun=SUN, seed=seed) for seed in (3, 3, -3)
    )
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)


def test_nodata_stays_nodata():
    bands = channels()
    clear = clear_scene(bands)
    clear[:, :5] = np.nan
    assert np.isnan(simulate_clouds(clear, bands, pixel_m=20.0, sun=SUN, seed=0).image[:, :5]).all()


def test_what_cannot_be_clouded_is_refused():
    bands = channels()
    with pytest.raises(ConfigurationError, match="channels"):
        simulate_clouds(clear_scene(bands)[:2], bands, pixel_m=20.0, sun=SUN, seed=0)
    thermal = (*bands[:-1], Channel("landsat-8", "L1", "B10", "K", 10.9))
    with pytest.raises(ContractError, match="is in K"):
        simulate_clouds(clear_scene(bands), thermal, pixel_m=20.0, sun=SUN, seed=0)
    unknown = (*bands[:-1], Channel("mine", "L1C", "x", "1"))
    with pytest.raises(ContractError, match="wavelength"):
        simulate_clouds(clear_scene(bands), unknown, pixel_m=20.0, sun=SUN, seed=0)
    mixed = (*bands[:-1], Channel("sentinel-2", "L2A", "B12", "1", 2.2))
    with pytest.raises(ContractError, match="different levels"):
        simulate_clouds(clear_scene(bands), mixed, pixel_m=20.0, sun=SUN, seed=0)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        CloudOptions(cover=1.2)
    with pytest.raises(ConfigurationError, match="depth"):
        CloudOptions(cirrus_depth=0.0)


def test_cover_fields_have_their_share():
    for cover in (0.0, 0.25, 0.9):
        assert cover_field((64, 64), cover, 0, longest=20.0).mean() == pytest.approx(cover, abs=0.01)
