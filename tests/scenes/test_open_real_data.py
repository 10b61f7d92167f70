"""Real products of several agencies open with plausible physical values."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.opening import describe_scene, open_scene

ROOT = os.environ.get("ECUMENE_DATA")
pytestmark = [pytest.mark.data, pytest.mark.skipif(not ROOT, reason="ECUMENE_DATA is not set")]
S2 = {"sensor": "sentinel-2", "scale": 1e-4, "offset": 0.0, "checksums": False, "chunks": None}


def data_path(*parts: str) -> Path:
    path = Path(ROOT or "").joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not among the data")
    return path


def medians(data) -> dict[str, float]:
    found = {str(name): float(np.nanmedian(data[name].values)) for name in data.data_vars}
    print({name: round(value, 3) for name, value in found.items()})
    return found


def test_three_resolutions_are_one_scene():
    stem = str(data_path("majortom_s2l2a_199U_1099R")) + "/S2B_L2A_20200223_T48QUE_"
    data = open_scene(f"{stem}10m.tif+{stem}20m.tif+{stem}60m.tif", level="L2A", time="2020-02-23", **S2)
    assert data.odc.geobox.shape == (1068, 1068)
    assert list(data.data_vars) == ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    found = medians(data)
    assert all(0.01 < value < 0.5 for value in found.values())
    assert found["B08"] > found["B04"]


def test_level_1c_with_its_time_tag():
    folder = data_path("s2_eopatch_slovenia")
    data = open_scene(folder / "S2_L1C_2015-07-11.tif", level="L1C", **S2)
    assert data["time"].values[0] == np.datetime64("2015-07-11T10:00:08", "ns")
    found = medians(data)
    assert 0.0 < found["B10"] < 0.005
    assert found["B08"] > 3 * found["B04"]
    with pytest.raises(ConfigurationError, match="claim to be band B01"):
        describe_scene(folder, sensor="sentinel-2", level="L1C", scale=1e-4, offset=0)


def test_landsat_8_with_its_metadata():
    path = data_path("landsat8_cloudy_20150804", "l8_MTL.txt")
    data = open_scene(path, chunks=None, checksums=False)
    assert describe_scene(path).mask.kind == "landsat_qa"
    found = medians(data)
    assert all(0.0 < found[name] < 0.5 for name in ("B1", "B2", "B3", "B4", "B5", "B6", "B7"))
    assert 280 < found["B10"] < 305
    assert np.nanmin(data["B10"].values) < 265  # tops of the cumulus clouds


def test_landsat_5_before_reflectance_coefficients():
    folder = data_path("landsat5_para_1988")
    data = open_scene(folder, chunks=None, checksums=False)
    found = medians(data)
    assert found["B4"] > 3 * found["B3"]
    assert 290 < found["B6"] < 302
    joined = open_scene(f"{folder}/LT5_1988-08-14_dn.tif+LT52240631988227CUB02_MTL.txt", chunks=None, bands=["B4"])
    np.testing.assert_array_equal(joined["B4"].values, data["B4"].values)


def test_one_band_files_of_two_sensors_in_one_folder():
    folder = data_path("bigearthnet_v2_samples")
    optical = open_scene(folder, level="L2A", **S2)
    assert len(optical.data_vars) == 12
    assert optical["time"].values[0] == np.datetime64("2017-06-13T10:10:31", "ns")
    radar = open_scene(folder, sensor="sentinel-1", level="GRD", chunks=None)
    assert radar["VV"].attrs["units"] == "dB"
    assert medians(radar)["VV"] > medians(radar)["VH"]


def test_one_band_files_in_degrees():
    data = open_scene(data_path("oscd", "saclay_e", "imgs_1"), level="L1C", time="2016-03-15", **S2)
    assert len(data.data_vars) == 13
    assert data.odc.geobox.shape == (639, 688)
    assert all(0.0 < value < 0.4 for value in medians(data).values())


def test_hyperspectral_cube():
    folder = data_path("enmap_hyspecnet_patch")
    with pytest.raises(ConfigurationError, match="--bands"):
        describe_scene(folder, sensor="enmap", level="L2A")
    data = open_scene(folder, sensor="enmap", level="L2A", bands=["all"], checksums=False)
    assert len(data.data_vars) == 224
    assert data["time"].values[0] == np.datetime64("2022-11-03T16:24:38", "ns")
    assert np.isnan(data["B130"].values).all()
    assert 0.0 < float(np.nanmedian(data["B030"].values)) < 0.1  # open water


def test_radar_and_optical_patches_of_one_place():
    base = data_path("ssl4eo_s12_patch_0000200")
    radar = sorted((base / "s1" / "0000200").iterdir())
    optical = sorted((base / "s2a" / "0000200").iterdir()) + sorted((base / "s2c" / "0000200").iterdir())
    for path in radar:
        data = open_scene(path, sensor="sentinel-1", level="GRD", chunks=None, checksums=False)
        assert -13 < medians(data)["VV"] < -7
    for path in optical:
        level = "L2A" if path.parent.parent.name == "s2a" else "L1C"
        data = open_scene(path, level=level, **S2)
        assert not np.isnat(data["time"].values[0])
        assert all(0.0 < value < 0.5 for value in medians(data).values())


@pytest.mark.parametrize("date", ["20170703", "20190723"])
def test_the_two_levels_differ_as_the_atmosphere_makes_them(date):
    folder = data_path("s2_l1c_l2a_pair_barbellino")
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12"]
    top = open_scene(folder / f"S2A1C_{date}_022_Barbellino_TOA_10.tif", level="L1C", bands=names, **S2)
    below = [name for name in names if name != "B10"]
    mask = {"file": f"S2A2A_{date}_022_Barbellino_SCL_10.tif", "kind": "scl"}
    surface = open_scene(folder / f"S2A2A_{date}_022_Barbellino_BOA_10.tif", level="L2A", bands=below, mask=mask, **S2)
    upper, lower = medians(top), medians(surface)
    # Rayleigh scattering adds to blue light; absorption by water vapour takes from 945 nm.
    assert upper["B01"] > lower["B01"]
    assert upper["B02"] > lower["B02"]
    assert upper["B09"] < lower["B09"]
    assert all(0.0 < value < 0.5 for value in lower.values())


def test_undeclared_offset_is_asked_for():
    path = data_path("s2_amazon_village", "S2_L2A_12band.tif")
    with pytest.raises(ConfigurationError, match="--offset"):
        describe_scene(path, sensor="sentinel-2", level="L2A")
    assert medians(open_scene(path, level="L2A", **(S2 | {"offset": -0.1})))["B04"] < 0.06
