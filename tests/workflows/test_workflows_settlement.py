"""Settlement extent and zones from scenes to a map, with the error bar of each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

torch = pytest.importorskip("torch")

from zone_town import ZONES, ZoneTown, write_zone_town  # noqa: E402

from ecumene.core.errors import ConfigurationError, LabelError  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.samples.labels import read_labels  # noqa: E402
from ecumene.simulate.writing import write_raster  # noqa: E402
from ecumene.systems import System, get_system  # noqa: E402
from ecumene.workflows import settlement  # noqa: E402
from ecumene.workflows.map import map_scenes  # noqa: E402
from ecumene.workflows.settlement import train_settlement  # noqa: E402
from ecumene.workflows.settlement_trust import extent_errors  # noqa: E402
from ecumene.workflows.train import train_model  # noqa: E402

torch.set_num_threads(1)
BANDS = ["B02", "B03", "B04", "B08", "B11", "B12"]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> ZoneTown:
    return write_zone_town(tmp_path_factory.mktemp("town"), blocks=6)


@pytest.fixture(scope="module")
def small(monkeypatch_module: pytest.MonkeyPatch) -> None:
    """The published system with a narrow network and small windows, so that a test trains in seconds."""
    system = get_system("hse-lcz-mtl")
    narrow = system.model_copy(
        update={
            "network_arguments": {**system.network_arguments, "width": 8},
            "patch_size": 64,
            "training": {**system.training, "learning_rate": 5e-3, "step_epochs": 10},
        }
    )

    def choose(name: str) -> System:
        return narrow if name == narrow.name else get_system(name)

    monkeypatch_module.setattr(settlement, "get_system", choose)


@pytest.fixture(scope="module")
def monkeypatch_module() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def folder(town: ZoneTown, small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    train_settlement(
        town.scene, town.zones, town.extent, out, use_bands=BANDS, epochs=20, block_size_m=640.0, coverage=0.8
    )
    return out


def test_both_tasks_are_learned_and_measured(folder: Path) -> None:
    model = Model.load(folder)
    figures = model.spec.training["accuracy"]
    assert figures["overall_accuracy"] > 0.6
    assert figures["extent_mae"] < 0.25  # always guessing the mean: 0.4
    assert 0 <= figures["settled_f1"] <= 1
    assert figures["oa_built_or_natural"] >= figures["overall_accuracy"]
    assert len(model.objective.legend) == 17
    assert len(model.objective.extent_error) == 6
    assert not list(folder.parent.glob(".*training"))


def test_a_map_has_both_with_their_error_bars(folder: Path, town: ZoneTown, tmp_path: Path) -> None:
    product = map_scenes(folder, town.scene, tmp_path / "product")
    layers = {spec: rasterio.open(product.path(spec)).read() for spec in ("value", "settlement_extent")}
    with rasterio.open(product.path("settlement_extent_error")) as file:
        error = file.read(1) * file.scales[0]
    with rasterio.open(product.path("valid")) as file:
        valid = file.read(1) > 0
    extent = layers["settlement_extent"][0] / 250.0
    with rasterio.open(town.extent) as file:
        truth = file.read(1)
    assert valid.mean() > 0.99
    assert (layers["value"][0][valid] == town.truth[valid]).mean() > 0.6
    assert np.abs(extent - truth)[valid].mean() < 0.25
    # An error bar is honest if errors are about as large as it says.
    said, made = np.sqrt((error[valid] ** 2).mean()), np.sqrt(((extent - truth)[valid] ** 2).mean())
    assert 0.5 < made / said < 2.0
    for name in ("uncertainty", "probability", "outlier", "prediction_set"):
        assert product.path(name).exists()
    assert set(np.unique(layers["value"][0][valid])) <= set(range(1, 18))


def test_errors_of_extents_by_hand() -> None:
    rng = np.random.default_rng(0)
    guess = rng.uniform(0, 1, 200_000)
    truth = guess + rng.normal(0, 1, guess.shape) * np.where(guess < 0.5, 0.05, 0.2)
    errors = extent_errors(guess, truth)
    np.testing.assert_allclose(errors[:2] + errors[4:], [0.05, 0.05, 0.2, 0.2], rtol=0.05)
    # A rare extent takes the general error.
    few = extent_errors(np.r_[np.zeros(1000), 1.0], np.r_[np.full(1000, 0.1), 0.0])
    assert few[0] == pytest.approx(0.1, rel=0.02)
    assert few[3] == pytest.approx(float(np.sqrt((1000 * 0.01 + 1) / 1001)), rel=1e-6)
    with pytest.raises(LabelError, match="known extent"):
        extent_errors(np.empty(0), np.empty(0))


def test_labels_without_extents_are_refused_before_training(town: ZoneTown, tmp_path: Path) -> None:
    with rasterio.open(town.extent) as file:
        percent, box = file.read(1) * 100, GeoBox(file.shape, file.transform, file.crs)
    path = write_raster(tmp_path / "percent.tif", percent, box, nodata=float("nan"))
    with pytest.raises(LabelError, match="divide percent by 100"):
        train_settlement(town.scene, town.zones, path, tmp_path / "model", epochs=1)
    foreign = write_raster(tmp_path / "codes.tif", np.where(town.truth == 2, 99, town.truth), box, nodata=255)
    with pytest.raises(LabelError, match="no code of the legend 'lcz'"):
        train_settlement(town.scene, foreign, town.extent, tmp_path / "model", epochs=1)
    with pytest.raises(ConfigurationError, match="does not learn settlement extents"):
        train_settlement(town.scene, town.zones, town.extent, tmp_path / "model", system="unet-small", epochs=1)
    assert not (tmp_path / "model").exists()


def test_one_map_is_not_enough_to_learn_two(town: ZoneTown, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--extent"):
        train_model(town.scene, town.zones, tmp_path / "model", system="hse-lcz-mtl", use_bands=BANDS, epochs=1)


def test_zones_of_the_town_are_the_standard_ones(town: ZoneTown) -> None:
    assert set(np.unique(town.truth)) == set(ZONES)


def test_a_real_map_of_zones_has_the_codes_of_the_legend() -> None:
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("ECUMENE_DATA does not name the real data")
    path = Path(root) / "lcz_zaragoza" / "lcz_zaragoza.tif"
    with rasterio.open(path) as file:
        codes, box = file.read(1), GeoBox(file.shape, file.transform, file.crs)
    read = settlement.with_legend(read_labels(path, "class", box), "lcz")
    assert read.legend.names[1] == "compact mid-rise"
    counts = np.bincount(read.classes[read.classes >= 0], minlength=17)
    np.testing.assert_array_equal(counts, np.bincount(codes[codes > 0], minlength=18)[1:])
    assert counts[:10].sum() / counts.sum() == pytest.approx(0.021, abs=0.001)
