"""The instruments as data."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.sensors import get_sensor, list_sensors, match_band
from ecumene.sensors.library import parse_sensor
from ecumene.sensors.names import canonical_name, expand_names, is_positional, match_tokens

WANTED = {
    "sentinel-2", "sentinel-1", "landsat-5", "landsat-7", "landsat-8", "planetscope", "planetscope-8", "skysat",
    "rapideye", "zy-3", "gaofen-1", "gaofen-2", "gaofen-3", "terrasar-x", "cosmo-skymed", "radarsat-2", "enmap",
    "prisma", "aviris", "rosis", "aerial-rgb", "aerial-rgbn", "modis-mod13q1", "dem",
}  # fmt: skip


def test_every_wanted_instrument_is_there():
    assert {sensor.id for sensor in list_sensors()} >= WANTED


def test_library_is_cached():
    assert get_sensor("s2a") is get_sensor("sentinel-2")


@pytest.mark.parametrize("sensor", list_sensors(), ids=lambda sensor: sensor.id)
def test_descriptions_are_physical(sensor):
    assert len(sensor.source) > 20
    for band in sensor.bands:
        assert band.ground_sampling_m is not None
        assert 0.05 <= band.ground_sampling_m <= 1000
        if sensor.kind in {"optical", "hyperspectral"} and sensor.id != "modis-mod13q1":
            assert band.center_wavelength_um is not None
            assert 0.35 < band.center_wavelength_um < 13
            assert band.full_width_half_max_um is not None
            assert band.full_width_half_max_um < 2.2
        if sensor.kind == "sar":
            assert band.polarisation == band.name
    if sensor.kind == "sar":
        assert sensor.wavelength_m is not None
        assert 0.02 < sensor.wavelength_m < 0.3
    for level in sensor.levels:
        for name in level.bands or ():
            assert sensor.band(name)
        if level.quantity == "brightness_temperature":
            assert level.unit == "K"


@pytest.mark.parametrize(
    ("sensor", "band", "centre_um"),
    [
        ("sentinel-2", "B04", 0.6646),
        ("sentinel-2", "B12", 2.2024),
        ("landsat-8", "B5", 0.865),
        ("landsat-5", "B3", 0.66),
    ],
)
def test_known_wavelengths(sensor, band, centre_um):
    assert get_sensor(sensor).band(band).center_wavelength_um == pytest.approx(centre_um, abs=1e-4)


@pytest.mark.parametrize(
    ("sensor", "metres"),
    [("sentinel-1", 0.0555), ("radarsat-2", 0.0555), ("terrasar-x", 0.0311), ("cosmo-skymed", 0.0312)],
)
def test_known_radar_wavelengths(sensor, metres):
    assert get_sensor(sensor).wavelength_m == pytest.approx(metres, abs=5e-5)


@pytest.mark.parametrize(("sensor", "bands"), [("enmap", 224), ("aviris", 224), ("rosis", 115), ("sentinel-2", 13)])
def test_known_band_counts(sensor, bands):
    assert len(get_sensor(sensor).bands) == bands


def test_no_alias_means_two_instruments():
    names: dict[str, str] = {}
    for sensor in list_sensors():
        for name in (sensor.id, *sensor.aliases):
            assert names.setdefault(name.lower(), sensor.id) == sensor.id


def test_unknown_sensor_lists_similar_ones():
    with pytest.raises(ConfigurationError, match="sentinel-2"):
        get_sensor("sentinell-2")


@pytest.mark.parametrize(
    ("sensor", "text", "band"),
    [
        ("sentinel-2", "B1", "B01"), ("sentinel-2", "b08", "B08"), ("sentinel-2", "B8A", "B8A"),
        ("sentinel-2", "red", "B04"), ("sentinel-2", "Band 3", None), ("sentinel-2", "3", None),
        ("sentinel-2", "", None), ("sentinel-2", None, None), ("sentinel-2", "NDVI", None),
        ("landsat-8", "SR_B4", "B4"), ("landsat-8", "ST_B10", "B10"), ("sentinel-1", "Sigma0_VV_db", "VV"),
        ("sentinel-1", "VV/VH ratio", None), ("landsat-7", "lwir", None), ("planetscope-8", "Green_I", "green_i"),
    ],
)  # fmt: skip
def test_spellings(sensor, text, band):
    assert match_band(get_sensor(sensor), text) == band


@pytest.mark.parametrize(
    ("sensor", "stem", "band"),
    [
        ("sentinel-2", "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43_B8A", "B8A"),
        ("sentinel-1", "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48_VH", "VH"),
        ("landsat-7", "LE07_L1TP_190027_20010704_02_T1_B6_VCID_2", "B6_VCID_2"),
        ("sentinel-2", "S2A_MSIL2A_reference_map", None),
    ],
)
def test_file_names(sensor, stem, band):
    assert match_tokens(get_sensor(sensor), stem) == band


@given(st.sampled_from(list_sensors()), st.data())
def test_every_own_name_matches_itself(sensor, data):
    band = data.draw(st.sampled_from(sensor.bands))
    assert match_band(sensor, band.name) == band.name
    assert match_band(sensor, band.name.lower()) == band.name


@given(st.text(string.ascii_letters + string.digits + "_ -", max_size=12))
def test_canonical_name_is_idempotent(text):
    assert canonical_name(canonical_name(text)) == canonical_name(text)


@given(st.integers(0, 300), st.sampled_from(["", "band", "Band ", "band_", "#", "Channel "]))
def test_counting_names_nothing(number, prefix):
    assert is_positional(f"{prefix}{number}")


def test_ranges_of_bands():
    sensor = get_sensor("rosis")
    usual = tuple(band.name for band in sensor.bands)
    assert expand_names(sensor, usual, ["B003:B005", "B001"]) == ("B003", "B004", "B005", "B001")
    assert expand_names(sensor, usual, ["all"]) == usual
    with pytest.raises(KeyError):
        expand_names(sensor, usual, ["B001:B999"])


GOOD = """
id: x
title: X
kind: optical
source: a test
bands: [{name: B1}, {name: B2}]
levels: [{name: L1, quantity: reflectance, unit: "1"}]
"""


def test_a_good_description_is_read():
    assert parse_sensor(GOOD).level("L1").unit == "1"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: x", "id: X Y", "id"),
        ("kind: optical", "kind: sonar", "kind"),
        ("kind: optical", "kind: sar", "wavelength_m"),
        ("source: a test", "", "source"),
        ("{name: B2}", "{name: B1}", "appears twice"),
        ("{name: B2}", "{name: B2, colour: red}", "colour"),
        ('unit: "1"', 'unit: "1", bands: [B9]', "unknown band 'B9'"),
        ("levels: [", "levels: [[", "YAML"),
    ],
)
def test_a_bad_description_is_one_sentence(old, new, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        parse_sensor(GOOD.replace(old, new), "x.yaml")
    assert "\n" not in str(caught.value)
