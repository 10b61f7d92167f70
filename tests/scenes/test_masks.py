from dataclasses import replace

import numpy as np
import pytest
from scene_files import grid, mask_file, scene

from ecumene.core.errors import ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.cloud_rule import bad_by_rule, cloud_pixels
from ecumene.scenes.grid import window_geobox
from ecumene.scenes.masks import SCL_BAD, clear_sky, landsat_bad, with_rule_mask
from ecumene.scenes.statistics import scene_statistics

BANDS = ["B02", "B03", "B04", "B08", "B11", "B12"]
# typical reflectances: blue, green, red, nir, swir16, swir22
VEGETATION = (0.06, 0.08, 0.05, 0.35, 0.20, 0.10)
BARE = (0.12, 0.16, 0.22, 0.28, 0.38, 0.34)
CLOUD = (0.45, 0.43, 0.44, 0.50, 0.40, 0.30)
SNOW = (0.70, 0.70, 0.68, 0.60, 0.08, 0.06)
SHADOW = (0.05, 0.04, 0.03, 0.07, 0.05, 0.03)
WATER = (0.07, 0.06, 0.04, 0.02, 0.01, 0.01)


def pixels(*spectra):
    return dict(
        zip(("blue", "green", "red", "nir", "swir16", "swir22"), np.array(spectra, np.float32).T[:, None], strict=True)
    )


def test_scl_keeps_surfaces_and_drops_clouds(tmp_path):
    codes = np.arange(12, dtype=np.uint8)[None]
    source = scene(tmp_path / "s.tif", np.ones((1, 1, 12), np.uint8), grid(1, 12), ["B02"])
    masked = replace(source, mask=mask_file(tmp_path / "scl.tif", codes, grid(1, 12), "scl"))
    np.testing.assert_array_equal(clear_sky(masked, grid(1, 12))[0], ~np.isin(np.arange(12), SCL_BAD))
    assert clear_sky(source, grid(1, 12)).all()


def test_a_mask_at_20_m_serves_a_10_m_grid_and_is_bad_outside(tmp_path):
    codes = np.array([[4, 9], [3, 5]], np.uint8)
    mask = mask_file(tmp_path / "scl.tif", codes, grid(2, 2, 20.0), "scl")
    source = replace(scene(tmp_path / "s.tif", np.ones((1, 4, 4), np.uint8), grid(4, 4), ["B02"]), mask=mask)
    clear = clear_sky(source, window_geobox(grid(4, 4), Window(-1, 0, 6, 4)))
    expected = np.zeros((6, 4), bool)
    expected[1:5] = np.kron(np.isin(codes, (4, 5)), np.ones((2, 2), bool))
    np.testing.assert_array_equal(clear, expected)
    assert not clear_sky(source, window_geobox(grid(4, 4), Window(50, 50, 3, 3))).any()


def test_landsat_bits_of_every_collection():
    # USGS: QA_PIXEL 21824 clear, 22280 cloud, 23888 shadow, 1 fill, 30048 snow, 21952 water, 54596 cirrus
    codes = np.array([21824, 22280, 23888, 1, 30048, 21952, 54596], np.uint16)
    np.testing.assert_array_equal(landsat_bad(codes), [False, True, True, True, False, False, True])
    np.testing.assert_array_equal(landsat_bad(codes, "02"), landsat_bad(codes, "2"))
    # Collection 1 BQA: 2720 clear, 2800 cloud, 2976 shadow (high), 6816 cirrus (high)
    np.testing.assert_array_equal(
        landsat_bad(np.array([2720, 2800, 2976, 6816], np.uint16), "1"), [False, True, True, True]
    )
    # before the collections: 20480 clear, 53248 cloud, 28672 cirrus, 1 fill
    np.testing.assert_array_equal(
        landsat_bad(np.array([20480, 53248, 28672, 1], np.uint16), "pre"), [False, True, True, True]
    )
    with pytest.raises(SceneError, match="collection '7'"):
        landsat_bad(codes, "7")


def test_binary_masks_list_their_bad_values(tmp_path):
    codes = np.array([[0, 1, 2, 3]], np.uint8)
    source = scene(tmp_path / "s.tif", np.ones((1, 1, 4), np.uint8), grid(1, 4), ["B02"])
    listed = mask_file(tmp_path / "m.tif", codes, grid(1, 4), "binary", bad_values=(2, 3))
    np.testing.assert_array_equal(clear_sky(replace(source, mask=listed), grid(1, 4))[0], [True, True, False, False])
    other = replace(listed, bad_values=())
    np.testing.assert_array_equal(clear_sky(replace(source, mask=other), grid(1, 4))[0], [True, False, False, False])
    with pytest.raises(SceneError, match="names no file"):
        clear_sky(replace(source, mask=replace(listed, href=None)), grid(1, 4))


