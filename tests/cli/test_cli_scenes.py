"""Verbs on published data sets of images, in this process."""

from __future__ import annotations

import json

import pytest
from tiny_scenes import TinyScenes, tiny_system, write_images
from typer.testing import CliRunner

from ecumene.cli.main import app
from ecumene.core.errors import ConfigurationError, EcumeneError
from ecumene.samples.datasets import list_data_sets
from ecumene.systems import list_systems
from ecumene.systems.measured import MeasuredFigure, measured_figures


@pytest.fixture
def official(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ecumene.workflows.scene_data.open_data_set", lambda _, folder, **o: TinyScenes.open(folder, **o)
    )
    monkeypatch.setattr("ecumene.systems.list_systems", lambda: (*list_systems(), tiny_system()))
    for module in ("scene_train", "bench"):
        monkeypatch.setattr(f"ecumene.workflows.{module}.get_system", lambda _: tiny_system())
    return write_images(tmp_path / "official", 120)


def run(*arguments, width=200):
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, EcumeneError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_bench_prints_the_table_and_writes_json(official, tmp_path):
    shown = run("bench", "tiny-scene", "--data", official, "--quick", "--json", tmp_path / "b.json")
    assert "0.9 (unverified)" in shown
    assert "quick run" in shown
    assert "sha256" in shown
    stored = json.loads((tmp_path / "b.json").read_text())
    assert stored["benchmark"] == "bench-tiny-scene-random-70"
    assert stored["metrics"]["overall_accuracy"]["values"]
    assert stored["published"][0]["verified"] is False
    assert str(tmp_path) not in json.dumps(stored)


def test_train_on_a_data_set_prints_what_the_card_says(official, tmp_path):
    out = tmp_path / "m"
    shown = run(
        "train", "--data", official, "--system", "tiny-scene", "--out", out, "--epochs", 3, "--split", "spatial"
    )
    training = json.loads((out / "model.json").read_text())["properties"]["ecumene:model"]["training"]
    assert f"{training['accuracy']['metrics']['overall_accuracy']:.3f}" in shown
    assert training["split"]["kind"] == "spatial"
    assert {path.name for path in tmp_path.iterdir()} >= {"m", "official"}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "--system NAME"),
        (["--system", "tiny-scene", "--int8"], "--int8 belongs to training on scenes"),
        (["--system", "tiny-scene", "--labels", "x.gpkg"], "--labels belongs"),
        (["scene.tif", "--system", "tiny-scene"], "not both"),
        (["--system", "tiny-scene", "--data-option", "bands"], "NAME=VALUE"),
        (["--system", "tiny-scene", "--split", "block"], "'official', 'random' or 'spatial'"),
    ],
)
def test_options_that_do_not_belong_together_are_a_sentence(more, sentence, official, tmp_path):
    with pytest.raises(ConfigurationError, match=sentence):
        run("train", "--data", official, "--out", tmp_path / "m", *more)
    assert not (tmp_path / "m").exists()


def test_training_needs_scenes_or_a_data_set(tmp_path):
    with pytest.raises(ConfigurationError, match="--labels, or the folder of a data set"):
        run("train", "--out", tmp_path / "m")
    with pytest.raises(ConfigurationError, match="belong to --data"):
        run("train", "scene.tif", "--labels", "x.gpkg", "--out", tmp_path / "m", "--train-share", 0.5)


def test_lists_say_what_was_published_and_what_was_measured(monkeypatch):
    figure = MeasuredFigure(
        system="unet-small", data_set="Somewhere", kind="simulated", protocol="p", metric="overall_accuracy",
        mean=0.87654, standard_deviation=0.012, draws=3, source="x.json",
    )  # fmt: skip
    monkeypatch.setattr("ecumene.systems.measured.measured_figures", lambda: (figure,))
    shown = run("systems")
    assert "0.8765 ± 0.012" in shown
    for system in list_systems():
        assert system.name in shown
    listed = run("datasets")
    for info in list_data_sets():
        assert info.name in listed


def test_systems_are_found_by_words_and_known_to_programs():
    shown = run("systems", "Hua", "googlenet")
    assert "ca-googlenet-bilstm" in shown
    assert "unet-small" not in shown
    assert "ca-vgg16-bilstm" not in shown
    assert max(map(len, run("systems").splitlines())) > 100, "lines are left whole where no terminal is"
    records = json.loads(run("systems", "eurosat-resnet50", "--json"))
    assert [record["name"] for record in records] == ["eurosat-resnet50"]
    assert records[0]["figures"]
    with pytest.raises(ConfigurationError, match="No system has magic"):
        run("systems", "magic")


def test_packaged_figures_are_of_systems_that_there_are():
    names = {system.name for system in list_systems()}
    for figure in measured_figures():
        assert figure.system in names


def test_systems_name_data_sets_and_protocols_that_there_are():
    known = {info.name for info in list_data_sets()}
    for system in list_systems():
        assert set(system.data_sets) <= known, system.name
        protocols = {protocol.name for protocol in system.protocols}
        assert len(protocols) == len(system.protocols), system.name
        for figure in system.figures:
            assert not figure.bench or figure.bench in protocols, system.name
