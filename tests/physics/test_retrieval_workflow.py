"""The verb retrieve: from a cube to a product, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.retrieval.forward import ForwardModel, two_way_air_mass
from ecumene.physics.retrieval.solar import solar_irradiance
from ecumene.sensors import get_sensor
from ecumene.workflows.retrieve import retrieve

DECLARED = {"sensor": "enmap", "level": "L1C", "scale": 1.0, "offset": 0.0, "bands": ["all"]}


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    sensor = get_sensor("enmap")
    center = np.array([band.center_wavelength_um for band in sensor.bands])
    width = np.array([band.full_width_half_max_um for band in sensor.bands])
    forward = ForwardModel(center, width, two_way_air_mass(40.0), ("h2o",))
    states = np.tile(forward.prior()[0], (100, 1))
    states[:, 0] = np.linspace(8.0, 35.0, 100)
    reflectance = forward(states)[0] + 0.001 * np.random.default_rng(0).standard_normal((100, center.size))
    radiance = reflectance * solar_irradiance(center) * np.cos(np.radians(40.0)) / np.pi / 1e3
    radiance[55] = np.nan
    path = tmp_path_factory.mktemp("cube") / "cube.tif"
    profile = {"driver": "GTiff", "height": 10, "width": 10, "count": center.size, "dtype": "float32"}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=from_origin(500000, 5000000, 30, 30), **profile) as out:
        out.write(radiance.T.reshape(center.size, 10, 10).astype(np.float32))
    return path, states[:, 0]


def test_water_vapour_from_radiances(cube, tmp_path):
    path, truth = cube
    product = retrieve(path, tmp_path / "out", sun_zenith_deg=40.0, noise=0.001, **DECLARED)
    with rasterio.open(product.path("h2o")) as source:
        value = source.read(1).ravel()
    with rasterio.open(product.path("h2o-deviation")) as source:
        error = source.read(1).ravel()
    with rasterio.open(product.path("valid")) as source:
        valid = source.read(1).ravel() == 1
    np.testing.assert_array_equal(np.flatnonzero(~valid), [55])
    assert product.layers["h2o"].unit == "kg m-2"
    ratio = (value - truth)[valid] / error[valid]
    assert 0.5 < (np.abs(ratio) < 1).mean() < 0.9
    assert np.abs(ratio).max() < 4.5
    assert product.properties["ecumene:method"]["parameters"]["air_mass"] == pytest.approx(
        1 + 1 / np.cos(np.radians(40))
    )


def test_refusals(cube, tmp_path):
    path, _ = cube
    common = {"sun_zenith_deg": 40.0, **DECLARED}
    for options, error, words in (
        ({"method": "guess"}, ConfigurationError, "method"),
        ({"state": ["xenon"], "noise": 0.01}, ConfigurationError, "no gas"),
        ({}, ConfigurationError, "--noise"),
        ({"noise": 0.01, "sun_zenith_deg": 89.0}, ConfigurationError, "zenith"),
        ({"noise": 0.01, "windows_um": [(1.0, 0.9)]}, ConfigurationError, "wavelength"),
        ({"noise": 0.01, "windows_um": [(0.93, 0.945)]}, ContractError, "bands"),
        ({"noise": 0.01, "level": "L2A"}, ContractError, "top of the atmosphere"),
    ):
        with pytest.raises(error, match=words):
            retrieve(path, tmp_path / "a", **{**common, **options})