def test_the_rule_tells_clouds_from_bright_surfaces():
    bands = pixels(VEGETATION, BARE, CLOUD, SNOW, SHADOW, WATER, (np.nan,) * 6)
    np.testing.assert_array_equal(cloud_pixels(bands)[0], [False, False, True, False, False, False, False])
    warm = bands | {"lwir11": np.full((1, 7), 305.0, np.float32)}
    assert not cloud_pixels(warm).any()
    thin = pixels(VEGETATION) | {"cirrus": np.full((1, 1), 0.02, np.float32)}
    assert cloud_pixels(thin).all()


def test_the_rule_grows_clouds_and_finds_shadows_near_them_only():
    kinds = np.zeros((200, 300), int)
    kinds[20:40, 20:40] = 1  # cloud
    kinds[60:70, 60:70] = 2  # its shadow
    kinds[100:105, 20:25] = 3  # water nearby is no shadow
    kinds[180:190, 280:290] = 2  # dark land far from clouds
    kinds[80, 90] = 1  # a white roof
    spectra = np.array([VEGETATION, CLOUD, SHADOW, WATER], np.float32)
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    bad = bad_by_rule({name: spectra[kinds, i] for i, name in enumerate(names)}, 10.0)
    assert bad[14:46, 20:40].all()
    assert not bad[12, 30]
    assert bad[60:70, 60:70].all()
    assert not bad[100:105, 20:25].any()
    assert not bad[180:190, 280:290].any()
    assert not bad[80, 90]


def test_rule_masks_do_not_depend_on_the_window(tmp_path):
    rng = np.random.default_rng(5)
    kinds = np.zeros((220, 220), int)
    for _ in range(12):
        row, col = rng.integers(0, 200, 2)
        kinds[row : row + 12, col : col + 12] = rng.integers(1, 3)
    spectra = np.array([VEGETATION, CLOUD, SHADOW])
    values = (spectra[kinds].transpose(2, 0, 1) * 1e4).astype(np.uint16)
    source = with_rule_mask(scene(tmp_path / "s.tif", values, grid(220, 220), BANDS))
    whole = clear_sky(source, source.geobox)
    assert 0.05 < (~whole).mean() < 0.9
    for window in (Window(0, 0, 50, 60), Window(90, 130, 64, 64), Window(200, 10, 20, 200)):
        part = clear_sky(source, window_geobox(source.geobox, window))
        np.testing.assert_array_equal(part, whole[window.slices])


def test_the_rule_needs_its_bands_and_reflectance(tmp_path):
    source = scene(tmp_path / "s.tif", np.ones((1, 4, 4), np.uint8), grid(4, 4), ["B02"])
    with pytest.raises(ContractError, match="needs a green, red, nir band"):
        clear_sky(with_rule_mask(source), grid(4, 4))
    radar = replace(source, sensor="sentinel-1", quantity="backscatter")
    assert with_rule_mask(radar).mask is None  # radar sees through clouds


def test_scene_statistics_count_gaps_and_clouds(tmp_path):
    values = (np.array(VEGETATION)[:, None, None] * 1e4 * np.ones((6, 100, 100))).astype(np.uint16)
    values[:, :20] = 0
    values[:, 20:40] = (np.array(CLOUD)[:, None, None] * 1e4).astype(np.uint16)
    source = scene(tmp_path / "s.tif", values, grid(100, 100), BANDS)
    by_rule = scene_statistics(source)
    assert by_rule.cloud_mask == "rule"
    assert by_rule.valid_fraction == pytest.approx(0.8)
    assert by_rule.cloud_fraction == pytest.approx(26 / 80, abs=0.02)  # 20 rows and 60 m around them
    assert by_rule.bands["B08"].maximum == pytest.approx(0.5, abs=1e-4)
    assert by_rule.bands["B08"].minimum == pytest.approx(0.35, abs=1e-4)
    assert by_rule.bands["B08"].mean == pytest.approx((0.5 * 20 + 0.35 * 60) / 80, abs=1e-4)
    codes = np.full((100, 100), 4, np.uint8)
    codes[20:40] = 9
    masked = replace(source, mask=mask_file(tmp_path / "m.tif", codes, grid(100, 100), "scl"))
    small = scene_statistics(masked, max_size=50)
    assert small.cloud_mask == "scl"
    assert small.cloud_fraction == pytest.approx(0.25)
    empty = scene(tmp_path / "e.tif", np.zeros((6, 8, 8), np.uint16), grid(8, 8), BANDS)
    nothing = scene_statistics(empty)
    assert nothing.valid_fraction == 0
    assert nothing.cloud_fraction is None
    assert np.isnan(nothing.bands["B02"].mean)
