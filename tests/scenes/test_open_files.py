"""Plain files: GeoTIFF, one-band files, VRT, ENVI; declarations."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fixtures_opening import ORIGIN, digital_numbers, s2_file, write_raster, write_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.files import sha256_of
from ecumene.scenes.declaration import make_declaration, parse_time
from ecumene.scenes.opening import describe_scene, describe_scenes, open_scene, select_bands
from ecumene.sensors import get_sensor

S2 = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
NAMES = tuple(band.name for band in get_sensor("sentinel-2").bands)
ONCE = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# ------------------------------------------------------------------ the Scene contract
def test_open_scene_keeps_the_contract(tmp_path):
    path = s2_file(tmp_path)
    data = open_scene(path, time="2020-06-04T07:46:39+02:00", **S2)
    assert data["B04"].dims == ("time", "y", "x")
    assert data["B04"].dtype == np.float32
    assert data["B04"].attrs["units"] == "1"
    assert data["B04"].chunks is not None
    assert data["time"].values[0] == np.datetime64("2020-06-04T05:46:39", "ns")
    assert data.odc.geobox == describe_scene(path, **S2).geobox
    assert data["B04"].odc.geobox.crs.epsg == 32633
    assert (data.attrs["sensor"], data.attrs["product_level"]) == ("sentinel-2", "L1C")
    assert data.attrs["source"] == [str(path)]
    assert data.attrs["checksums"] == {str(path): sha256_of(path)}
    np.testing.assert_allclose(data["B04"].values[0], digital_numbers(4, 9, 7)[2] * 1e-4, rtol=1e-6)


def test_chunks_do_not_change_values(tmp_path):
    path = s2_file(tmp_path)
    whole = open_scene(path, chunks=None, **S2)
    parts = open_scene(path, chunks={"y": 4, "x": 3}, **S2)
    assert parts["B02"].chunks == ((1,), (4, 4, 1), (3, 3, 1))
    for name in whole.data_vars:
        np.testing.assert_array_equal(whole[name].values, parts[name].values)


def test_geographic_grid_has_the_contract_dims(tmp_path):
    path = s2_file(tmp_path, crs="EPSG:4326", resolution=1e-4)
    data = open_scene(path, **S2)
    assert data["B02"].dims == ("time", "y", "x")
    assert data.odc.geobox.crs.epsg == 4326
    assert np.isnat(data["time"].values[0])


# ------------------------------------------------------------------ names of bands
@ONCE
@given(st.permutations(NAMES), st.integers(1, 13))
def test_any_order_and_subset_gives_the_same_values_by_name(tmp_path, order, count):
    order = order[:count]
    truth = {name: digital_numbers(1, 5, 6, seed)[0] for seed, name in enumerate(NAMES)}
    path = write_raster(tmp_path / "any.tif", np.stack([truth[name] for name in order]), names=order)
    source = describe_scene(path, **S2)
    assert source.band_names == tuple(name for name in NAMES if name in order)
    data = open_scene(path, chunks=None, checksums=False, **S2)
    for name in order:
        np.testing.assert_allclose(data[name].values[0], truth[name] * 1e-4, rtol=1e-6)


def test_declared_bands_select_by_name_where_the_file_names_them(tmp_path):
    path = s2_file(tmp_path, ("B08", "B04", "B03", "B02"))
    source = describe_scene(path, bands=["B02", "B03", "B04", "B08"], **S2)
    assert [(band.name, band.index) for band in source.bands] == [("B02", 4), ("B03", 3), ("B04", 2), ("B08", 1)]


def test_declared_bands_name_a_file_without_names(tmp_path):
    path = s2_file(tmp_path, described=False)
    source = describe_scene(path, bands=["B8", "red", "B03", "B02"], **S2)
    assert [(band.name, band.index) for band in source.bands] == [("B08", 1), ("B04", 2), ("B03", 3), ("B02", 4)]


@pytest.mark.parametrize("names", [None, ("Band 1", "Band 2", "Band 3", "Band 4"), ("1", "2", "3", "4")])
def test_bands_are_never_named_by_position(tmp_path, names):
    path = write_raster(tmp_path / "x.tif", digital_numbers(4, 4, 4), names=names)
    with pytest.raises(ConfigurationError, match="--bands"):
        describe_scene(path, **S2)


def test_a_description_that_is_no_band_is_named(tmp_path):
    path = s2_file(tmp_path, ("B02", "NDVI"))
    with pytest.raises(ConfigurationError, match="'NDVI' is none of sentinel-2's"):
        describe_scene(path, **S2)
    assert describe_scene(path, bands=["B02"], **S2).band_names == ("B02",)


def test_missing_band_is_named(tmp_path):
    with pytest.raises(ContractError, match="B11 is not in"):
        describe_scene(s2_file(tmp_path), bands=["B02", "B11"], **S2)
    with pytest.raises(ContractError, match="no band 'B99'"):
        describe_scene(s2_file(tmp_path), bands=["B99"], **S2)
    with pytest.raises(ContractError, match="4 bands without names, but 2"):
        describe_scene(s2_file(tmp_path, described=False), bands=["B02", "B03"], **S2)
    with pytest.raises(ContractError, match="no band 'B10' at level L2A"):
        describe_scene(s2_file(tmp_path), bands=["B10"], **(S2 | {"level": "L2A"}))


def test_the_same_band_twice_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Two bands of s2\.tif claim to be band B02"):
        describe_scene(s2_file(tmp_path, ("B02", "B2")), **S2)
    with pytest.raises(ConfigurationError, match="declared twice"):
        describe_scene(s2_file(tmp_path), bands=["B02", "B2"], **S2)


def test_all_and_ranges_name_hyperspectral_files(tmp_path):
    rosis = get_sensor("rosis")
    path = write_raster(tmp_path / "cube.tif", digital_numbers(103, 3, 3))
    source = describe_scene(path, sensor="rosis", level="reflectance", scale=1e-4, bands=["B001:B103"])
    assert source.band_names == tuple(band.name for band in rosis.bands[:103])
    with pytest.raises(ContractError, match="103 bands without names, but 115"):
        describe_scene(path, sensor="rosis", level="reflectance", scale=1e-4, bands=["all"])


def test_hyperspectral_bands_are_found_by_wavelength(tmp_path):
    wavelengths = [{"wavelength": "660.5", "wavelength_units": "Nanometers"}, {"wavelength": "0.8638"}]
    wavelengths[1]["wavelength_units"] = "Micrometers"
    path = write_raster(tmp_path / "cube.tif", digital_numbers(2, 3, 3).astype(np.int16), band_tags=wavelengths)
    source = describe_scene(path, sensor="enmap", level="L2A")
    centres = [get_sensor("enmap").band(name).center_wavelength_um for name in source.band_names]
    assert centres == pytest.approx([0.6605, 0.8638], abs=3e-3)


# ------------------------------------------------------------------ several files
def test_one_band_files_in_a_folder(tmp_path):
    for name, resolution, size in (("B02", 10.0, 8), ("B05", 20.0, 4), ("B01", 60.0, 2)):
        write_raster(tmp_path / f"T33_{name}.tif", digital_numbers(1, size, size), resolution=resolution)
    write_raster(tmp_path / "T33_SCL.tif", np.full((1, 4, 4), 5, np.uint8), resolution=20.0)
    write_raster(tmp_path / "reference_map.tif", np.full((1, 4, 4), 5, np.uint8), resolution=20.0)
    (tmp_path / "preview.jpg").write_bytes(b"not looked at")
    source = describe_scene(tmp_path, **S2)
    assert source.band_names == ("B01", "B02", "B05")
    assert source.geobox.shape == (8, 8)
    assert source.mask is not None
    assert source.mask.kind == "scl"


def test_several_resolutions_joined_by_plus(tmp_path, monkeypatch):
    write_raster(tmp_path / "a_10m.tif", digital_numbers(2, 8, 8), names=("B02", "B08"))
    write_raster(tmp_path / "a_20m.tif", digital_numbers(2, 4, 4), names=("B05", "B11"), resolution=20.0)
    source = describe_scene(f"{tmp_path}/a_20m.tif+a_10m.tif", **S2)
    assert source.band_names == ("B02", "B05", "B08", "B11")
    assert source.geobox.resolution.x == 10
    assert len(source.files) == 2
    monkeypatch.chdir(tmp_path)
    assert describe_scene("a_10m.tif+a_20m.tif", **S2).band_names == source.band_names
    data = open_scene("a_10m.tif+a_20m.tif", **S2)
    assert data["B11"].shape == (1, 8, 8)


def test_a_plus_in_a_file_name_is_no_join(tmp_path):
    assert describe_scene(s2_file(tmp_path, name="a+b.tif"), **S2).id == "a+b"


def test_two_acquisitions_in_a_folder_are_told_apart(tmp_path):
    s2_file(tmp_path, name="july.tif")
    s2_file(tmp_path, name="august.tif")
    with pytest.raises(ConfigurationError, match=r"august\.tif and july\.tif claim to be band B02"):
        describe_scene(tmp_path, **S2)


def test_scenes_are_ordered_by_time_and_stable(tmp_path):
    paths = [s2_file(tmp_path, name=f"{name}.tif") for name in "abc"]
    sources = describe_scenes(paths, time=["2021-01-01", "2019-01-01", "2021-01-01"], **S2)
    assert [source.id for source in sources] == ["b", "a", "c"]
    assert [source.id for source in describe_scenes(paths, **S2)] == ["a", "b", "c"]
    with pytest.raises(ConfigurationError, match="2 times are declared for 3 scenes"):
        describe_scenes(paths, time=["2021-01-01", "2019-01-01"], **S2)


def test_select_bands_moves_to_their_finest_grid(tmp_path):
    write_raster(tmp_path / "a.tif", digital_numbers(1, 8, 8), names=("B02",))
    write_raster(tmp_path / "b.tif", digital_numbers(1, 4, 4), names=("B05",), resolution=20.0)
    source = select_bands(describe_scene(f"{tmp_path}/a.tif+b.tif", **S2), ["B5"])
    assert source.geobox.resolution.x == 20
    with pytest.raises(ContractError, match="no band 'B12'"):
        select_bands(source, ["B12"])


# ------------------------------------------------------------------ units
def test_sensor_level_scale_and_offset_must_be_said(tmp_path):
    path = s2_file(tmp_path)
    for missing, option in (("sensor", "--sensor"), ("level", "--level"), ("offset", "--offset")):
        declared = {key: value for key, value in S2.items() if key != missing}
        declared.pop("scale", None)
        with pytest.raises(ConfigurationError, match=option):
            describe_scene(path, **declared)
    pan = write_raster(tmp_path / "p.tif", digital_numbers(1, 4, 4), names=("red",))
    with pytest.raises(ConfigurationError, match="--scale"):
        describe_scene(pan, sensor="aerial-rgb", level="reflectance")
    with pytest.raises(ConfigurationError, match="it has: L1C, L2A"):
        describe_scene(path, sensor="sentinel-2", level="L3")


def test_integers_of_a_level_and_floats_of_nobody(tmp_path):
    path = write_raster(tmp_path / "f.tif", np.full((1, 4, 4), 0.25, np.float32), names=("red",))
    with pytest.raises(ConfigurationError, match="stores float32 where level SR has integers"):
        describe_scene(path, sensor="planetscope", level="SR")
    assert describe_scene(path, sensor="planetscope", level="SR", scale=1, offset=0).bands[0].scale == 1


def test_scale_tags_are_honoured_and_options_win(tmp_path):
    path = s2_file(tmp_path, ("B02", "B03"), scales=(2e-4, 3e-4), offsets=(-0.1, 0.5))
    tagged = describe_scene(path, sensor="sentinel-2", level="L2A")
    assert [(band.scale, band.offset) for band in tagged.bands] == [(2e-4, -0.1), (3e-4, 0.5)]
    declared = describe_scene(path, sensor="sentinel-2", level="L2A", scale=1e-4, offset={"B2": -0.1, "B3": 0})
    assert [(band.scale, band.offset) for band in declared.bands] == [(1e-4, -0.1), (1e-4, 0.0)]


@ONCE
@given(
    st.floats(1e-6, 10).filter(lambda value: value > 0),
    st.floats(-10, 10),
    st.lists(st.integers(1, 60000), min_size=6, max_size=6),
)
def test_scale_and_offset_round_trip(tmp_path, scale, offset, values):
    stored = np.array(values, np.uint16).reshape(1, 2, 3)
    path = write_raster(tmp_path / "r.tif", stored, names=("red",))
    data = open_scene(path, sensor="aerial-rgb", level="reflectance", scale=scale, offset=offset, checksums=False)
    expected = stored[0] * scale + offset
    np.testing.assert_allclose(data["red"].values[0], expected, rtol=1e-5, atol=1e-5 * max(1.0, abs(offset)))


@pytest.mark.parametrize(
    ("unit", "level", "found"), [(None, "GRD", "dB"), ("dB", "GRD", "dB"), ("linear", "GRD", "linear power")]
)
def test_radar_units_are_declared(tmp_path, unit, level, found):
    path = write_raster(tmp_path / "s1.tif", np.full((2, 3, 3), -12.5, np.float32), names=("VV", "VH"))
    source = describe_scene(path, sensor="sentinel-1", level=level, unit=unit)
    assert (source.unit, source.bands[0].unit, source.quantity) == (found, found, "backscatter")
    with pytest.raises(ConfigurationError, match="not 'K'"):
        describe_scene(path, sensor="sentinel-1", level=level, unit="K")


def test_complex_files_are_refused(tmp_path):
    path = write_raster(tmp_path / "slc.tif", np.ones((1, 3, 3), np.complex64), names=("VV",))
    with pytest.raises(SceneError, match="complex"):
        describe_scene(path, sensor="terrasar-x", level="SSC")


@pytest.mark.parametrize(
    ("dtype", "file_nodata", "declared", "expected"),
    [
        ("float32", float("nan"), None, float("nan")),
        ("int16", -32768, None, -32768),
        ("int16", -32768, -9999, -9999),
        ("uint16", None, None, 0),
        ("uint16", None, "none", None),
        ("float32", None, None, None),
        ("float32", -9999.0, float("nan"), float("nan")),
    ],
)
def test_nodata_of_file_declaration_and_level(tmp_path, dtype, file_nodata, declared, expected):
    path = write_raster(tmp_path / "n.tif", np.ones((1, 3, 3), dtype), names=("B02",), nodata=file_nodata)
    found = describe_scene(path, nodata=declared, **S2).bands[0].nodata
    assert found is expected is None or found == pytest.approx(expected, nan_ok=True)


def test_nodata_pixels_are_nan(tmp_path):
    array = np.full((1, 3, 3), 5, np.int16)
    array[0, 1, 1] = -999
    path = write_raster(tmp_path / "n.tif", array, names=("B02",), nodata=-999)
    values = open_scene(path, **S2)["B02"].values[0]
    assert np.isnan(values[1, 1])
    assert np.isfinite(values).sum() == 8


# ------------------------------------------------------------------ time
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-06-04", "2020-06-04T00:00:00"),
        ("20200604", "2020-06-04T00:00:00"),
        ("20200604T054639", "2020-06-04T05:46:39"),
        ("2020-06-04T05:46:39Z", "2020-06-04T05:46:39"),
        ("2020-06-04T07:46:39+02:00", "2020-06-04T05:46:39"),
        ("2020-06-04 05:46:39.1234567", "2020-06-04T05:46:39.123456"),
    ],
)
def test_times(text, expected):
    assert parse_time(text) == np.datetime64(expected, "ns")


@pytest.mark.parametrize("text", ["yesterday", "2020-13-01", "20201301", ""])
def test_no_times(text):
    with pytest.raises(ConfigurationError, match="is no time"):
        parse_time(text)


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Kolkata"])
def test_time_does_not_depend_on_the_machines_zone(tmp_path, zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        path = s2_file(tmp_path, tags={"acquisition": "2015-07-11T10:00:08"})
        assert describe_scene(path, **S2).time == np.datetime64("2015-07-11T10:00:08", "ns")
        (tmp_path / "scene.yaml").write_text("time: 2016-07-11 10:00:08\n")
        assert describe_scene(path, **S2).time == np.datetime64("2016-07-11T10:00:08", "ns")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43.tif", "2017-06-13T10:10:31"),
        ("S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457.tif", "2020-06-07T01:08:00"),
        ("my_scene_20170613.tif", None),
    ],
)
def test_time_in_names_only_by_the_agencies_rules(tmp_path, name, expected):
    found = describe_scene(s2_file(tmp_path, name=name), **S2).time
    assert found == (None if expected is None else np.datetime64(expected, "ns"))


# ------------------------------------------------------------------ scene.yaml
def test_scene_yaml_beside_a_file_and_options_above_it(tmp_path):
    path = s2_file(tmp_path, described=False)
    write_yaml(
        tmp_path / "scene.yaml", bands=["B02", "B03", "B04", "B08"], time="2020-01-01", licence="CC-BY-4.0", **S2
    )
    source = describe_scene(path)
    assert (source.band_names, source.time) == (("B02", "B03", "B04", "B08"), np.datetime64("2020-01-01", "ns"))
    assert source.properties["licence"] == "CC-BY-4.0"
    other = describe_scene(path, time="2021-01-01", offset=-0.1, bands=["B08", "red"])
    assert [(band.name, band.index) for band in other.bands] == [("B08", 4), ("B04", 3)]
    assert (other.time, other.bands[0].offset) == (np.datetime64("2021-01-01", "ns"), -0.1)


def test_own_scene_yaml_wins_over_the_shared_one(tmp_path):
    path, other = s2_file(tmp_path, name="a.tif"), s2_file(tmp_path, name="b.tif")
    write_yaml(tmp_path / "scene.yaml", time="2020-01-01", **S2)
    write_yaml(tmp_path / "a.scene.yaml", time="2019-01-01")
    assert [source.id for source in describe_scenes([other, path])] == ["a", "b"]
    assert describe_scene(tmp_path / "a.scene.yaml").id == "a"


def test_scene_yaml_lists_files_and_maps_bands(tmp_path):
    write_raster(tmp_path / "data" / "x.tif", digital_numbers(3, 6, 6))
    write_raster(tmp_path / "data" / "clouds.tif", np.zeros((1, 6, 6), np.uint8))
    path = write_yaml(
        tmp_path / "scene.yaml",
        files={"B02": {"file": "data/x.tif", "band": 3}, "B03": "data/x.tif"},
        mask={"file": "data/clouds.tif", "kind": "binary", "bad_values": [1]},
        **S2,
    )
    for opened in (path, tmp_path):
        source = describe_scene(opened)
        assert [(band.name, band.index) for band in source.bands] == [("B02", 3), ("B03", 1)]
        assert source.mask is not None
        assert source.mask.bad_values == (1,)
    write_yaml(tmp_path / "scene.yaml", files=["data/x.tif"], bands="B04,B03,B02", id="mine", **S2)
    assert (describe_scene(tmp_path).id, describe_scene(tmp_path).band_names) == ("mine", ("B04", "B03", "B02"))


def test_scene_yaml_speaks_only_of_the_files_that_it_lists(tmp_path):
    s2_file(tmp_path, name="listed.tif")
    other = s2_file(tmp_path, name="other.tif")
    write_yaml(tmp_path / "scene.yaml", files=["listed.tif"], **S2)
    with pytest.raises(ConfigurationError, match="--sensor"):
        describe_scene(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sensr: sentinel-2", "did you mean 'sensor'"),
        ("- a\n- b", "must be a mapping"),
        ("sensor: [", "not valid YAML"),
        ("scale: much", "scale is wrong"),
        ("scale: 0", "must not be 0"),
        ("offset: .inf", "finite"),
        ("time: soon", "is no time"),
        ("mask: clouds.tif", "kind"),
        ("sensor: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_wrong_scene_yaml_is_one_sentence(tmp_path, text, said):
    path = s2_file(tmp_path)
    (tmp_path / "scene.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        describe_scene(path, **S2)
    assert "\n" not in str(caught.value)


def test_crs_and_transform_can_be_declared(tmp_path):
    path = s2_file(tmp_path, georeferenced=False)
    with pytest.raises(SceneError, match="--crs"):
        describe_scene(path, **S2)
    with pytest.raises(SceneError, match="transform"):
        describe_scene(path, crs="EPSG:32633", **S2)
    write_yaml(tmp_path / "scene.yaml", transform=[10, 0, ORIGIN[0], 0, -10, ORIGIN[1]])
    with pytest.raises(SceneError, match="EPSG:999999"):
        describe_scene(path, crs="EPSG:999999", **S2)
    write_yaml(tmp_path / "scene.yaml", crs=32633, transform=[10, 0, ORIGIN[0], 0, -10, ORIGIN[1]])
    data = open_scene(path, **S2)
    assert data.odc.geobox.crs.epsg == 32633
    np.testing.assert_allclose(data["B02"].values[0], digital_numbers(4, 9, 7)[0] * 1e-4, rtol=1e-6)


def test_unknown_option_is_a_sentence():
    with pytest.raises(ConfigurationError, match="there is no key 'colour'"):
        make_declaration({"colour": "red"})
