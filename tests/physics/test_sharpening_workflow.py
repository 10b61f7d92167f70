import json

import numpy as np
import pytest
import rasterio
import typer
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from ecumene.cli.sharpen import sharpen as sharpen_command
from ecumene.core.errors import ConfigurationError, ContractError, ProductError, SceneError
from ecumene.mapping.product import open_product
from ecumene.physics.sharpening import ScalePair
from ecumene.workflows.sharpen import sharpen_scene

COARSE, FINE = ("B05", "B06", "B11"), ("B03", "B08")
SENSOR = {"sensor": "sentinel-2", "level": "L2A", "offset": 0.0}


def write(path, image, pixel, names, origin=(4e5, 5.8e6), crs="EPSG:32633"):
    stored = np.rint(np.nan_to_num(image, nan=0.0) * 10_000).astype(np.uint16)
    profile = {"driver": "GTiff", "height": image.shape[1], "width": image.shape[2], "count": len(image)}
    with rasterio.open(
        path, "w", dtype="uint16", nodata=0, crs=crs, transform=from_origin(*origin, pixel, pixel), **profile
    ) as sink:
        sink.write(stored)
        for k, name in enumerate(names, 1):
            sink.set_band_description(k, name)
    return path


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(0)
    fields = gaussian_filter(rng.normal(size=(4, 128, 128)), (0, 3, 3)).argmax(axis=0)
    spectra = rng.uniform(0.05, 0.5, (5, 4))
    image = spectra[:, fields] * (1 + 0.1 * gaussian_filter(rng.normal(size=(128, 128)), 0.7))
    low = ScalePair((64, 64), 2).degrade(image[:3])
    low[:, 3, 4] = np.nan
    coarse = write(tmp_path / "coarse.tif", low, 20, COARSE)
    # The fine scene covers less, and lies one pixel off in what it shows.
    fine = np.roll(image[3:], (1, 0), axis=(1, 2))[:, :120]
    return coarse, write(tmp_path / "fine.tif", fine, 10, FINE), image[:3]


def test_product_on_the_fine_grid(pair, tmp_path):
    coarse, fine, truth = pair
    product = sharpen_scene(coarse, fine, tmp_path / "out", method="mtf-glp", with_declaration=SENSOR, **SENSOR)
    assert list(product.layers) == ["value", "uncertainty", "outlier", "valid"]
    assert product.layers["value"].band_names == COARSE
    assert product.geobox.shape == (120, 128)
    assert product.geobox.affine.a == 10
    with rasterio.open(product.path("value")) as v, rasterio.open(product.path("uncertainty")) as u:
        value, error = v.read(), u.read()
    with rasterio.open(product.path("valid")) as v, rasterio.open(product.path("outlier")) as o:
        valid, outlier = v.read(1), o.read(1)
    assert (valid[6:8, 8:10] == 0).all()
    assert valid[20:110].all()
    assert outlier[8, 8] == 1
    results = product.properties["ecumene:results"]
    assert (results["shift_rows"], results["shift_columns"]) == (-1.0, 0.0)
    assert results["explained"] > results["explained_before"]
    inner = (slice(None), slice(10, 110), slice(10, 118))
    z = (value - truth[:, :120])[inner] / error[inner]
    assert 0.4 < np.sqrt(np.mean(z**2)) < 2.0
    assert "B08" in product.properties["processing:lineage"]
    assert {link["href"] for link in product.item["links"]} == {"coarse.tif", "fine.tif"}
    assert str(tmp_path) not in json.dumps(product.item)
    open_product(tmp_path / "out", verify=True)
    unmoved = sharpen_scene(
        coarse, fine, tmp_path / "raw", method="mtf-glp", register=False, with_declaration=SENSOR, **SENSOR
    )
    assert unmoved.properties["ecumene:results"]["shift_rows"] == 0.0
    with rasterio.open(unmoved.path("value")) as source:
        worse = source.read()
    assert np.mean((worse - truth[:, :120])[inner] ** 2) > 1.5 * np.mean((value - truth[:, :120])[inner] ** 2)
    with pytest.raises(ProductError, match="overwrite"):
        sharpen_scene(coarse, fine, tmp_path / "out", method="brovey", with_declaration=SENSOR, **SENSOR)


def test_fine_scene_on_another_lattice_is_resampled(pair, tmp_path):
    coarse, _, truth = pair
    other = write(tmp_path / "other.tif", truth[:, :, :], 10, COARSE, origin=(4e5 + 3, 5.8e6 - 4))
    product = sharpen_scene(
        coarse, other, tmp_path / "out", method="mtf-glp", nyquist_gain=0.3, with_declaration=SENSOR, **SENSOR
    )
    assert product.geobox.affine.c == 4e5
    assert product.properties["ecumene:results"]["nyquist_gain"] == 0.3


def test_bad_input_is_one_sentence(pair, tmp_path):
    coarse, fine, truth = pair
    out, keywords = tmp_path / "out", {"with_declaration": SENSOR, **SENSOR}
    with pytest.raises(ContractError, match="order"):
        sharpen_scene(fine, coarse, out, **keywords)
    with pytest.raises(ConfigurationError, match="joint-sparsity"):
        sharpen_scene(coarse, fine, out, method="magic", **keywords)
    uneven = write(tmp_path / "uneven.tif", truth, 13, COARSE)
    with pytest.raises(ContractError, match="whole number"):
        sharpen_scene(coarse, uneven, out, **keywords)
    far = write(tmp_path / "far.tif", truth, 10, COARSE, origin=(6e5, 5.8e6))
    with pytest.raises(SceneError, match="share no pixel"):
        sharpen_scene(coarse, far, out, **keywords)
    assert not (out / "item.json").exists()


def test_command(pair, tmp_path):
    coarse, fine, _ = pair
    app = typer.Typer()
    app.command()(sharpen_command)
    arguments = [str(coarse), "--with", str(fine), "--out", str(tmp_path / "cli"), "--method", "joint-sparsity"]
    arguments += ["--sensor", "sentinel-2", "--level", "L2A", "--offset", "0", "--with-offset", "0"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert open_product(tmp_path / "cli").properties["ecumene:method"]["name"] == "sharpen-joint-sparsity"
