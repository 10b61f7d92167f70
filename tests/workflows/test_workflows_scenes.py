"""Systems of whole images: from official files to a bundle, a table and a map."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_scenes import CLASSES, SIDE, SPECTRA, TinyScenes, make_image, tiny_system, write_images

from ecumene.cli.bench import print_bench
from ecumene.core.errors import ConfigurationError, EcumeneError, ModelError, SceneError
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.systems import get_system
from ecumene.systems.contract import BenchProtocol
from ecumene.workflows.bench import bench_system, choose_bench_protocol, length_notes
from ecumene.workflows.explain import explain_scene
from ecumene.workflows.map import map_scenes
from ecumene.workflows.scene_data import divide, open_system_data, resolution_of, split_data_set
from ecumene.workflows.scene_fit import fit_scene_trust
from ecumene.workflows.scene_train import choose_protocol, train_scene_model
from ecumene.workflows.scene_trust import check_images, trust_scenes
from ecumene.workflows.trust import trust_report

LARGE = 840
SAID = {"sensor": "sentinel-2", "level": "L2A", "bands": ["B03", "B04", "B08"], "scale": 1e-4, "offset": 0, "nodata": 0}


def read(product, layer):
    """Return the pixels of a layer `[bands, H, W]`."""
    import rasterio

    with rasterio.open(product.path(layer)) as file:
        return file.read()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("official"), 240)


@pytest.fixture
def registered(monkeypatch):
    """Make the tiny data set and system known by name."""
    monkeypatch.setattr(
        "ecumene.workflows.scene_data.open_data_set", lambda _, folder, **o: TinyScenes.open(folder, **o)
    )
    monkeypatch.setattr("ecumene.workflows.scene_train.get_system", lambda _: tiny_system())


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Enough images for an outlier threshold on held-out ones."""
    return write_images(tmp_path_factory.mktemp("large"), LARGE)


