"""The verb despeckle: from a file to a product, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, ContractError, ProductError, SceneError
from ecumene.mapping.product import open_product
from ecumene.physics.speckle.simulate import complex_speckle, gamma_speckle
from ecumene.workflows.despeckle import despeckle


def _write(path, array, crs="EPSG:32633"):
    profile = {"driver": "GTiff", "height": array.shape[1], "width": array.shape[2], "count": array.shape[0]}
    with rasterio.open(
        path, "w", dtype=array.dtype, crs=crs, transform=from_origin(500000, 5000000, 10, 10), **profile
    ) as out:
        out.write(array)
    return path


@pytest.fixture
def backscatter(tmp_path):
    rng = np.random.default_rng(0)
    power = np.stack([0.1 * gamma_speckle(rng, (80, 90), 4.4), 0.02 * gamma_speckle(rng, (80, 90), 4.4)])
    power[:, :10, :10] = np.nan
    return _write(tmp_path / "scene.tif", (10 * np.log10(power)).astype(np.float32))


DECLARED = {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV", "VH"]}


def test_decibel_scene(backscatter, tmp_path):
    product = despeckle(backscatter, tmp_path / "out", method="refined-lee", looks=4.4, **DECLARED)
    assert {"value", "uncertainty", "outlier", "valid"} <= set(product.layers)
    assert product.layers["value"].unit == "dB"
    with rasterio.open(product.path("value")) as source:
        value = source.read()
    with rasterio.open(product.path("uncertainty")) as source:
        error = source.read()
    with rasterio.open(product.path("valid")) as source:
        valid = source.read(1)
    assert not valid[:10, :10].any()
    assert valid[20:].all()
    assert np.nanmean(value[0]) == pytest.approx(-10.0, abs=0.2)
    assert np.nanmean(value[1]) == pytest.approx(-17.0, abs=0.2)
    assert 0.1 < np.nanmedian(error) < 1.0
    found = product.properties["ecumene:results"]
    assert found["VV"]["looks"] == 4.4
    assert open_product(product.folder, verify=True).layers.keys() == product.layers.keys()


def test_strips_do_not_show(backscatter, tmp_path, monkeypatch):
    import ecumene.workflows.despeckle as module

    options = {"method": "nonlocal", "looks": 4.4, "share": 1.0, "search": 11, **DECLARED}
    whole = despeckle(backscatter, tmp_path / "whole", **options)
    monkeypatch.setattr(module, "_STRIP", 30)
    cut = despeckle(backscatter, tmp_path / "cut", **options)
    with rasterio.open(whole.path("value")) as first, rasterio.open(cut.path("value")) as second:
        np.testing.assert_allclose(first.read(), second.read(), atol=0.05)


def test_complex_scene_and_network(tmp_path):
    pytest.importorskip("torch")
    slc = complex_speckle(np.random.default_rng(1), (64, 64)).astype(np.complex64)[None]
    path = _write(tmp_path / "slc.tif", slc)
    product = despeckle(path, tmp_path / "lee", method="gamma-map")
    assert product.properties["ecumene:results"]["band-1"]["looks"] == 1.0
    trained = despeckle(path, tmp_path / "net", method="merlin", steps=2)
    weights = trained.folder / "network-1.safetensors"
    again = despeckle(path, tmp_path / "again", method="merlin", network=weights)
    with rasterio.open(trained.path("value")) as first, rasterio.open(again.path("value")) as second:
        np.testing.assert_allclose(first.read(), second.read(), rtol=1e-5)


def test_refusals(backscatter, tmp_path):
    with pytest.raises(ConfigurationError, match="method"):
        despeckle(backscatter, tmp_path / "a", method="blur", **DECLARED)
    with pytest.raises(ContractError, match="complex"):
        despeckle(backscatter, tmp_path / "a", method="merlin", **DECLARED)
    (tmp_path / "bad.tif").write_bytes(b"not an image")
    with pytest.raises(SceneError):
        despeckle(tmp_path / "bad.tif", tmp_path / "a")
    optical = _write(tmp_path / "s2.tif", np.ones((1, 20, 20), np.uint16))
    with pytest.raises(ContractError, match="radar"):
        despeckle(optical, tmp_path / "a", sensor="sentinel-2", level="L1C", bands=["B04"], offset=0.0)
    bare = _write(tmp_path / "bare.tif", np.ones((1, 64, 64), np.complex64), crs=None)
    with pytest.raises(ProductError, match="--crs"):
        despeckle(bare, tmp_path / "b", method="refined-lee", share=1.0)
    done = despeckle(backscatter, tmp_path / "done", method="refined-lee", looks=4.4, **DECLARED)
    with pytest.raises(ProductError, match="--overwrite"):
        despeckle(backscatter, done.folder, method="refined-lee", **DECLARED)


def test_a_scene_without_even_areas_has_one_look_at_least_and_bounded_decibels(tmp_path):
    rng = np.random.default_rng(2)
    texture = gamma_speckle(rng, (90, 90), 0.5, correlation_px=2.0)
    power = np.maximum(texture * gamma_speckle(rng, (90, 90), 1.0), 1e-9)[None]
    scene = _write(tmp_path / "city.tif", (10 * np.log10(power)).astype(np.float32))
    product = despeckle(scene, tmp_path / "out", search=11, **(DECLARED | {"bands": ["VV"]}))
    found = product.properties["ecumene:results"]["VV"]
    assert found["looks"] == 1.0
    assert found["error_bar_factor"] >= 1.0
    with rasterio.open(product.path("uncertainty")) as source:
        assert np.nanmax(source.read()) < 15.0  # an error of ten times the value is ten decibels, not forty
