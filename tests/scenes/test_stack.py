from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scene_files import grid, mask_file, scene

from ecumene.core.errors import ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.contract import Stack
from ecumene.scenes.grid import ground_sampling_m
from ecumene.scenes.stack import SceneStack, align_scenes, with_resolution

RELAXED = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["B02", "B03"]


def image_of(seed, bands=2, height=60, width=80):
    return np.random.default_rng(seed).integers(1000, 9000, (bands, height, width)).astype(np.uint16)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Two Sentinel-2 dates of different size and one Sentinel-1 date between them."""
    folder = tmp_path_factory.mktemp("series")
    first = scene(folder / "a.tif", image_of(1), grid(60, 80), NAMES, time="2020-06-04T05:46:39")
    second = scene(
        folder / "b.tif",
        image_of(2, height=50, width=71),
        grid(50, 71, shift=(4, 3)),
        NAMES,
        time="2020-08-23T05:46:39",
    )
    radar = scene(
        folder / "vv.tif",
        np.random.default_rng(3).uniform(-20, 0, (1, 60, 80)).astype(np.float32),
        grid(60, 80, shift=(0.4, 0.3)),
        ["VV"],
        time="2020-06-07T01:08:00",
        sensor="sentinel-1",
        level="GRD",
        quantity="backscatter",
        nodata=None,
        unit="dB",
        scale=1.0,
    )
    return first, second, radar


def test_dates_of_different_size_and_another_sensor_share_the_first_grid(series):
    stack = align_scenes([series[1], series[0], series[2]])
    assert isinstance(stack, Stack)
    assert stack.geobox == series[1].geobox  # the first scene is the reference, whatever its date
    stack = align_scenes(series)
    assert stack.geobox == series[0].geobox
    assert [channel.key for channel in stack.channels] == ["sentinel-2/B02", "sentinel-2/B03", "sentinel-1/VV"]
    assert stack.times == (series[0].time, series[1].time)
    assert stack.shape == (2, 3, 60, 80)
    block = stack.read(Window(0, 0, 60, 80))
    assert block.image.shape == (2, 3, 60, 80)
    assert block.image.dtype == np.float32
    np.testing.assert_array_equal(block.dates, [18417, 18497])
    assert block.dates.dtype == np.int32
    inside = np.zeros((60, 80), bool)
    inside[3:53, 4:75] = True
    np.testing.assert_array_equal(np.isfinite(block.image[1, 0]), inside)
    np.testing.assert_array_equal(block.image[0, 2], block.image[1, 2])  # one radar date serves both frames
    np.testing.assert_array_equal(block.valid, np.isfinite(block.image).all(axis=1))


@RELAXED
@given(
    window=st.builds(Window, st.integers(-20, 70), st.integers(-20, 90), st.integers(1, 40), st.integers(1, 40)),
    crop=st.tuples(st.integers(-5, 20), st.integers(-5, 20)),
)
def test_windows_and_crops_are_parts_of_the_whole(series, window, crop):
    stack = align_scenes(series)
    big = Window(-40, -40, 200, 220)
    whole = stack.read(big)
    rows, columns = window.shift(40, 40).slices
    part = stack.read(window)
    np.testing.assert_allclose(part.image, whole.image[..., rows, columns], atol=1e-5)
    np.testing.assert_array_equal(part.valid, whole.valid[..., rows, columns])
    cropped = stack.crop(Window(*crop, 30, 30)).read(window.shift(-crop[0], -crop[1]))
    np.testing.assert_allclose(cropped.image, part.image, atol=1e-5)


def test_select_changes_order_and_at_takes_a_frame(series):
    stack = align_scenes(series)
    chosen = stack.select(["sentinel-1/VV", "sentinel-2/B03"])
    window = Window(5, 5, 10, 10)
    full = stack.read(window).image
    np.testing.assert_array_equal(chosen.read(window).image, full[:, [2, 1]])
    scattered = stack.select(["B03", "VV", "B02"])  # channels of one sensor that are not neighbours
    np.testing.assert_array_equal(scattered.read(window).image, full[:, [1, 2, 0]])
    np.testing.assert_array_equal(stack.at(1).read(window).image, full[1:])
    with pytest.raises(ContractError, match="channel B99 is missing"):
        stack.select(["B99"])
    with pytest.raises(SceneError, match="no frame 5"):
        stack.at(5)


def test_adjacent_tiles_of_a_day_are_one_frame_on_the_common_grid(tmp_path):
    left_values, right_values = image_of(1, 1, 40, 50), image_of(2, 1, 40, 50)
    left_values[:, :, 45:] = 0  # the overlap is filled from the other tile
    left = scene(tmp_path / "l.tif", left_values, grid(40, 50), ["B02"], time="2020-06-04T10:00:00")
    right = scene(tmp_path / "r.tif", right_values, grid(40, 50, shift=(40, 0)), ["B02"], time="2020-06-04T10:00:15")
    stack = align_scenes([left, right])
    assert stack.shape == (1, 1, 40, 90)
    image = stack.read(Window(0, 0, 40, 90)).image[0, 0]
    expected = np.concatenate([left_values[0, :, :45], right_values[0, :, 5:]], axis=1) * 1e-4
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert len(stack.sources) == 2


def test_a_spectrum_is_not_mixed_from_two_tiles(tmp_path):
    first = image_of(1, 2, 10, 10)
    first[1, 2, 2] = 0
    second = image_of(2, 2, 10, 10)
    a = scene(tmp_path / "a.tif", first, grid(10, 10), NAMES)
    b = scene(tmp_path / "b.tif", second, grid(10, 10), NAMES)
    image = align_scenes([a, b]).read(Window(0, 0, 10, 10)).image[0]
    np.testing.assert_allclose(image[:, 2, 2], second[:, 2, 2] * 1e-4, atol=1e-6)
    np.testing.assert_allclose(image[:, 3, 3], first[:, 3, 3] * 1e-4, atol=1e-6)


def test_clouds_are_masked_only_in_their_own_sensor_and_only_if_asked(tmp_path, series):
    codes = np.full((60, 80), 4, np.uint8)
    codes[10:20, 10:20] = 9
    mask = mask_file(tmp_path / "scl.tif", codes, grid(60, 80), "scl")
    cloudy = replace(series[0], mask=mask)
    block = align_scenes([cloudy, series[2]]).read(Window(0, 0, 60, 80))
    np.testing.assert_array_equal(np.isnan(block.image[0, 0]), codes == 9)
    assert np.isfinite(block.image[0, 2, 1:, 1:]).all()
    assert not block.valid[0, 15, 15]
    clear = align_scenes([cloudy], mask_clouds=False).read(Window(0, 0, 60, 80))
    assert clear.valid.all()


def test_two_processing_baselines_become_the_same_reflectance(tmp_path):
    values = image_of(4)
    old = scene(tmp_path / "old.tif", values, grid(60, 80), NAMES, time="2021-06-01")
    new = scene(tmp_path / "new.tif", values + 1000, grid(60, 80), NAMES, time="2022-06-01", offset=-0.1)
    image = align_scenes([old, new]).read(Window(0, 0, 60, 80)).image
    np.testing.assert_allclose(image[0], image[1], atol=1e-6)


def test_mixed_levels_units_and_bands_are_sentences(tmp_path, series):
    l1c = replace(series[1], level="L1C")
    with pytest.raises(ContractError, match=r"different levels \(L2A and L1C\)"):
        align_scenes([series[0], l1c])
    decibel = replace(series[2], unit="linear power", time=np.datetime64("2020-09-01"))
    with pytest.raises(ContractError, match="different units"):
        align_scenes([series[2], decibel])
    fewer = replace(series[1], bands=series[1].bands[:1])
    with pytest.raises(ContractError, match="lacks the band B03"):
        align_scenes([series[0], fewer])
    with pytest.raises(ContractError, match="lacks the band B03"):
        align_scenes([fewer, series[0]])
    assert align_scenes([fewer, series[0]], bands=["B02"]).shape[1] == 1
    with pytest.raises(ContractError, match="No scene has the band B12"):
        align_scenes(series, bands=["B12"])
    assert [c.key for c in align_scenes(series, bands=["VV", "sentinel-2/B03"]).channels] == [
        "sentinel-1/VV",
        "sentinel-2/B03",
    ]


def test_series_need_dates(series):
    undated = replace(series[0], time=None)
    assert align_scenes([undated]).read(Window(0, 0, 2, 2)).dates.tolist() == [0]
    with pytest.raises(SceneError, match="has no date"):
        align_scenes([undated, replace(series[1], time=None)])
    with pytest.raises(SceneError, match="has no date"):
        align_scenes([series[0], replace(series[1], time=None)])
    with pytest.raises(SceneError, match="no scene"):
        align_scenes([])


def test_the_nearest_date_of_another_sensor_is_taken(series):
    later = replace(series[2], id="late", time=np.datetime64("2020-08-20T00:00:00"))
    stack = align_scenes([series[0], series[1], series[2], later])
    assert [frame.mosaics[1][0].id for frame in stack.frames] == ["vv", "late"]


def test_resolution_is_in_metres_on_any_grid(series):
    stack = align_scenes(series, resolution=20)
    assert stack.shape[2:] == (30, 40)
    assert ground_sampling_m(stack.geobox) == pytest.approx(20)
    image = stack.read(Window(0, 0, 30, 40)).image[0, 0]
    fine = align_scenes(series).read(Window(0, 0, 60, 80)).image[0, 0]
    interior = fine.reshape(30, 2, 40, 2).mean(axis=(1, 3))
    assert (
        np.corrcoef(image[1:-1, 1:-1].ravel(), interior[1:-1, 1:-1].ravel())[0, 1] > 0.85
    )  # the widened triangle on white noise: 0.90
    degrees = GeoBox((100, 100), series[0].geobox.affine.__class__(1e-4, 0, 15, 0, -1e-4, 48), "EPSG:4326")
    assert ground_sampling_m(with_resolution(degrees, 30.0)) == pytest.approx(30.0, rel=1e-3)
    with pytest.raises(SceneError, match="positive"):
        align_scenes(series, resolution=-1)


def test_a_given_grid_in_degrees_is_used(series):
    affine = series[0].geobox.affine.__class__(1.2e-4, 0, 16.271, 0, -9e-5, 45.1455)
    target = GeoBox((40, 50), affine, "EPSG:4326")
    stack = align_scenes(series, geobox=target)
    block = stack.read(Window(0, 0, 40, 50))
    assert block.valid[0].mean() > 0.8
    assert isinstance(stack, SceneStack)
    values = block.image[0, 0][block.valid[0]]
    assert 0.1 < values.mean() < 0.9


def test_a_frame_without_a_scene_of_a_sensor_has_no_data_of_it(series):
    stack = align_scenes(series)
    first, second = stack.frames
    alone = replace(stack, frames=(first, replace(second, mosaics=second.mosaics[:1])))
    block = alone.read(Window(3, 4, 20, 20))
    assert np.isfinite(block.image[0]).all()
    assert np.isfinite(block.image[1, :2]).all()
    assert np.isnan(block.image[1, 2]).all()
    assert not block.valid[1].any()
