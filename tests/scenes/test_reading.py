import threading
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scene_files import ORIGIN, UTM, grid, scene, write

from ecumene.core.errors import ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes import reading
from ecumene.scenes.contract import BandSource
from ecumene.scenes.grid import ground_sampling_m, lattice_offset, window_geobox
from ecumene.scenes.handles import MAX_HANDLES, close_handles, opened
from ecumene.scenes.reading import read_bands

RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A 130 x 170 scene with gaps, three bands at 10 m and one at 20 m."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(7)
    values = rng.integers(1, 10000, (3, 130, 170)).astype(np.uint16)
    values[:, 20:30, 40:55] = 0
    values[1, 60, 60] = 0
    fine = scene(folder / "ten.tif", values, grid(130, 170), ["B02", "B03", "B04"], offset=-0.1)
    coarse_values = rng.integers(1, 10000, (1, 65, 85)).astype(np.uint16)
    coarse_values[0, 5:8, 9:12] = 0
    coarse = scene(folder / "twenty.tif", coarse_values, grid(65, 85, 20.0), ["B11"], offset=-0.1)
    return replace(fine, bands=fine.bands + coarse.bands), values, coarse_values


def truth(values, scale=1e-4, offset=-0.1, nodata=0):
    return np.where(values == nodata, np.nan, values * scale + offset).astype(np.float32)


def test_native_grid_gives_physical_values_by_name(world):
    source, values, _ = world
    image = read_bands(source, ["B04", "B02"], source.geobox)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, truth(values[[2, 0]]), atol=1e-6)


windows = st.builds(Window, st.integers(-40, 150), st.integers(-40, 190), st.integers(1, 90), st.integers(1, 90))


@RELAXED
@given(window=windows)
def test_any_window_is_that_part_of_the_whole(world, window):
    source, _, _ = world
    big = Window(-140, -140, 420, 480)
    names = ["B02", "B03", "B04", "B11"]
    whole = _cached_whole(source, names, big)
    part = read_bands(source, names, window_geobox(source.geobox, window))
    np.testing.assert_array_equal(part, whole[(slice(None), *window.shift(140, 140).slices)])


_WHOLE = {}


def _cached_whole(source, names, window):
    if source.id not in _WHOLE:
        _WHOLE[source.id] = read_bands(source, names, window_geobox(source.geobox, window))
    return _WHOLE[source.id]


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize("target", ["shifted", "coarse", "geographic", "rotated"])
def test_warped_windows_are_parts_of_the_whole(world, resampling, target):
    source, _, _ = world
    source = replace(source, bands=tuple(replace(band, resampling=resampling) for band in source.bands))
    geobox = {
        "shifted": grid(120, 150, shift=(3.37, 5.21)),
        "coarse": grid(40, 50, 33.0, shift=(-2.4, 1.2)),
        "geographic": GeoBox((100, 120), Affine(1.2e-4, 0, 16.2699, 0, -9e-5, 45.147), "EPSG:4326"),
        "rotated": GeoBox((100, 120), Affine.translation(600200, 4999900) * Affine.rotation(20) * Affine.scale(9), UTM),
    }[target]
    whole = read_bands(source, ["B02", "B11"], geobox)
    assert np.isfinite(whole).any()
    for window in (Window(0, 0, 7, 50), Window(13, 21, 19, 11), Window(33, 5, 7, 40)):
        part = read_bands(source, ["B02", "B11"], window_geobox(geobox, window))
        np.testing.assert_allclose(part, whole[(slice(None), *window.slices)], atol=2e-5)


def test_warping_agrees_with_a_field_that_is_known_everywhere(tmp_path):
    native = grid(200, 200)
    columns, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    x, y = ORIGIN[0] + 10 * columns, ORIGIN[1] - 10 * rows
    plane = (0.001 * (x - ORIGIN[0]) + 0.002 * (y - ORIGIN[1] + 3000)).astype(np.float32)
    source = scene(tmp_path / "plane.tif", plane[None], native, ["B02"], scale=1.0, nodata=None)
    target = GeoBox((120, 90), Affine(1.1e-4, 0, 16.2725, 0, -8e-5, 45.1455), "EPSG:4326")
    image = read_bands(source, ["B02"], target)[0]
    lon, lat = (np.arange(90) + 0.5) * 1.1e-4 + 16.2725, 45.1455 - (np.arange(120) + 0.5) * 8e-5
    lon, lat = np.meshgrid(lon, lat)
    from pyproj import Transformer

    east, north = Transformer.from_crs(4326, 32633, always_xy=True).transform(lon, lat)
    expected = 0.001 * (east - ORIGIN[0]) + 0.002 * (north - ORIGIN[1] + 3000)
    inner = np.isfinite(image)
    assert inner.mean() > 0.9
    # half a pixel at the border repeats values; inside the plane is met to a hundredth of a pixel
    edge = np.abs(image - expected)
    assert np.quantile(edge[inner], 0.97) < 3e-4
    assert edge[inner].max() < 0.02


