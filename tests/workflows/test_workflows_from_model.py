"""Going on from a model: the same weights, a new head, other bands, and what its features are worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from end_to_end import done, refused, weights_of
from tiny_scenes import CHANNELS, CLASSES, SIDE, TinyScenes, make_image, tiny_system, write_images

from ecumene.core.errors import ConfigurationError, ContractError, LabelError
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand
from ecumene.objectives import SceneClassification, build_objective
from ecumene.systems import get_system
from ecumene.training.from_bundle import Beginning, depending_on, start_from
from ecumene.workflows.beginning import begin_with, system_of
from ecumene.workflows.probe import probe_model
from ecumene.workflows.scene_train import train_scene_model

OTHER = ("ocean", "wood", "town")


class OtherNames(TinyScenes):
    """The same images, differently called."""

    def __init__(self, folder, bands=("B03", "B04", "B08"), **options):
        super().__init__(folder, **options)
        self.legend = Legend.from_names(OTHER)
        self.order = [[c.band for c in CHANNELS].index(band) for band in bands]
        self.channels = tuple(CHANNELS[index] for index in self.order)

    def read(self, indices):
        scenes = super().read(indices)
        return replace(scenes, image=scenes.image[:, self.order], channels=self.channels)


def _patch(patch, kind, **changes):
    patch.setattr("ecumene.workflows.scene_data.open_data_set", lambda _, folder, **o: kind.open(folder, **o))
    for place in ("scene_train", "probe"):
        patch.setattr(f"ecumene.workflows.{place}.get_system", lambda _: tiny_system(**changes))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("official"), 180)


@pytest.fixture(scope="module")
def bundle(official, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "model"
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch, TinyScenes)
        train_scene_model(official, "tiny-scene", out, seed=1)
    return Model.load(out)


def _train(patch, kind, folder, out, beginning, epochs=1, **options):
    _patch(patch, kind)
    return train_scene_model(folder, "tiny-scene", out, epochs=epochs, initial=beginning, **options)


def test_a_new_head_alone_learns_other_classes(bundle, official, tmp_path, monkeypatch):
    beginning = begin_with(bundle, head_only=True)
    tuned = _train(monkeypatch, OtherNames, official, tmp_path / "m", beginning, epochs=6)
    arguments = bundle.spec.architecture["arguments"]
    head = set(depending_on("scene-resnet", arguments, "n_outputs"))
    assert head == {"head.weight", "head.bias"}
    for name, array in bundle.weights.items():  # running statistics of normalisation layers among them
        assert np.array_equal(array, tuned.weights[name]) == (name not in head), name
    assert tuned.objective.legend.names == OTHER
    assert [band.mean for band in tuned.spec.inputs] == [band.mean for band in bundle.spec.inputs]
    said = tuned.spec.training["history"]["began_with"]
    assert (said["model"], said["head"], said["learned"]) == (bundle.spec.name, "new", "head")
    assert tuned.spec.training["accuracy"]["metrics"]["overall_accuracy"] > 0.8
    assert "random weights" not in " ".join(tuned.spec.training["notes"])


def test_the_same_classes_keep_the_head(bundle, official, tmp_path, monkeypatch):
    start = start_from(Beginning(bundle), "scene-resnet", bundle.spec.inputs, bundle.objective)
    assert start.state.keys() == bundle.weights.keys()
    assert start.summary["head"] == "kept"
    assert start.frozen == ()
    tuned = _train(monkeypatch, TinyScenes, official, tmp_path / "m", Beginning(bundle))
    # One epoch from good weights is better than one from none.
    fresh = _train(monkeypatch, TinyScenes, official, tmp_path / "n", None)
    first = [model.spec.training["accuracy"]["metrics"]["overall_accuracy"] for model in (tuned, fresh)]
    assert first[0] > first[1]


def test_more_classes_begin_with_a_larger_head(bundle):
    legend = Legend.from_names([*CLASSES, "snow"])
    start = start_from(Beginning(bundle), "scene-resnet", bundle.spec.inputs, SceneClassification(legend))
    assert start.arguments["n_outputs"] == 4
    assert "head.weight" not in start.state
    assert set(bundle.weights) - set(start.state) == {"head.weight", "head.bias"}


def test_bands_in_another_order_give_the_same_answers(bundle):
    order = [2, 0, 1]
    inputs = [bundle.spec.inputs[index] for index in order]
    with pytest.raises(ContractError, match="--adapt-bands"):
        start_from(Beginning(bundle), "scene-resnet", inputs[:2], bundle.objective)
    start = start_from(Beginning(bundle), "scene-resnet", inputs, bundle.objective)
    moved = replace(
        bundle,
        spec=bundle.spec.model_copy(update={"inputs": start.inputs}),
        weights=start.state,
        calibration=None,
        detector=None,
    )
    image = make_image(1, np.random.default_rng(0))[None]
    assert np.allclose(bundle.raw_output(image), moved.raw_output(image[:, order]), atol=1e-5)


def test_other_bands_are_refused_or_adapted(bundle, official, tmp_path, monkeypatch):
    swir = InputBand(sensor="sentinel-2", level="L2A", band="B11", unit="1", mean=0.2, std=0.1)
    four = [*bundle.spec.inputs, swir]
    with pytest.raises(ContractError, match=r"reads sentinel-2/B03, .*the data have .*sentinel-2/B11.*--adapt-bands"):
        start_from(Beginning(bundle), "scene-resnet", four, bundle.objective)
    start = start_from(Beginning(bundle, adapt_bands=True), "scene-resnet", four, bundle.objective)
    first = next(iter(depending_on("scene-resnet", bundle.spec.architecture["arguments"], "in_channels")))
    assert start.state[first].shape[1] == 4
    assert np.allclose(start.state[first][:, :3], 0.75 * bundle.weights[first], rtol=1e-6)
    assert start.summary["new_bands"] == ["sentinel-2/B11"]
    assert start.inputs[3] == swir
    # L1C is another quantity than L2A, whatever the bands are called.
    other = [band.model_copy(update={"level": "L1C"}) for band in bundle.spec.inputs]
    with pytest.raises(ContractError, match=r"\(L2A\), but the data have .*\(L1C\)"):
        start_from(Beginning(bundle), "scene-resnet", other, bundle.objective)

    class Two(OtherNames):
        def __init__(self, folder):
            super().__init__(folder, bands=("B08", "B03"))

    tuned = _train(monkeypatch, Two, official, tmp_path / "m", Beginning(bundle, adapt_bands=True))
    assert [band.band for band in tuned.spec.inputs] == ["B08", "B03"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unet-small", {"in_channels": 4, "n_outputs": 3}),
        ("mlp", {"in_channels": 4, "n_outputs": 3}),
        ("ltae", {"in_channels": 4, "n_outputs": 3}),
        ("scene-resnet", {"in_channels": 4, "n_outputs": 3, "encoder": "resnet18"}),
        ("sen2lcz", {"in_channels": 4, "n_outputs": 3}),
    ],
)
def test_head_and_first_layer_are_found_in_every_network(name, arguments):
    head, first = (depending_on(name, arguments, argument) for argument in ("n_outputs", "in_channels"))
    assert head
    assert first
    assert not set(head) & set(first)


def test_what_cannot_be_gone_on_from_is_said(bundle, official, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="is a scene-resnet, but the system to train is a unet"):
        start_from(Beginning(bundle), "unet", bundle.spec.inputs, bundle.objective)
    members = replace(
        bundle, objective=build_objective({"name": "members", "members": 2, "base": bundle.spec.objective})
    )
    with pytest.raises(ConfigurationError, match="has 2 members"):
        start_from(Beginning(members), "scene-resnet", bundle.spec.inputs, bundle.objective)
    trees = replace(bundle, spec=bundle.spec.model_copy(update={"kind": "forest"}))
    with pytest.raises(ConfigurationError, match="is a forest, which cannot be trained on"):
        start_from(Beginning(trees), "scene-resnet", bundle.spec.inputs, bundle.objective)
    assert system_of(bundle) == "tiny-scene"
    assert system_of(bundle, "other") == "other"
    with pytest.raises(ConfigurationError, match="name it with --system"):
        system_of(replace(bundle, spec=bundle.spec.model_copy(update={"training": {}})))


def test_probing_measures_features_with_few_and_all_labels(bundle, official, tmp_path, monkeypatch):
    _patch(monkeypatch, OtherNames)
    before = {name: array.copy() for name, array in bundle.weights.items()}
    result = probe_model(bundle, data=official, shots=(1, 5), draws=3, out=tmp_path / "probe.json")
    assert list(result.figures) == ["linear probe", "5 nearest neighbours", "nearest mean"]
    for rows in result.figures.values():
        assert list(rows) == ["1", "5", "all"]
        assert rows["all"]["overall_accuracy"]["mean"] > 0.85
        assert rows["all"]["overall_accuracy"]["sd"] == 0.0
        assert rows["5"]["overall_accuracy"]["mean"] > 1 / 3
    written = json.loads((tmp_path / "probe.json").read_text())
    assert written["facts"]["classes"] == list(OTHER)
    assert str(official) not in json.dumps(written)
    assert all(np.array_equal(array, bundle.weights[name]) for name, array in before.items())
    again = probe_model(bundle, data=official, shots=(1, 5), draws=3)
    assert again.figures == result.figures


def test_what_cannot_be_probed_is_said(bundle, official, tmp_path, monkeypatch):
    _patch(monkeypatch, OtherNames)
    with pytest.raises(LabelError, match="fewer than the 500 asked for"):
        probe_model(bundle, data=official, shots=(500,))
    with pytest.raises(ContractError, match="choose its bands with --data-option"):
        probe_model(bundle, data=official, data_options={"bands": ("B08", "B03")})
    with pytest.raises(ConfigurationError, match="needs scenes and --labels, or the folder"):
        probe_model(bundle)
    with pytest.raises(ConfigurationError, match="whole images; give the folder"):
        probe_model(bundle, scenes="a.tif", labels="b.gpkg")
    with pytest.raises(ConfigurationError, match="1 or more"):
        probe_model(bundle, data=official, draws=0)
    trees = replace(bundle, spec=bundle.spec.model_copy(update={"kind": "forest"}))
    with pytest.raises(ConfigurationError, match="has no features"):
        probe_model(trees, data=official)
    assert SIDE == 16


class Pixels(TinyScenes):
    """The images' first pixels."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.patch_size = 1

    def read(self, indices):
        scenes = super().read(indices)
        return replace(scenes, image=np.ascontiguousarray(scenes.image[:, :, :1, :1]))


