"""Members and numbers from the scene to the map: train, save, map, all layers."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
from end_to_end import raster_bytes, read

from ecumene import map_scenes, train_model
from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.models.bundle import Model

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them


def physical(product, name):
    with rasterio.open(product.path(name)) as dataset:
        return dataset.read(1, masked=True) * dataset.scales[0] + dataset.offsets[0]


@pytest.fixture(scope="module")
def sampled(town, scene, tmp_path_factory):
    """A small U-Net with four posterior samples, and its map."""
    folder = tmp_path_factory.mktemp("sampled")
    model = train_model(
        scene, town.labels, folder / "model", system="unet-small", split_by="feature", epochs=2, seed=1,
        uncertainty="laplace:4",
    )  # fmt: skip
    return model, map_scenes(folder / "model", scene, folder / "product", tile=64)


def test_a_map_of_members_has_the_parts_of_its_uncertainty(sampled):
    model, product = sampled
    assert model.objective.members == 4
    assert {"value", "uncertainty", "aleatoric", "epistemic", "probability", "outlier", "valid"} <= set(product.layers)
    total, inner, outer = (physical(product, name) for name in ("uncertainty", "aleatoric", "epistemic"))
    assert total.count() == inner.count() == outer.count() == (read(product.path("valid")) == 1).sum()
    assert float(np.abs(total - inner - outer).max()) <= 2 * 0.5 / 250 + 1e-6
    assert 0 <= outer.min() < outer.max() <= 1
    assert model.spec.training["history"]["uncertainty"]["method"] == "laplace"
    assert model.spec.training["accuracy"]["pixels"] > 0


def test_members_survive_the_bundle_and_map_to_the_same_bytes(sampled, scene, tmp_path):
    model, product = sampled
    folder = product.folder.parent / "model"
    loaded = Model.load(folder)
    assert loaded.objective.to_config() == model.objective.to_config()
    # Other tiles, the same numbers: members are fixed, so that nothing depends on where a window lies.
    again = map_scenes(folder, scene, tmp_path / "again", tile=64)
    assert raster_bytes(again.folder) == raster_bytes(product.folder)


@pytest.fixture(scope="module")
def heights(town, tmp_path_factory):
    """Polygons with a number that the bands tell: the column `height`, and a column without meaning for it."""
    frame = geopandas.read_file(town.labels)
    rng = np.random.default_rng(0)
    usual = {name: 5.0 * rank for rank, name in enumerate(sorted(frame["class"].unique()))}
    frame["height"] = frame["class"].map(usual) + rng.normal(0, 1, len(frame))
    frame["constant"] = 3.0
    path = tmp_path_factory.mktemp("heights") / "heights.gpkg"
    frame.to_file(path, driver="GPKG")
    return path


def test_numbers_are_mapped_with_error_bars_and_intervals(town, scene, heights, tmp_path):
    model = train_model(
        scene, heights, tmp_path / "model", target="height", target_unit="m", system="mlp-pixel", split_by="feature",
        epochs=8, seed=2, uncertainty="ensemble:2", holdout=tmp_path / "held.gpkg",
    )  # fmt: skip
    card = model.spec.training["accuracy"]
    assert card["errors"]["r2"] > 0.1
    assert 0 < card["error_bars"]["mean_epistemic_standard_deviation"] < card["error_bars"]["mean_standard_deviation"]
    assert 0 < card["intervals"]["coverage"] <= 1
    held = geopandas.read_file(tmp_path / "held.gpkg")
    assert {"height", "block"} <= set(held.columns)
    product = map_scenes(tmp_path / "model", scene, tmp_path / "product")
    assert {"value", "uncertainty", "aleatoric", "epistemic", "lower", "upper", "outlier", "valid"} == set(
        product.layers
    )
    assert product.layers["value"].unit == "m"
    value, total, inner, outer, lower, upper = (
        physical(product, name) for name in ("value", "uncertainty", "aleatoric", "epistemic", "lower", "upper")
    )
    np.testing.assert_allclose(total**2, inner**2 + outer**2, rtol=1e-3)
    assert (lower < value).all()
    assert (value < upper).all()
    numbers = geopandas.read_file(heights)["height"]
    assert numbers.min() - 10 < value.min() < value.max() < numbers.max() + 10


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"target": "nothing"}, LabelError, "nothing"),
        ({"target": "class"}, LabelError, "not numeric"),
        ({"target": "constant"}, LabelError, "the same"),
        ({"target": "height", "system": "random-forest"}, ConfigurationError, "classes only"),
        ({"system": "random-forest", "uncertainty": "ensemble"}, ConfigurationError, "needs a network"),
        ({"uncertainty": "magic"}, ConfigurationError, "there are: single"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(scene, heights, tmp_path, options, error, sentence):
    with pytest.raises(error, match=sentence):
        train_model(scene, heights, tmp_path / "model", **options)
    assert not (tmp_path / "model").exists()
