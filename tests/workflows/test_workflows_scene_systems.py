"""Published systems of scene classification from official files to a bundle, its card and its attention."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.explanation.class_maps import class_maps
from ecumene.models.bundle import Model
from ecumene.networks import build_network
from ecumene.samples.datasets import data_set_class, open_data_set
from ecumene.samples.datasets.ucm_multilabel import LABELS
from ecumene.systems import get_system, list_systems
from ecumene.workflows.attention import attention_page, overlay
from ecumene.workflows.scene_train import train_scene_model

OURS = ("eurosat-", "sen12ms-", "ca-", "googlenet-", "attention-cnn")


@pytest.fixture(scope="module")
def merced(tmp_path_factory):
    """Images in UC Merced's files: a bright square for `buildings`, a green ground for `grass`."""
    folder = tmp_path_factory.mktemp("merced")
    rng = np.random.default_rng(0)
    rows = ["image," + ",".join(LABELS)]
    (folder / "Images" / "agricultural").mkdir(parents=True)
    for number in range(40):
        built, green = number % 2, number // 2 % 2
        array = rng.integers(60, 90, (256, 256, 3)).astype(np.uint8)
        if green:
            array[..., 1] += 60
        if built:
            array[32:96, 32:96] = 250
        name = f"agricultural{number:02d}"
        Image.fromarray(array).save(folder / "Images" / "agricultural" / f"{name}.tif")
        rows.append(
            ",".join([name, *(str({"buildings": built, "grass": green, "trees": 1 - green}.get(k, 0)) for k in LABELS)])
        )
    (folder / "LandUse_Multilabeled.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def model(merced, tmp_path_factory):
    from ecumene import systems

    small = get_system("ca-vgg16-bilstm").model_copy(
        update={
            "network_arguments": {"trunk": "vgg16", "input_size": 32, "recurrence": "bilstm", "hidden": 8},
            "training": {"epochs": 3, "batch_size": 8, "optimiser": "nadam", "learning_rate": 1e-3},
        }
    )
    patch = pytest.MonkeyPatch()
    patch.setattr(systems, "list_systems", lambda: (small,))
    try:
        out = tmp_path_factory.mktemp("model") / "model"
        train_scene_model(merced, "ca-vgg16-bilstm", out, seed=1)
    finally:
        patch.undo()
    return out


def test_every_system_names_a_network_data_and_its_deviations():
    found = [system for system in list_systems() if system.name.startswith(OURS) and system.task != "restoration"]
    assert len(found) == 15
    for system in found:
        assert system.reads == "scene"
        assert system.paper
        assert system.deviations
        assert system.protocols
        for name in system.data_sets:
            data_set_class(name)
        names = {protocol.name for protocol in system.protocols}
        assert {figure.bench for figure in system.figures} <= names | {""}
        with __import__("torch").device("meta"):
            build_network(system.network, in_channels=3, n_outputs=10, pretrained=False, **system.network_arguments)


def test_published_figures_are_those_of_the_papers():
    figures = {(system.name, f.metric, f.data_set): f for system in list_systems() for f in system.figures}
    assert figures["eurosat-resnet50", "overall_accuracy", "EuroSAT"].verified
    assert not figures["eurosat-googlenet", "overall_accuracy", "EuroSAT"].verified
    values = [f.value for f in get_system("eurosat-resnet50").figures]
    assert values == [0.9857, 0.9705, 0.9830]
    f2 = [get_system(n).figures[0].value for n in ("googlenet-multilabel", "ca-googlenet-lstm", "ca-googlenet-bilstm")]
    assert f2 == [0.8082, 0.8423, 0.8528]
    assert get_system("sen12ms-resnet50").figures == ()


def test_several_labels_from_official_files_to_a_bundle(model, merced):
    loaded = Model.load(model)
    assert loaded.spec.objective["name"] == "multi-label"
    assert loaded.spec.training["data_set"]["name"] == "ucm-multilabel"
    assert any("began with random weights" in note for note in loaded.spec.training["notes"])
    image = open_data_set("ucm-multilabel", merced).read([0]).image
    assert loaded.raw_results(image)[0].shape == (1, 17, 1, 1)


def test_maps_of_attention_are_the_network_s_own(model, merced):
    loaded = Model.load(model)
    image = open_data_set("ucm-multilabel", merced).read([1]).image[0]
    maps, layer = class_maps(loaded, image, [2, 8])
    assert (maps.shape, layer) == ((2, 2, 2), "class attention")
    assert np.isfinite(maps).all()
    other, _ = class_maps(loaded, image, [8])
    np.testing.assert_allclose(other[0], maps[1], rtol=1e-5)


def test_page_of_attention(model, merced, tmp_path):
    page = attention_page(model, merced, tmp_path / "page.html", images=["agricultural01"], classes=["grass", "sea"])
    text = page.read_text()
    assert "agricultural01: grass" in text
    assert "agricultural01: sea" in text
    assert text.count("data:image/png") == 3
    from ecumene.cli.main import app

    run = CliRunner().invoke(
        app,
        ["attention", str(model), "--data", str(merced), "--out", str(tmp_path / "other.html")],
        catch_exceptions=False,
    )
    assert run.exit_code == 0
    assert (tmp_path / "other.html").read_text().count("data:image/png") == 4
    with pytest.raises(ConfigurationError, match="no image 'beach00'"):
        attention_page(model, merced, tmp_path / "page.html", images=["beach00"])


def test_bands_of_another_data_set_are_refused(model, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / name / "1.png")
    with pytest.raises((ConfigurationError, ContractError)):
        attention_page(model, tmp_path, tmp_path / "page.html", data_set="image-folders")


def test_an_overlay_shows_the_largest_value_brightest():
    colours = np.ones((3, 32, 32), np.float32)
    colours[:, :4] = np.nan
    heat = np.zeros((4, 4), np.float32)
    heat[2, 1] = 5.0
    rgba = overlay(colours, heat)
    assert rgba.shape == (32, 32, 4)
    brightness = rgba[..., :3].sum(axis=2)
    row, col = np.unravel_index(brightness.argmax(), brightness.shape)
    assert 16 <= row < 24
    assert 8 <= col < 16
    assert not rgba[:4, :, 3].any()


def test_a_network_without_maps_of_its_own_gives_grad_cam(model, merced, monkeypatch):
    loaded = Model.load(model)
    image = open_data_set("ucm-multilabel", merced).read([1]).image[0]
    monkeypatch.setattr("ecumene.networks.contract.ClassAttention", type("NoNetwork", (), {}))
    maps, layer = class_maps(loaded, image, [2, 8])
    assert maps.shape == (2, 256, 256)
    assert layer != "class attention"
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_ranking_and_micro_averages_are_among_the_figures(model):
    metrics = Model.load(model).spec.training["accuracy"]["metrics"]
    wanted = get_system("sen12ms-resnet50-multi").protocols[0].metrics
    assert set(wanted) <= set(metrics)
