import csv
import json

import numpy as np
import pytest
import rasterio
import typer
from rasterio.transform import from_origin
from typer.testing import CliRunner

from ecumene.cli.unmix import unmix as unmix_command
from ecumene.core.errors import ConfigurationError, ContractError, EcumeneError, ProductError, SceneError
from ecumene.mapping.product import open_product
from ecumene.sensors import get_sensor
from ecumene.workflows.spectral_library import library_for, read_library
from ecumene.workflows.unmix import unmix_scene

BANDS = [f"B{k:03d}" for k in range(1, 61)]
ROWS, COLS = 40, 50
MATERIALS = ("soil", "leaf", "water")


def waves():
    sensor = get_sensor("enmap")
    return np.array([sensor.band(name).center_wavelength_um for name in BANDS])


def materials(w):
    leaf = 0.05 + 0.45 / (1 + np.exp(-(w - 0.71) / 0.015)) + 0.05 * np.exp(-(((w - 0.55) / 0.03) ** 2))
    return np.column_stack([0.1 + 0.35 * (w - 0.4), leaf, 0.08 * np.exp(-(w - 0.4) / 0.15)])


@pytest.fixture
def cube(tmp_path):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), ROWS * COLS).astype(np.float64)
    shares[:3] = np.eye(3)
    reflectance = shares @ materials(waves()).T + 0.002 * rng.normal(size=(ROWS * COLS, len(BANDS)))
    stored = np.rint(np.clip(reflectance, 0, None) * 10_000).astype(np.int16).T.reshape(-1, ROWS, COLS)
    stored[:, 5, 7] = -32768
    stored[10:30, 20, 30] += 3000
    stored[58] = -32768  # a band without data anywhere
    path = tmp_path / "cube.tif"
    profile = {
        "driver": "GTiff",
        "height": ROWS,
        "width": COLS,
        "count": len(BANDS),
        "dtype": "int16",
        "nodata": -32768,
    }
    with rasterio.open(path, "w", crs="EPSG:32633", transform=from_origin(4e5, 5.8e6, 30, 30), **profile) as sink:
        sink.write(stored)
        for k, name in enumerate(BANDS, 1):
            sink.set_band_description(k, name)
    return path, shares.T.reshape(3, ROWS, COLS)


def options():
    return {"sensor": "enmap", "level": "L2A", "scale": 1e-4, "offset": 0.0, "bands": BANDS}


def write_csv(path, first, column, values, names=MATERIALS):
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow([first, *names])
        writer.writerows([[key, *row] for key, row in zip(column, values, strict=True)])
    return path


def test_library_in_a_product_like_every_other(cube, tmp_path):
    path, truth = cube
    fine = np.linspace(0.38, 2.5, 4000)
    library = write_csv(tmp_path / "lib.csv", "wavelength_nm", fine * 1000, materials(fine))
    product = unmix_scene(path, tmp_path / "out", endmembers=library, **options())
    assert list(product.layers) == ["abundance", "uncertainty", "outlier", "valid", "residual"]
    assert product.layers["abundance"].band_names == MATERIALS
    assert {"endmembers", "shares"} <= set(product.item["assets"])
    with rasterio.open(product.path("abundance")) as a, rasterio.open(product.path("uncertainty")) as u:
        value, error = a.read(), u.read()
        assert a.crs.to_epsg() == 32633
        assert a.descriptions == MATERIALS
    with rasterio.open(product.path("outlier")) as o, rasterio.open(product.path("valid")) as v:
        outlier, valid = o.read(1), v.read(1)
    assert valid[5, 7] == 0
    assert valid.sum() == ROWS * COLS - 1
    assert np.isnan(value[:, 5, 7]).all()
    assert outlier[20, 30] == 1
    assert (outlier == 1).sum() < 5
    good = (valid == 1) & (outlier == 0)
    z = np.abs(value - truth)[:, good] / error[:, good]
    np.testing.assert_allclose(value[:, good].sum(axis=0), 1.0, atol=1e-5)
    assert np.abs(value - truth)[:, good].max() < 0.1
    assert 0.5 < np.mean(z < 1) < 0.85
    results = product.properties["ecumene:results"]
    assert results["bands_without_data"] == ["B059"]
    assert product.properties["ecumene:method"]["parameters"]["constraint"] == "fcls"
    links = [link for link in product.item["links"] if link["rel"] == "derived_from"]
    assert links[0]["href"] == "cube.tif"
    assert str(tmp_path) not in json.dumps(product.item)
    open_product(tmp_path / "out", verify=True)


