"""Products with metadata: Sentinel-2 SAFE and Landsat."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from fixtures_opening import make_landsat_l1, make_landsat_l2, make_safe, write_raster

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.scenes.formats.landsat import earth_sun_distance
from ecumene.scenes.opening import describe_scene, describe_scenes, open_scene


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_safe_gives_reflectance_on_the_finest_grid(tmp_path, level):
    folder = make_safe(tmp_path / f"S2A_MSI{level}_X.SAFE", level)
    source = describe_scene(folder)
    assert (source.sensor, source.level, source.unit, source.quantity) == ("sentinel-2", level, "1", "reflectance")
    assert source.band_names == ("B01", "B02", "B04", "B05")
    assert source.geobox.shape == (12, 12)
    assert source.time == np.datetime64("2023-06-01T10:05:31.024", "ns")
    assert source.properties["processing_baseline"] == "05.09"
    assert (source.mask is not None and source.mask.kind == "scl") == (level == "L2A")
    data = open_scene(folder, bands=["B02"])
    stored = (1500 + np.arange(144).reshape(12, 12)).astype(float)
    # band_id 1 is B02: the fixture's offset is -1000 - band_id.
    expected = (stored - 1001) / 10000
    expected[0, 0] = np.nan
    np.testing.assert_allclose(data["B02"].values[0], expected, atol=2e-7)
    assert data["B02"].dtype == np.float32


@pytest.mark.parametrize(("baseline", "offset"), [("02.08", None), ("04.00", -1000), ("05.09", -1000)])
def test_each_baseline_applies_its_own_offset(tmp_path, baseline, offset):
    source = describe_scene(make_safe(tmp_path / "A.SAFE", "L1C", baseline, offset=offset))
    for band in source.bands:
        number = {"B01": 0, "B02": 1, "B04": 3, "B05": 4}[band.name]
        assert band.scale == pytest.approx(1e-4)
        assert band.offset == pytest.approx(0.0 if offset is None else (offset - number) / 10000)


def test_two_baselines_in_one_series_agree_in_physical_units(tmp_path):
    old = make_safe(tmp_path / "old.SAFE", "L2A", "02.08", offset=None, sensing="2021-06-01T10:00:00Z")
    new = make_safe(tmp_path / "new.SAFE", "L2A", "05.09", sensing="2023-06-01T10:00:00Z")
    sources = describe_scenes([new, old])
    assert [source.properties["processing_baseline"] for source in sources] == ["02.08", "05.09"]
    difference = open_scene(old)["B04"].values - open_scene(new)["B04"].values
    np.testing.assert_allclose(difference[np.isfinite(difference)], 0.1003, atol=1e-6)


def test_new_baseline_without_offsets_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"baseline 05\.09 but no BOA_ADD_OFFSET"):
        describe_scene(make_safe(tmp_path / "A.SAFE", "L2A", "05.09", offset=None))


def test_explicit_numbers_win_over_product_metadata(tmp_path):
    source = describe_scene(make_safe(tmp_path / "A.SAFE"), scale=2e-4, offset=0)
    assert {(band.scale, band.offset) for band in source.bands} == {(2e-4, 0.0)}


def test_safe_with_a_missing_image_names_it(tmp_path):
    folder = make_safe(tmp_path / "A.SAFE", omit=("B05",))
    with pytest.raises(SceneError, match="B05_20m"):
        describe_scene(folder)
    assert describe_scene(folder, bands=["B04", "B02"]).band_names == ("B04", "B02")
    with pytest.raises(ContractError, match="B11"):
        describe_scene(folder, bands=["B11"])


def test_safe_cannot_lead_outside(tmp_path):
    folder = make_safe(tmp_path / "inner" / "A.SAFE", image_prefix="../../", write_images=False)
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(folder)


def test_safe_xml_with_entities_is_refused(tmp_path):
    folder = make_safe(tmp_path / "A.SAFE")
    metadata = folder / "MTD_MSIL2A.xml"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    metadata.write_text(metadata.read_text().replace("?>", f"?>{bomb}", 1))
    with pytest.raises(SceneError, match="not a readable XML"):
        describe_scene(folder)


def test_safe_with_another_declared_sensor_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="declared as landsat-8"):
        describe_scene(make_safe(tmp_path / "A.SAFE"), sensor="landsat-8")


def test_landsat_level_1_is_reflectance_and_kelvin(tmp_path):
    folder = make_landsat_l1(tmp_path / "scene")
    source = describe_scene(folder)
    assert (source.sensor, source.level) == ("landsat-8", "L1")
    assert source.band_names == ("B2", "B3", "B10")  # panchromatic only where it is asked for
    assert source.time == np.datetime64("2021-07-04T10:11:12.345678", "ns")
    assert source.mask is not None
    assert source.mask.kind == "landsat_qa"
    assert source.properties["thermal"] == {"B10": {"k1": 774.8853, "k2": 1321.0789}}
    data = open_scene(folder)
    # sun elevation 30 degrees: sin = 0.5
    np.testing.assert_allclose(data["B2"].values[0, 1:], (10000 * 2e-5 - 0.1) / 0.5, rtol=1e-5)
    radiance = 28000 * 3.342e-4 + 0.1
    np.testing.assert_allclose(data["B10"].values[0, 1:], 1321.0789 / math.log(774.8853 / radiance + 1), rtol=1e-5)
    assert (data["B2"].attrs["units"], data["B10"].attrs["units"]) == ("1", "K")
    assert np.isnan(data["B2"].values[0, 0, 0])
    assert np.isnan(data["B10"].values[0, 0, 0])


def test_landsat_panchromatic_band_on_request(tmp_path):
    folder = make_landsat_l1(tmp_path / "scene")
    source = describe_scene(folder, bands=["B8", "B3"])
    assert source.band_names == ("B8", "B3")
    assert source.geobox.resolution.x == 15


def test_landsat_digital_numbers_on_request(tmp_path):
    source = describe_scene(make_landsat_l1(tmp_path / "scene", elevation=-5.0), level="DN", bands=["B2"])
    assert (source.unit, source.bands[0].scale, source.bands[0].offset) == ("DN", 1.0, 0.0)


def test_landsat_at_night_has_no_reflectance(tmp_path):
    with pytest.raises(SceneError, match="sun elevation"):
        describe_scene(make_landsat_l1(tmp_path / "scene", elevation=-5.0))


def test_landsat_level_2_uses_collection_numbers(tmp_path):
    folder = make_landsat_l2(tmp_path / "scene")
    source = describe_scene(folder)
    assert (source.level, source.band_names) == ("L2", ("B4", "B5", "B10"))
    data = open_scene(folder)
    # Worked examples of the USGS page on scale factors: 18,639 is 0.313; 44,947 is 302.6 K.
    assert float(data["B4"].values[0, 0, 0]) == pytest.approx(0.313, abs=5e-4)
    assert float(data["B10"].values[0, 0, 0]) == pytest.approx(302.6, abs=0.05)
    assert "thermal" not in source.properties


def test_landsat_crop_joined_with_its_metadata(tmp_path):
    folder = make_landsat_l1(tmp_path / "scene")
    metadata = next(folder.glob("*MTL.txt"))
    crop = write_raster(
        tmp_path / "crop.tif", np.full((2, 4, 4), 10000, np.uint16), names=("B3", "B2"), resolution=30.0
    )
    source = describe_scene(f"{crop}+{metadata}")
    assert source.band_names == ("B2", "B3")
    assert source.bands[0].index == 2
    assert source.bands[0].scale == pytest.approx(4e-5)
    with pytest.raises(ConfigurationError, match=r"joined? the product's metadata|join the product's metadata"):
        describe_scene(crop, sensor="landsat-8", level="L1")


def test_landsat_metadata_without_images_says_what_to_do(tmp_path):
    folder = make_landsat_l1(tmp_path / "scene")
    for path in folder.glob("*.TIF"):
        path.unlink()
    with pytest.raises(SceneError, match=r"with '\+'"):
        describe_scene(folder)


def test_landsat_5_before_collections_uses_solar_irradiance(tmp_path):
    text = tmp_path / "LT5_MTL.txt"
    text.write_bytes(
        b'GROUP = L1_METADATA_FILE\nGROUP = PRODUCT_METADATA\nDATA_TYPE = "L1T"\nSPACECRAFT_ID = "LANDSAT_5"\n'
        b"DATE_ACQUIRED = 1988-08-14\nSCENE_CENTER_TIME = 13:00:47.3750190Z\nEND_GROUP = PRODUCT_METADATA\n"
        b"GROUP = IMAGE_ATTRIBUTES\nSUN_ELEVATION = 49.75588889\nEND_GROUP = IMAGE_ATTRIBUTES\n"
        b"GROUP = RADIOMETRIC_RESCALING\nRADIANCE_MULT_BAND_3 = 1.044\nRADIANCE_ADD_BAND_3 = -2.21398\n"
        b"RADIANCE_MULT_BAND_6 = 0.055\nRADIANCE_ADD_BAND_6 = 1.18243\nEND_GROUP = RADIOMETRIC_RESCALING\n"
        b"END_GROUP = L1_METADATA_FILE\nEND\n" + b"\0" * 64
    )
    image = write_raster(tmp_path / "crop.tif", np.full((2, 3, 3), 100, np.uint8), names=("B3", "B6"), resolution=30.0)
    data = open_scene(f"{image}+{text}")
    distance = earth_sun_distance(dt.date(1988, 8, 14))
    radiance = 1.044 * 100 - 2.21398
    expected = math.pi * radiance * distance**2 / (1536 * math.sin(math.radians(49.75588889)))
    np.testing.assert_allclose(data["B3"].values, expected, rtol=1e-5)
    np.testing.assert_allclose(data["B6"].values, 1260.56 / math.log(607.76 / (5.5 + 1.18243) + 1), rtol=1e-5)


def test_earth_sun_distance_against_the_almanac():
    # Perihelion 0.98329 au near 4 January, aphelion 1.01671 au near 4 July.
    assert earth_sun_distance(dt.date(2021, 1, 3)) == pytest.approx(0.98326, abs=4e-4)
    assert earth_sun_distance(dt.date(2021, 7, 5)) == pytest.approx(1.01673, abs=4e-4)