@pytest.fixture(scope="module")
def bundle(large, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecumene.workflows.scene_data.open_data_set", lambda _, folder, **o: TinyScenes.open(folder, **o))
        patch.setattr("ecumene.workflows.scene_train.get_system", lambda _: tiny_system())
        train_scene_model(large, "tiny-scene", out, split="spatial", seed=1, epochs=4)
    return out


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A scene of 5 x 6 patches, each of one class; the upper left one has no data."""
    import rasterio
    from rasterio.transform import from_origin

    generator = np.random.default_rng(5)
    classes = generator.integers(0, 3, (5, 6))
    image = np.concatenate([np.concatenate([make_image(c, generator) for c in row], axis=2) for row in classes], axis=1)
    stored = np.clip(image * 10_000, 1, None).astype(np.uint16)
    stored[:, :SIDE, :SIDE] = 0
    path = tmp_path_factory.mktemp("town") / "town.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "crs": "EPSG:32633", "nodata": 0}
    where = from_origin(160 * 3000, 160 * 30_000, 10, 10)
    with rasterio.open(path, "w", height=stored.shape[1], width=stored.shape[2], transform=where, **profile) as file:
        file.write(stored)
    return path, classes


def test_a_bundle_states_what_it_was_trained_on_and_gives_the_same_again(bundle, large):
    model = Model.load(bundle)
    training = model.spec.training
    assert model.spec.patch_size == SIDE
    assert training["data_set"]["name"] == "tiny"
    assert str(large) not in json.dumps(training)
    assert training["accuracy"]["metrics"]["overall_accuracy"] > 0.9
    assert training["accuracy"]["class_sets"]["coverage"] > 0.6
    assert sum(training["split"]["images"].values()) == LARGE
    assert "random weights" in " ".join(training["notes"])
    image = make_image(2, np.random.default_rng(3))[None]
    output, score = model.executor(device="cpu").run(image)
    assert output.shape == (1, 3, 1, 1)
    assert score.shape == (1, 1, 1)
    assert output[0, :, 0, 0].argmax() == 2
    assert score[0, 0, 0] < model.detector.threshold
    # The batch changes sums in their last digits; a detector far from its cloud magnifies that.
    strange = model.executor(device="cpu").run(np.full_like(image, 3.0))[1]
    assert strange[0, 0, 0] > model.detector.threshold


def test_a_map_has_the_class_of_every_patch(bundle, town, tmp_path):
    path, classes = town
    product = map_scenes(bundle, path, tmp_path / "p", **SAID)
    values = read(product, "value")
    found = values[0] if values.ndim == 3 else values
    assert found.shape == (5, 6)
    model = Model.load(bundle)
    wanted = np.array(model.objective.legend.values)[classes]
    known = np.ones((5, 6), bool)
    known[0, 0] = False
    assert (found[known] == wanted[known]).mean() > 0.9
    assert found[0, 0] == 255
    assert product.layers.keys() >= {"value", "probability", "uncertainty", "outlier", "valid"}
    item = json.loads((tmp_path / "p" / "item.json").read_text())
    assert item["properties"]["ecumene:cells"] == {"patch": SIDE, "step": SIDE}


def test_a_finer_map_agrees_where_patches_are_of_one_class(bundle, town, tmp_path):
    path, _ = town
    coarse = np.squeeze(read(map_scenes(bundle, path, tmp_path / "a", **SAID), "value"))
    fine = np.squeeze(read(map_scenes(bundle, path, tmp_path / "b", step=4, **SAID), "value"))
    assert fine.shape == (20, 24)
    same = [
        (fine[4 * r + 1 : 4 * r + 3, 4 * c + 1 : 4 * c + 3] == coarse[r, c]).mean() for r in range(5) for c in range(6)
    ]
    assert np.mean(same[1:]) > 0.8


def test_windows_do_not_change_a_map(bundle, town, tmp_path):
    path, _ = town
    whole = map_scenes(bundle, path, tmp_path / "a", step=8, **SAID)
    parts = map_scenes(bundle, path, tmp_path / "b", step=8, window=(3, 4), tile=64, **SAID)
    for layer in ("value", "valid"):
        np.testing.assert_array_equal(read(whole, layer), read(parts, layer))


def test_only_models_of_whole_images_have_a_step(bundle, town, tmp_path):
    model = Model.load(bundle)
    pixels = replace(model, spec=model.spec.model_copy(update={"patch_size": None}))
    with pytest.raises(ConfigurationError, match="every pixel"):
        map_scenes(pixels, town[0], tmp_path / "p", step=4, **SAID)
    with pytest.raises(ConfigurationError, match="at least 1"):
        map_scenes(model, town[0], tmp_path / "p", step=0, **SAID)
    assert not (tmp_path / "p").exists()


def test_several_labels_are_learned_measured_and_mapped(official, town, tmp_path, monkeypatch):
    system = tiny_system(task="multi-label", objective="multi-label", data_options={"several": True}, protocols=())
    monkeypatch.setattr(
        "ecumene.workflows.scene_data.open_data_set", lambda _, folder, **o: TinyScenes.open(folder, **o)
    )
    monkeypatch.setattr("ecumene.workflows.scene_train.get_system", lambda _: system)
    model = train_scene_model(official, "tiny-scene", tmp_path / "m", epochs=4)
    metrics = model.spec.training["accuracy"]["metrics"]
    assert metrics["example_f1"] > 0.8
    assert metrics["label_f2"] > 0.8
    calibration = model.spec.training["accuracy"]["calibration"]
    assert calibration["labels"] == list(CLASSES)
    assert len(calibration["per_label"]["expected_calibration_error"]) == len(CLASSES)
    assert Model.load(tmp_path / "m").scaling == model.calibration.scaling
    assert any("left-out blocks" in note or "the model's own" in note for note in model.spec.training["notes"])
    assert any("Outliers are not flagged" in note for note in model.spec.training["notes"])
    assert model.detector is None
    product = map_scenes(tmp_path / "m", town[0], tmp_path / "p", **SAID)
    assert read(product, "value").shape == (3, 5, 6)
    broken = {name: array * np.nan if array.dtype.kind == "f" else array for name, array in model.weights.items()}
    sets = divide(*_divided(system, official))
    with pytest.raises(ModelError, match="not finite"):
        fit_scene_trust(replace(model, weights=broken), sets[Part.TRAIN], sets[Part.CALIBRATION])


def _divided(system, folder):
    data = open_system_data(system, folder)
    return data, split_data_set(data, choose_protocol(system), 0)


def test_bench_gives_the_published_table_beside_ours(official, registered, tmp_path):
    result = bench_system(tiny_system(), official, seeds=2, epochs=2)
    accuracy = next(row for row in result.rows if row.metric == "overall_accuracy")
    assert [figure.value for figure in accuracy.published] == [0.9]
    assert len(accuracy.ours["values"]) == 2
    assert not result.elsewhere
    stored = result.to_dict()
    text = json.dumps(stored, allow_nan=False)
    assert str(official) not in text
    assert stored["parameters"] > 1000
    assert stored["data"]["sha256"] == result.facts["data"]["sha256"]
    other = bench_system(tiny_system(), official, protocol="published", quick=True)
    assert other.facts["quick"]
    assert [figure.value for figure in other.elsewhere] == [0.9]
    assert other.facts["splits"][0]["images"]["test"] == 60


def test_bench_says_where_a_time_limit_cut_a_training_short(official, registered, capsys):
    assert bench_system(tiny_system(), official, seeds=1, quick=True).facts["notes"] == []
    result = bench_system(tiny_system(), official, seeds=1, epochs=50, max_minutes=1e-6)
    training = result.facts["trainings"][0]
    assert (training["epochs_done"], training["ended_by"]) == (1, "time")
    assert result.facts["notes"] == [
        "at most 50 epochs (--epochs) instead of the method's own number.",
        "--max-minutes ended 1 of 1 trainings after 1 of 50 epochs; ours is therefore not the figure of the whole "
        "training.",
    ]
    print_bench(result)
    assert "note: --max-minutes ended 1 of 1 trainings" in capsys.readouterr().out
    forest = tiny_system(kind="forest", network=None, training={})
    assert length_notes(forest, [], None, 5.0) == ["tiny-scene is fitted in one go, without regard to --max-minutes."]


def test_bench_refuses_what_is_not_there(official, registered):
    with pytest.raises(ConfigurationError, match="random-70, published"):
        choose_bench_protocol(tiny_system(), "other")
    with pytest.raises(ConfigurationError, match="at least 1"):
        bench_system(tiny_system(), official, seeds=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reads": "image", "network": "unet-small"}, "neither from whole images"),
        ({"task": "multi-label"}, "one class each"),
        ({"data_sets": ()}, "names no data set"),
    ],
)
def test_systems_and_data_that_do_not_fit_are_refused(changes, sentence, official, registered, monkeypatch, tmp_path):
    monkeypatch.setattr("ecumene.workflows.scene_train.get_system", lambda _: tiny_system(**changes))
    with pytest.raises(ConfigurationError, match=sentence):
        train_scene_model(official, "tiny-scene", tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"split": "half"}, ConfigurationError, "'official', 'random' or 'spatial'"),
        ({"train_share": 1.5}, ConfigurationError, "between 0 and 1"),
        ({"data_options": {"resolution_m": "far"}}, ConfigurationError, "positive number"),
    ],
)
def test_wrong_options_are_a_sentence(options, error, sentence, official, registered, tmp_path):
    with pytest.raises(error, match=sentence):
        train_scene_model(official, "tiny-scene", tmp_path / "m", **options)


def test_an_empty_folder_is_a_sentence(registered, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(SceneError, match="holds no images"):
        train_scene_model(tmp_path / "none", "tiny-scene", tmp_path / "m")


def test_unknown_sampling_must_be_said(official, registered):
    data = open_system_data(tiny_system(), official)
    data.channels = tuple(replace(channel, ground_sampling_m=None) for channel in data.channels)
    with pytest.raises(ConfigurationError, match="resolution_m"):
        resolution_of(data)
    data.resolution_m = 0.3
    assert resolution_of(data) == 0.3


def test_protocols_and_parts(official, registered):
    data = open_system_data(tiny_system(), official)
    assert choose_protocol(tiny_system()).name == "random-70"
    assert choose_protocol(tiny_system(), "spatial").train_share == 0.7
    recurrent = get_system("hsi-gru-pretanh")  # its first protocol takes a fixed map, which other cubes lack
    assert choose_protocol(recurrent).data_options == {"labels": "fixed"}
    assert choose_protocol(recurrent, "spatial").data_options == {}
    assert choose_protocol(recurrent, "spatial").train_share == 0.5
    parts = split_data_set(data, BenchProtocol(name="o", split="official"), 0)
    assert (parts == Part.TEST).sum() == 60
    sets = divide(data, parts)
    assert sum(len(source) for source in sets.parts.values()) == 240
    with pytest.raises(ConfigurationError, match="published"):
        split_data_set(data, BenchProtocol(name="o", split="official", official="other"), 0)


def test_classes_differ_in_the_made_up_images():
    assert len(SPECTRA) == len(CLASSES)


def test_an_image_is_explained_by_its_bands_its_squares_and_where_the_network_looks(bundle, town, tmp_path):
    path, classes = town
    x, y = 160 * 3000 + 160 * 2.5, 160 * 30_000 - 160 * 1.5
    found = explain_scene(bundle, path, tmp_path / "e", at=f"{x},{y}", **SAID)
    model = Model.load(bundle)
    assert found.target == model.objective.legend.names[classes[1, 2]]
    assert found.methods == ["occlusion", "gradcam"]
    assert {spec.name for spec, _ in found.layers} >= {"importance_band", "surroundings", "attention"}
    for spec, values in found.layers:
        assert values.shape[1:] == (SIDE, SIDE), spec.name
    assert (tmp_path / "e" / "item.json").is_file()
    named = explain_scene(bundle, path, tmp_path / "n", at=f"{x},{y}", class_name="water", method="occlusion", **SAID)
    assert named.target == "water"
    assert named.methods == ["occlusion"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"box": "480000,4799300,480100,4799400"}, "one image at a time"),
        ({"at": "480500,4799500", "method": "gradients"}, "labels whole images"),
        ({"at": "480050,4799950"}, "has no data"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(options, sentence, bundle, town, tmp_path):
    with pytest.raises(EcumeneError, match=sentence):
        explain_scene(bundle, town[0], tmp_path / "e", **options, **SAID)


def test_trust_on_pixels_is_refused_in_a_sentence(bundle, town, tmp_path):
    with pytest.raises(ConfigurationError, match="labels whole images"):
        trust_report(bundle, town[0], town[0], tmp_path / "t", **SAID)


def test_a_model_of_images_is_judged_by_images_that_it_has_not_seen(bundle, large, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ecumene.workflows.scene_trust.open_data_set", lambda _, folder, **o: TinyScenes.open(folder, **o)
    )
    report = trust_scenes(bundle, large, tmp_path / "t")
    stated = Model.load(bundle).spec.training
    found = report.figures
    assert found["images"]["number"] == stated["split"]["images"]["test"]
    assert found["metrics"]["overall_accuracy"] == pytest.approx(stated["accuracy"]["metrics"]["overall_accuracy"])
    assert "test images" in found["images"]["sentence"]
    page = report.report.read_text()
    assert "pixels" not in " ".join(table.caption for table in report.tables)
    assert "Calibration" in page
    assert str(large) not in json.dumps(found) + page
    other = trust_scenes(bundle, write_images(tmp_path / "other", 60, seed=9), tmp_path / "o")
    assert other.figures["images"]["number"] == 60
    assert "may have been learned from" in other.figures["images"]["sentence"]


def test_images_are_opened_with_the_options_of_the_training(bundle, large, tmp_path, monkeypatch):
    seen = {}

    def opened(_, folder, **options):
        seen.update(options)
        return TinyScenes.open(folder)

    model = Model.load(bundle)
    stated = {**model.spec.training["data_set"], "options": {"bands": "rgb"}}
    spec = model.spec.model_copy(update={"training": {**model.spec.training, "data_set": stated}})
    monkeypatch.setattr("ecumene.workflows.scene_trust.open_data_set", opened)
    trust_scenes(replace(model, spec=spec), large, tmp_path / "t")
    assert seen == {"bands": "rgb"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"channels": ()}, "The model reads"),
        ({"patch_size": 32}, "on a side"),
        ({"legend": Legend.from_names(["a", "b", "c"])}, "are not those of the model"),
    ],
)
def test_images_that_do_not_fit_the_model_are_a_sentence(change, sentence, bundle, official):
    data = TinyScenes.open(official)
    for name, value in change.items():
        setattr(data, name, value)
    with pytest.raises(ConfigurationError, match=sentence):
        check_images(Model.load(bundle), data)


def test_patches_of_several_dates_are_followed_with_a_bundle(bundle, tmp_path):
    import pandas as pd
    import rasterio
    from rasterio.transform import from_origin

    from ecumene.workflows.series import SeriesOptions, follow_series

    generator = np.random.default_rng(3)
    dates = [f"2017-{month:02d}-15" for month in range(3, 8)]
    paths = []
    for number, date in enumerate(dates):
        classes = np.array([[1, 1, 1], [1, 2, 0]])
        classes[0, 0] = 2 if number >= 3 else 1  # a forest is built over
        image = np.concatenate([np.concatenate([make_image(c, generator) for c in row], 2) for row in classes], 1)
        stored = np.clip(image * 10_000, 1, None).astype(np.uint16)
        if number == 2:
            stored[:, :SIDE, :SIDE] = 0  # the date before is cloudy there
        paths.append(tmp_path / f"{date}.tif")
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "crs": "EPSG:32633", "nodata": 0}
        where = from_origin(160 * 3000, 160 * 30_000, 10, 10)
        with rasterio.open(
            paths[-1], "w", height=stored.shape[1], width=stored.shape[2], transform=where, **profile
        ) as file:
            file.write(stored)
    options = SeriesOptions(model=bundle, animation=False)
    found = follow_series(paths, tmp_path / "out", options, time=dates, **SAID)
    method = found.properties["ecumene:method"]["parameters"]
    assert method["method"] == "switches"
    assert "patches" in method["chosen"]
    assert found.geobox.shape == (2, 3)
    table = pd.read_csv(found.folder / "switches.csv")
    assert table[["from", "to", "date_before", "date_after"]].to_numpy().tolist() == [
        ["forest", "built", dates[1], dates[3]]
    ]
    assert read(found, "count")[0].tolist() == [[1, 0, 0], [0, 0, 0]]