def test_automatic_endmembers_can_be_used_again(cube, tmp_path):
    path, truth = cube
    first = unmix_scene(path, tmp_path / "auto", endmembers="auto:3", extraction="n-findr", **options())
    with rasterio.open(first.path("abundance")) as source:
        value = source.read()
    found = read_library(tmp_path / "auto" / "endmembers.csv")
    assert len(found.bands) == 59
    again = unmix_scene(
        path, tmp_path / "again", endmembers=tmp_path / "auto" / "endmembers.csv", **options() | {"bands": BANDS}
    )
    with rasterio.open(again.path("abundance")) as source:
        np.testing.assert_allclose(source.read(), value, atol=1e-5)
    correlations = np.abs(np.corrcoef(value.reshape(3, -1)[:, 500:1000], truth.reshape(3, -1)[:, 500:1000])[:3, 3:])
    assert correlations.max(axis=1).min() > 0.95
    with pytest.raises(ProductError, match="overwrite"):
        unmix_scene(path, tmp_path / "auto", endmembers="auto:3", **options())
    unmix_scene(path, tmp_path / "auto", endmembers="auto", overwrite=True, **options())
    assert open_product(tmp_path / "auto").properties["ecumene:results"]["hysime_dimension"] >= 2


def test_library_by_the_sensors_own_wavelengths_is_not_resampled(tmp_path):
    values = np.random.default_rng(1).uniform(0, 1, (60, 3))
    order = np.random.default_rng(2).permutation(60)
    path = write_csv(tmp_path / "own.csv", "wavelength_um", waves()[order], values[order])
    np.testing.assert_array_equal(library_for(read_library(path), "enmap", tuple(BANDS)), values)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: write_csv(p, "band", BANDS[:40], np.ones((40, 3))), ContractError, "B041"),
        (lambda p: write_csv(p, "wavelength_um", [0.5, 0.6], np.ones((2, 3))), ContractError, "not covered"),
        (lambda p: write_csv(p, "colour", ["a"], np.ones((1, 3))), ConfigurationError, "first column"),
        (lambda p: write_csv(p, "band", BANDS, np.full((60, 3), np.nan)), ConfigurationError, "finite number"),
        (
            lambda p: write_csv(p, "band", BANDS, np.outer(np.arange(1, 61), [1, 2, 3])),
            ConfigurationError,
            "linearly dependent",
        ),
        (lambda p: write_csv(p, "band", BANDS, np.ones((60, 3)), ("a", "a", "b")), ConfigurationError, "different"),
        (lambda p: p, ConfigurationError, "cannot be read"),
        (lambda p: "auto:1", ConfigurationError, "at least two"),
    ],
)
def test_bad_libraries_are_one_sentence(cube, tmp_path, make, error, words):
    with pytest.raises(error, match=words) as caught:
        unmix_scene(cube[0], tmp_path / "out", endmembers=make(tmp_path / "lib.csv"), **options())
    assert isinstance(caught.value, EcumeneError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "item.json").exists()


def test_a_scene_without_data_is_refused(tmp_path):
    path = tmp_path / "empty.tif"
    profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 60, "dtype": "int16", "nodata": -1}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=from_origin(0, 0, 30, 30), **profile) as sink:
        sink.write(np.full((60, 8, 8), -1, np.int16))
    with pytest.raises(SceneError, match="data"):
        unmix_scene(path, tmp_path / "out", endmembers="auto:3", nodata=-1, **options())


def test_command(cube, tmp_path):
    app = typer.Typer()
    app.command()(unmix_command)
    arguments = [str(cube[0]), "--out", str(tmp_path / "cli"), "--endmembers", "auto:3", "--sensor", "enmap"]
    arguments += ["--level", "L2A", "--scale", "0.0001", "--offset", "0", "--bands", "B001:B060"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "abundance" in result.output
    assert open_product(tmp_path / "cli").layers["abundance"].band_names == tuple(f"endmember {k}" for k in (1, 2, 3))