def test_grids_in_the_same_lattice_are_read_without_resampling(world):
    source, values, _ = world
    nudged = grid(50, 60, shift=(20.0004, 10.0004))
    assert lattice_offset(source.geobox, nudged) == (10, 20)
    np.testing.assert_allclose(read_bands(source, ["B02"], nudged)[0], truth(values[0, 10:60, 20:80]), atol=1e-6)
    assert lattice_offset(source.geobox, grid(50, 60, shift=(20.01, 10))) is None
    assert lattice_offset(source.geobox, grid(50, 60, 10.01)) is None


def test_the_fast_bilinear_kernel_equals_the_general_one():
    from ecumene.scenes import kernels

    rng = np.random.default_rng(11)
    values = rng.uniform(0, 1, (2, 30, 40)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    x, y = np.linspace(-2, 42, 97), np.linspace(-2, 32, 81)
    fast, general = np.empty((2, 81, 97), np.float32), np.empty((2, 81, 97), np.float32)
    kernels.bilinear_separable(values, x, y, fast)
    kernels.resample(values, x[None], y[:, None].copy(), kernels.BILINEAR, 1.0, 1.0, 1.0, general)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(general))
    np.testing.assert_allclose(fast, general, rtol=1e-6)


def test_gaps_neither_grow_nor_shrink_and_do_not_bleed(tmp_path):
    values = np.full((1, 40, 40), 1000, np.uint16)
    values[0, 10:20, 10:20] = 0
    source = scene(tmp_path / "gap.tif", values, grid(40, 40, 20.0), ["B05"])
    fine = read_bands(source, ["B05"], grid(80, 80))[0]
    expected = np.kron(values[0] == 0, np.ones((2, 2), bool))
    np.testing.assert_array_equal(np.isnan(fine), expected)
    np.testing.assert_allclose(fine[~expected], 0.1, atol=1e-6)
    coarse = read_bands(source, ["B05"], grid(20, 20, 40.0))[0]
    np.testing.assert_array_equal(np.isnan(coarse), values[0, ::2, ::2] == 0)
    np.testing.assert_allclose(coarse[np.isfinite(coarse)], 0.1, atol=1e-6)


def test_coarser_grids_are_averaged_not_sampled(tmp_path):
    values = np.indices((64, 64)).sum(axis=0) % 2 * 2000 + 1
    source = scene(tmp_path / "check.tif", values[None].astype(np.uint16), grid(64, 64), ["B02"])
    for resampling in ("bilinear", "average"):
        chosen = replace(source, bands=(replace(source.bands[0], resampling=resampling),))
        image = read_bands(chosen, ["B02"], grid(16, 16, 40.0))[0]
        np.testing.assert_allclose(image[1:-1, 1:-1], 0.1001, atol=1e-5)


