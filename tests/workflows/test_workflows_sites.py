"""Sites to models to maps: settlement, change, and when a place was built, learned with and without labels."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from ecumene.cli.main import app  # noqa: E402
from ecumene.core.errors import ConfigurationError, ContractError, MissingDependencyError  # noqa: E402
from ecumene.mapping.product import Product  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.samples.datasets.growth_sites import GrowthSites  # noqa: E402
from ecumene.simulate.datasets.growth import usual_roles, write_growth_sites  # noqa: E402
from ecumene.systems import System, get_system  # noqa: E402
from ecumene.workflows import site_train  # noqa: E402
from ecumene.workflows.map import map_scenes  # noqa: E402
from ecumene.workflows.site_train import train_sites  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.slow  # the oldest versions run without them

ROLES = [("train", "temperate")] * 2 + [("validation", "temperate")] * 2
ROLES += [("test", "temperate"), ("unlabelled", "arid")]
WIDTHS = {"urban-da": [8], "mmcr-change": [4], "contin-urban-cd": [4], "balanced-change": [4]}


def small(name: str) -> System:
    system = get_system(name)
    arguments = {**system.network_arguments, "widths": WIDTHS[name]}
    arguments |= {"hidden": 8, "layers": 1} if name == "contin-urban-cd" else {}
    long = name == "urban-da"
    training = {**system.training, "learning_rate": 5e-3, "batch_size": 4, "epochs": 14 if long else 1}
    changes = {"network_arguments": arguments, "patch_size": 24, "training": training}
    options = {"data_options": {**system.data_options, "samples": 5 if long else 2}}
    return system.model_copy(update=changes | options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growth") / "sites"
    write_growth_sites(folder, seed=3, side=48, roles=ROLES)
    return folder


def scenes_of(data: Path, positions: list[int]) -> list[Path]:
    sites = GrowthSites.open(data)
    site = sites.of("test")[0]
    files = sites.files_of(site)
    return [files[2 * t + sensor] for t in positions for sensor in (0, 1)]


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for name in WIDTHS:
        train_sites(data, small(name), root / name, coverage=0.5)
    return {name: root / name for name in WIDTHS}


@pytest.mark.parametrize(
    ("name", "positions", "classes"),
    [
        ("urban-da", [4], 2),
        ("mmcr-change", [0, 4], 2),
        ("balanced-change", [0, 4], 2),
        ("contin-urban-cd", [0, 1, 2, 3, 4], 7),
    ],
)
def test_a_bundle_maps_the_dates_that_it_needs(data, models, tmp_path, name, positions, classes):
    scenes = scenes_of(data, positions)
    product = map_scenes(models[name], scenes, tmp_path / "product")
    with rasterio.open(product.path("value")) as file:
        value = file.read(1)
    assert value.shape == (48, 48)
    assert set(np.unique(value)) <= set(range(classes))
    with rasterio.open(product.path("probability")) as file:
        total = file.read().astype(int).sum(axis=0)
        assert file.count == classes
    assert (np.abs(total - 250) <= classes).all()
    assert isinstance(product, Product)
    if len(positions) > 1:
        with pytest.raises(ContractError, match=f"exactly {len(positions)} dates"):
            map_scenes(
                models[name], scenes[2:] if len(positions) > 2 else [*scenes, *scenes_of(data, [2])], tmp_path / "x"
            )


def test_what_was_learned_is_recorded(models):
    training = Model.load(models["mmcr-change"]).spec.training
    assert training["data"]["sites"]["unlabelled"] == 1
    assert training["data"]["windows_without_labels"] > 0
    assert "SIMULATED" in training["notes"][0]
    assert training["accuracy"]["pixels"] == 48 * 48
    arguments = Model.load(models["mmcr-change"]).spec.architecture["arguments"]
    channels = len(Model.load(models["mmcr-change"]).spec.inputs)
    assert arguments["streams"] == [[0, 1], list(range(2, channels))]
    assert training["threshold"]["class"] == "newly built up"
    assert "threshold" not in Model.load(models["urban-da"]).spec.training
    without = Model.load(models["balanced-change"]).spec.training["data"]
    assert without["windows_without_labels"] == 0


def test_settlement_is_found_from_few_steps(models):
    overall = Model.load(models["urban-da"]).spec.training["accuracy"]["overall"]
    assert overall["overall_accuracy"]["value"] > 0.6
    assert overall["kappa"]["value"] > 0.15


def test_the_same_seed_gives_the_same_weights(data, models, tmp_path):
    again = train_sites(data, small("mmcr-change"), tmp_path / "again", coverage=0.5)
    first = Model.load(models["mmcr-change"])
    assert all(np.array_equal(again.weights[name], array) for name, array in first.weights.items())


def test_the_verb(data, tmp_path, monkeypatch):
    monkeypatch.setattr(site_train, "get_system", small)
    out = tmp_path / "model"
    run = CliRunner().invoke(
        app,
        ["train", "--system", "mmcr-change", "--data", str(data), "--out", str(out), "--epochs", "1",
         "--coverage", "0.5", "--data-option", "labelled_share=0.5"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    described = json.loads((out / "model.json").read_text())
    assert "mmcr-change" in json.dumps(described)
    for more, sentence in (
        (["--split", "random"], "--split does not belong"),
        (["--uncertainty", "ensemble:2"], "--uncertainty does not belong"),
        (["--data-option", "colour=1"], "no option 'colour'"),
        (["--data-option", "dates=3"], "no option of it"),
        (["--data-option", "samples=many"], "positive whole number of dates and draws"),
        (["--data-option", "labelled_share=all"], "wrong kind of value"),
    ):
        run = CliRunner().invoke(
            app, ["train", "--system", "mmcr-change", "--data", str(data), "--out", str(tmp_path / "no"), *more]
        )
        assert run.exit_code != 0
        assert sentence in str(run.exception) + run.output


def test_a_series_too_long_for_the_graph_of_dates_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(ConfigurationError, match="2 to 8 dates, not 9"):
        train_sites(tmp_path / "nowhere", "contin-urban-cd", tmp_path / "model", data_options={"dates": 9})


@pytest.mark.parametrize(
    ("train", "system"),
    [
        ("site_train.train_sites", "mmcr-change"),
        ("pair_train.train_pairs", "fc-ef"),
        ("restoration_train.train_restoration", "dsen2-cr"),
        ("scene_train.train_scene_model", "sen2lcz-net"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_read(tmp_path, monkeypatch, train, system):
    module, name = train.split(".")
    loaded = importlib.import_module(f"ecumene.workflows.{module}")

    def missing(library):
        raise MissingDependencyError(f"{library} is not installed.")

    monkeypatch.setattr("ecumene.workflows.export.require", missing)
    with pytest.raises(MissingDependencyError, match="onnx is not installed"):
        getattr(loaded, name)(tmp_path / "nowhere", system, tmp_path / "model", onnx=True)


def test_other_systems_are_refused(data, tmp_path):
    with pytest.raises(ConfigurationError, match="does not learn from sites"):
        train_sites(data, "unet-small", tmp_path / "model")


def test_usual_sets_have_every_part_in_both_styles():
    roles = usual_roles(30)
    assert len(roles) == 30
    assert {role for role, _ in roles} == {"train", "validation", "calibration", "test", "unlabelled"}
    assert {style for role, style in roles if role == "train"} == {"temperate"}
    assert {style for role, style in roles if role == "test"} == {"temperate", "arid"}
    with pytest.raises(ConfigurationError, match="between 10 and 2000"):
        usual_roles(9)
