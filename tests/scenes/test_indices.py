import numpy as np
import pytest
import xarray as xr

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.scenes.contract import Channel
from ecumene.scenes.indices import channel_index, list_indices, spectral_index

spyndex = pytest.importorskip("spyndex")
S2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
CENTRES = {
    "lambdaN": 832.8,
    "lambdaR": 664.6,
    "lambdaG": 559.8,
    "lambdaS1": 1613.7,
    "lambdaS2": 2202.4,
    "lambdaN2": 864.7,
}


def bands(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.02, 0.6, (5, 6)) for name in S2}


def test_known_indices_by_band_name():
    b = bands()
    ndvi = spectral_index("NDVI", b, sensor="sentinel-2")
    np.testing.assert_allclose(ndvi, (b["B08"] - b["B04"]) / (b["B08"] + b["B04"]), rtol=1e-6)
    assert ndvi.dtype == np.float32
    ndbi = spectral_index("NDBI", b, sensor="sentinel-2")
    np.testing.assert_allclose(ndbi, (b["B11"] - b["B08"]) / (b["B11"] + b["B08"]), rtol=1e-6)
    evi = spectral_index("EVI", b, sensor="sentinel-2")
    expected = 2.5 * (b["B08"] - b["B04"]) / (b["B08"] + 6 * b["B04"] - 7.5 * b["B02"] + 1)
    np.testing.assert_allclose(evi, expected, rtol=1e-5)
    savi = spectral_index("SAVI", {"nir": b["B08"], "red": b["B04"]}, L=0.5)
    np.testing.assert_allclose(savi, 1.5 * (b["B08"] - b["B04"]) / (b["B08"] + b["B04"] + 0.5), rtol=1e-6)


def test_every_listed_index_agrees_with_the_catalogue_s_own_evaluation():
    b = bands(3)
    symbols = dict(zip(["A", "B", "G", "R", "RE1", "RE2", "RE3", "N", "N2", "WV", "S1", "S2"], S2, strict=True))
    checked = 0
    for name in list_indices("sentinel-2"):
        if "PAR" in spyndex.indices[name].bands:  # a measured radiation that has no default
            continue
        ours = spectral_index(name, b, sensor="sentinel-2")
        parameters = {
            symbol: b[symbols[symbol]]
            if symbol in symbols
            else CENTRES.get(symbol, spyndex.constants[symbol].default if symbol in spyndex.constants else None)
            for symbol in spyndex.indices[name].bands
        }
        with np.errstate(all="ignore"):
            theirs = np.asarray(spyndex.computeIndex(name, parameters), float)
        both = np.isfinite(ours) & np.isfinite(theirs)
        np.testing.assert_allclose(ours[both], theirs[both], rtol=2e-4, atol=1e-5, err_msg=name)
        checked += 1
    assert checked > 200


def test_denominators_are_guarded():
    values = {"nir": np.array([0.0, 0.3, np.nan, 0.2]), "red": np.array([0.0, 0.1, 0.1, -0.2])}
    result = spectral_index("NDVI", values)
    np.testing.assert_allclose(result, [np.nan, 0.5, np.nan, np.nan], rtol=1e-6)


def test_a_data_set_keeps_its_coordinates():
    dims = ("time", "y", "x")
    data = xr.Dataset(
        {name: (dims, np.full((1, 2, 2), value)) for name, value in (("B04", 0.1), ("B08", 0.3))},
        coords={"y": [2.0, 1.0], "x": [0.0, 1.0]},
        attrs={"sensor": "sentinel-2"},
    )
    result = spectral_index("NDVI", data)
    assert isinstance(result, xr.DataArray)
    assert result.name == "NDVI"
    assert result.dims == dims
    np.testing.assert_array_equal(result["y"], [2.0, 1.0])
    np.testing.assert_allclose(result, 0.5)


def test_radar_decibels_become_power():
    vv, vh = np.array([[-8.0]]), np.array([[-15.0]])
    channels = (Channel("sentinel-1", "GRD", "VV", "dB"), Channel("sentinel-1", "GRD", "VH", "dB"))
    image = np.stack([vv, vh])
    power_vv, power_vh = 10**-0.8, 10**-1.5
    expected = (power_vv - power_vh) / (power_vv + power_vh)
    np.testing.assert_allclose(channel_index("NDPolI", image, channels), [[expected]], rtol=1e-5)
    data = xr.Dataset({"VV": (("y", "x"), vv, {"units": "dB"}), "VH": (("y", "x"), vh, {"units": "dB"})})
    np.testing.assert_allclose(spectral_index("NDPolI", data), [[expected]], rtol=1e-5)


def test_a_stack_s_sensors_are_not_mixed():
    channels = (
        Channel("landsat-8", "L2", "B4", "1"),
        Channel("sentinel-2", "L2A", "B08", "1"),
        Channel("sentinel-2", "L2A", "B04", "1"),
    )
    image = np.array([0.9, 0.3, 0.1], np.float32)[None, :, None, None]
    np.testing.assert_allclose(channel_index("NDVI", image, channels), [[[0.5]]], rtol=1e-6)
    with pytest.raises(ContractError, match="NDVI needs Near-Infrared"):
        channel_index("NDVI", image[:, :1], channels[:1])


def test_landsat_near_infrared_serves_the_usual_indices():
    assert "NDVI" in list_indices("landsat-8")
    assert "NDVI" not in list_indices("sentinel-1")
    assert "NDVI" not in list_indices("sentinel-2", bands=["B02", "B04"])
    assert set(list_indices("sentinel-2", domain="water")) < set(list_indices("sentinel-2"))


def test_mistakes_are_sentences():
    with pytest.raises(ConfigurationError, match="no spectral index 'NDXX'"):
        spectral_index("NDXX", bands())
    with pytest.raises(ContractError, match=r"needs .*Red.* not among"):
        spectral_index("NDVI", {"B08": np.ones(1)}, sensor="sentinel-2")
    with pytest.raises(ConfigurationError, match="no constant gamma"):
        spectral_index("NDVI", bands(), sensor="sentinel-2", gamma=1.0)
    with pytest.raises(ConfigurationError, match="needs a value for its constant PAR"):
        spectral_index("NIRvP", bands(), sensor="sentinel-2")