def test_mode_takes_the_most_frequent_value(tmp_path):
    values = np.full((1, 8, 8), 3, np.uint8)
    values[0, :4, :4] = [[1, 1, 2, 2], [1, 2, 2, 2], [1, 2, 2, 1], [1, 1, 2, 2]]
    source = scene(tmp_path / "codes.tif", values, grid(8, 8), ["B02"], scale=1.0, nodata=None, resampling="mode")
    np.testing.assert_array_equal(read_bands(source, ["B02"], grid(2, 2, 40.0))[0], [[2, 3], [3, 3]])


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored", "missing"),
    [
        ("int16", -9999, [-9999, 0, 5], [True, False, False]),
        ("float32", float("nan"), [np.nan, 0, 5], [True, False, False]),
        ("float32", -3.4028234663852886e38, [-3.4028234663852886e38, 0, 5], [True, False, False]),
        ("float64", -1e30, [-1e30, 0, np.inf], [True, False, True]),
        ("uint16", None, [0, 1, 65535], [False, False, False]),
        ("uint16", -9999, [0, 1, 65535], [False, False, False]),
        ("uint8", 0.5, [0, 1, 255], [False, False, False]),
        ("uint16", 65535, [0, 1, 65535], [False, False, True]),
        ("int32", -2147483648, [-2147483648, 16777217, 5], [True, False, False]),
    ],
)
def test_nodata_of_every_kind(tmp_path, dtype, nodata, stored, missing):
    values = np.array(stored, dtype).reshape(1, 1, 3).repeat(2, axis=1)
    href = write(tmp_path / "n.tif", values, grid(2, 3))
    source = scene(tmp_path / "other.tif", np.ones((1, 2, 3), np.uint8), grid(2, 3), ["B02"], nodata=None)
    band = BandSource("B02", href, 1, grid(2, 3), dtype, 0.5, 1.0, nodata, "1")
    image = read_bands(replace(source, bands=(band,)), ["B02"], grid(2, 3))[0]
    np.testing.assert_array_equal(np.isnan(image[0]), missing)
    kept = ~np.array(missing)
    np.testing.assert_allclose(image[0][kept], np.array(stored, float)[kept] * 0.5 + 1, rtol=1e-6)


@RELAXED
@given(
    scale=st.floats(1e-5, 2.0),
    offset=st.floats(-50, 50),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
)
def test_scale_and_offset_are_applied_once(tmp_path, scale, offset, dtype):
    stored = np.arange(1, 101, dtype=dtype).reshape(1, 10, 10)
    source = scene(tmp_path / f"s_{dtype}.tif", stored, grid(10, 10), ["B02"], scale=scale, offset=offset, nodata=None)
    close_handles()
    image = read_bands(source, ["B02"], grid(10, 10))
    np.testing.assert_allclose(image, stored * scale + offset, rtol=1e-5, atol=1e-4)


def test_decibels_are_averaged_as_power(tmp_path):
    values = np.where(np.indices((20, 20))[1] % 2 == 0, 0.0, -20.0).astype(np.float32)[None]
    source = scene(
        tmp_path / "vv.tif", values, grid(20, 20), ["VV"], scale=1.0, nodata=None, unit="dB", sensor="sentinel-1"
    )
    source = replace(source, bands=(replace(source.bands[0], resampling="average"),))
    image = read_bands(source, ["VV"], grid(10, 10, 20.0))[0]
    np.testing.assert_allclose(image, 10 * np.log10((1 + 0.01) / 2), atol=1e-4)


def test_thermal_bands_become_kelvin(tmp_path):
    # Landsat 8 band 10 of USGS' handbook: T = K2 / ln(K1 / L + 1)
    values = np.full((1, 4, 4), 30000, np.uint16)
    values[0, 0, 0] = 0
    source = scene(
        tmp_path / "b10.tif",
        values,
        grid(4, 4),
        ["B10"],
        scale=3.342e-4,
        offset=0.1,
        sensor="landsat-8",
        properties={"thermal": {"B10": {"k1": 774.8853, "k2": 1321.0789}}},
        unit="K",
    )
    image = read_bands(source, ["B10"], grid(4, 4))[0]
    radiance = 30000 * 3.342e-4 + 0.1
    assert np.isnan(image[0, 0])
    np.testing.assert_allclose(image[1:], 1321.0789 / np.log(774.8853 / radiance + 1), rtol=1e-5)
    broken = replace(source, properties={"thermal": {"B10": {"k1": 0, "k2": 1}}})
    with pytest.raises(ContractError, match="positive"):
        read_bands(broken, ["B10"], grid(4, 4))


def test_internal_masks_are_honoured(tmp_path):
    path = tmp_path / "masked.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=6, width=6, count=1, dtype="uint8", crs=UTM, transform=grid(6, 6).affine
        ) as dataset,
    ):
        dataset.write(np.full((1, 6, 6), 9, np.uint8))
        hole = np.full((6, 6), 255, np.uint8)
        hole[2, 3] = 0
        dataset.write_mask(hole)
    source = scene(tmp_path / "x.tif", np.ones((1, 6, 6), np.uint8), grid(6, 6), ["B02"], nodata=None)
    source = replace(source, bands=(replace(source.bands[0], href=str(path)),))
    image = read_bands(source, ["B02"], grid(6, 6))[0]
    assert np.isnan(image[2, 3])
    assert np.isfinite(image).sum() == 35


