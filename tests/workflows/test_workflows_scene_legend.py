"""Training on a data set in another legend: what becomes of classes, labels, samples and the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from end_to_end import run_cli
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_scenes import TinyScenes, tiny_system, write_images

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.models.bundle import Model
from ecumene.workflows import scene_data, scene_train, scene_trust
from ecumene.workflows.scene_legend import _labels, restate
from ecumene.workflows.scene_train import train_scene_model
from ecumene.workflows.scene_trust import trust_scenes

OWN = """
target_legend: worldcover
source: made up
classes:
  water: Permanent water bodies
  forest: {forest}
  built: {built}
"""


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 90)


def crosswalk(folder, forest="Tree cover", built="null"):
    path = folder / "walk.yaml"
    path.write_text(OWN.format(forest=forest, built=built))
    return path


def test_classes_take_the_codes_and_the_order_of_the_other_legend(images, tmp_path):
    data = TinyScenes.open(images)
    found = restate(data, None, crosswalk(tmp_path, built="Built-up"))
    names = [name for name in get_legend("worldcover").names if name in {"Tree cover", "Built-up"} or "water" in name]
    assert list(found.data.legend.names) == names
    assert found.data.legend.values == tuple(
        value
        for name, value in zip(get_legend("worldcover").names, get_legend("worldcover").values, strict=True)
        if name in names
    )
    for before, after in zip(data.label, found.data.label, strict=True):
        assert found.classes[data.legend.names[before]] == found.data.legend.names[after]
    assert found.note == ""
    assert (data.label == TinyScenes.open(images).label).all()  # the given one is as it was


def test_images_without_a_counterpart_are_left_out_and_counted(images, tmp_path):
    found = restate(TinyScenes.open(images), None, crosswalk(tmp_path))
    assert found.left_out == {"built": 30}
    assert "30 images were left out" in found.note
    assert "built: 30" in found.note
    assert (found.data.label == -1).sum() == 30
    assert set(np.unique(found.data.label)) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("legend", "forest", "error", "sentence"),
    [
        (None, "{Tree cover: 0.6, Shrubland: 0.4}", LabelError, "30 images are 'forest', which is not one class"),
        (None, "null", LabelError, "leaves nothing to tell apart"),
        ("eurosat", "Tree cover", ConfigurationError, "goes to worldcover, not to eurosat"),
        (None, "Woods", LabelError, "not in worldcover"),
    ],
)
def test_a_crosswalk_that_does_not_do_is_refused(images, tmp_path, legend, forest, error, sentence):
    with pytest.raises(error, match=sentence):
        restate(TinyScenes.open(images), legend, crosswalk(tmp_path, forest=forest))


def test_legends_that_nothing_leads_to_are_refused(images):
    with pytest.raises(LabelError, match="no published legend, and none has its classes"):
        restate(TinyScenes.open(images), "worldcover")
    with pytest.raises(ConfigurationError, match="legend"):
        restate(TinyScenes.open(images), "no-such-legend")


def test_names_that_a_published_legend_has_too_do_not_decide_what_classes_mean(images, tmp_path, monkeypatch):
    data = TinyScenes.open(images)
    data.legend = Legend.from_names(["Forest", "River", "Industrial"], name="image-folders")
    with pytest.raises(LabelError, match="say so with --source-legend eurosat"):
        restate(data, "worldcover")
    found = restate(data, "worldcover", source="eurosat")
    assert found.classes == {"Forest": "Tree cover", "River": "Permanent water bodies", "Industrial": "Built-up"}
    data.legend = data.legend.model_copy(update={"name": "eurosat"})  # as a part of the published data set has it
    assert restate(data, "worldcover").classes == found.classes
    with pytest.raises(LabelError, match="Forest"):
        restate(data, "worldcover", source="lcz")
    monkeypatch.setattr(scene_data, "open_data_set", lambda _, folder, **options: TinyScenes.open(folder, **options))
    monkeypatch.setattr(scene_train, "get_system", lambda _: tiny_system(protocols=()))
    with pytest.raises(ConfigurationError, match="--source-legend says where a --legend is reached from"):
        train_scene_model(images, "tiny-scene", tmp_path / "m", source_legend="eurosat")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_that_become_one_are_there_if_one_of_them_is(seed):
    rng = np.random.default_rng(seed)
    label, index = rng.integers(-1, 2, (6, 5)), rng.integers(-1, 3, 5)
    found = _labels(label, index, 3)
    for row, after in zip(label, found, strict=True):
        for target in range(3):
            own = row[index == target]
            if (own == 1).any():
                assert after[target] == 1
            elif (own == 0).all():
                assert after[target] == 0
            else:
                assert after[target] == -1


def test_a_model_is_trained_and_judged_in_the_other_legend(images, tmp_path, monkeypatch):
    for module in (scene_data, scene_trust):
        monkeypatch.setattr(module, "open_data_set", lambda _, folder, **options: TinyScenes.open(folder, **options))
    monkeypatch.setattr(scene_train, "get_system", lambda _: tiny_system(protocols=()))
    model = train_scene_model(images, "tiny-scene", tmp_path / "m", crosswalk=crosswalk(tmp_path), epochs=3)
    stated = Model.load(tmp_path / "m").spec.training["legend"]
    assert stated["left_out"] == {"built": 30}
    assert stated["classes"]["forest"] == "Tree cover"
    assert any("30 images were left out" in note for note in model.spec.training["notes"])
    assert isinstance(model.objective.legend, Legend)
    assert model.objective.legend.name == "worldcover"
    report = trust_scenes(tmp_path / "m", images, tmp_path / "t")
    assert "test images of the training" in report.figures["images"]["sentence"]
    assert json.loads((tmp_path / "t" / "trust.json").read_text())["metrics"]["overall_accuracy"] > 0.6


def test_the_legend_belongs_to_a_data_set(tmp_path):
    outcome = run_cli("train", "--legend", "worldcover", "--out", tmp_path / "m")
    assert outcome.code != 0
    assert "--legend" in outcome.sentence
    assert "belong to --data" in outcome.sentence