def test_networks_of_single_pixels_of_a_data_set_go_on_and_are_probed(official, tmp_path, monkeypatch):
    _patch(monkeypatch, Pixels)
    for place in ("scene_train", "probe"):
        monkeypatch.setattr(f"ecumene.workflows.{place}.get_system", get_system)
    first = train_scene_model(official, "mlp-pixel", tmp_path / "a", data_set="tiny", epochs=3)
    tuned = train_scene_model(
        official, "mlp-pixel", tmp_path / "b", data_set="tiny", epochs=1, initial=begin_with(first, head_only=True)
    )
    head = set(depending_on("mlp", first.spec.architecture["arguments"], "n_outputs"))
    assert {name for name in first.weights if not np.array_equal(first.weights[name], tuned.weights[name])} <= head
    result = probe_model(first, data=official, shots=(2,), draws=2)
    assert result.figures["linear probe"]["all"]["overall_accuracy"]["mean"] > 0.6
    _patch(monkeypatch, TinyScenes)
    with pytest.raises(ConfigurationError, match="labels pixels, not whole images"):
        probe_model(first, data=official)


def test_pixel_networks_go_on_and_are_probed_from_the_command(unet, town, scene, forest, tmp_path):
    out = tmp_path / "tuned"
    done(
        "train", scene, "--labels", town.labels, "--out", out, "--from", unet, "--head-only", "--split", "feature",
        "--epochs", 1,
    )  # fmt: skip
    old, new = Model.load(unet), Model.load(out)
    assert new.spec.training["system"] == "unet-small"
    assert new.spec.training["history"]["began_with"]["head"] == "kept"
    head = set(depending_on(new.spec.architecture["name"], new.spec.architecture["arguments"], "n_outputs"))
    changed = {name for name, array in old.weights.items() if not np.array_equal(array, new.weights[name])}
    assert changed
    assert changed <= head
    assert weights_of(unet) != weights_of(out)
    told = done("probe", unet, scene, "--labels", town.labels, "--split", "feature", "--shots", "1,5", "--draws", 2)
    assert "linear probe" in told.out
    refused("train", scene, "--labels", town.labels, "--from", forest, "--system", "unet-small", "--out",
            tmp_path / "x", code=2, saying="cannot be trained on", folder=tmp_path / "x")  # fmt: skip
    refused("train", scene, "--labels", town.labels, "--head-only", "--out", tmp_path / "x", code=2,
            saying="belong to --from", folder=tmp_path / "x")  # fmt: skip