def test_large_requests_go_in_strips_with_the_same_result(world, monkeypatch):
    source, _, _ = world
    target = grid(30, 40, 37.0, shift=(0.3, 0.1))
    whole = read_bands(source, ["B02", "B11"], target)
    monkeypatch.setattr(reading, "MAX_NATIVE_VALUES", 500)
    np.testing.assert_allclose(read_bands(source, ["B02", "B11"], target), whole, atol=1e-6)


def test_a_missing_band_is_a_sentence(world):
    source, _, _ = world
    with pytest.raises(ContractError, match=r"no band B99; it has B02, B03, B04, B11"):
        read_bands(source, ["B02", "B99"], source.geobox)


def test_a_vanished_file_is_a_sentence(tmp_path):
    source = scene(tmp_path / "gone.tif", np.ones((1, 4, 4), np.uint8), grid(4, 4), ["B02"])
    (tmp_path / "gone.tif").unlink()
    with pytest.raises(SceneError, match=r"gone\.tif cannot be read"):
        read_bands(source, ["B02"], grid(4, 4))


def test_a_truncated_block_is_a_sentence(tmp_path):
    path = tmp_path / "cut.tif"
    rng = np.random.default_rng(0)
    source = scene(path, rng.integers(1, 60000, (1, 256, 256)).astype(np.uint16), grid(256, 256), ["B02"])
    path.write_bytes(path.read_bytes()[:60000])
    with pytest.raises(SceneError, match=r"truncated, damaged"):
        read_bands(source, ["B02"], source.geobox)
    # the bad handle is not kept: the restored file works
    restored = scene(path, np.ones((1, 256, 256), np.uint16), grid(256, 256), ["B02"])
    assert np.isfinite(read_bands(restored, ["B02"], restored.geobox)).all()


def test_a_replaced_file_of_another_size_is_a_sentence(tmp_path):
    source = scene(tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8), grid(8, 8), ["B02"])
    read_bands(source, ["B02"], grid(8, 8))
    write(tmp_path / "a.tif", np.ones((1, 9, 9), np.uint8), grid(9, 9))
    with pytest.raises(SceneError, match="changed since"):
        read_bands(source, ["B02"], grid(8, 8))


def test_complex_values_are_refused(tmp_path):
    source = scene(tmp_path / "slc.tif", np.ones((1, 4, 4), np.complex64), grid(4, 4), ["VV"], nodata=None)
    with pytest.raises(ContractError, match="complex64"):
        read_bands(source, ["VV"], grid(4, 4))


def test_threads_read_the_same_and_keep_few_handles(world):
    source, values, _ = world
    expected = truth(values)
    problems = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            row, col = rng.integers(0, 80, 2)
            window = Window(int(row), int(col), 40, 40)
            image = read_bands(source, ["B02", "B03", "B04"], window_geobox(source.geobox, window))
            if not np.allclose(image, expected[(slice(None), *window.slices)], atol=1e-6, equal_nan=True):
                problems.append(window)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_handles_are_bounded(tmp_path):
    from ecumene.scenes.handles import _handles

    close_handles()
    for number in range(MAX_HANDLES + 5):
        href = write(tmp_path / f"{number}.tif", np.ones((1, 2, 2), np.uint8), grid(2, 2))
        with opened(href) as dataset:
            dataset.read(1)
    assert len(_handles()) == MAX_HANDLES
    close_handles()
    assert len(_handles()) == 0


def test_ground_sampling_is_in_metres_everywhere():
    assert ground_sampling_m(grid(10, 10, 10.0)) == pytest.approx(10.0)
    degrees = GeoBox((2, 2), Affine(1 / 3600, 0, 0, 0, -1 / 3600, 1 / 3600), "EPSG:4326")
    assert ground_sampling_m(degrees) == pytest.approx(np.sqrt(30.922 * 30.715), rel=1e-3)  # one arc second
    at_60 = GeoBox((2, 2), Affine(1 / 3600, 0, 0, 0, -1 / 3600, 60 + 1 / 3600), "EPSG:4326")
    assert ground_sampling_m(at_60) == pytest.approx(np.sqrt(15.500 * 30.949), rel=1e-3)
    feet = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 0), "EPSG:2263")  # New York, US survey feet
    assert ground_sampling_m(feet) == pytest.approx(3.048, rel=1e-4)
