"""`train --int8`: the bundle can be mapped in 8 bits with nothing but itself, or says why it cannot."""

from __future__ import annotations

import json

import numpy as np
import pytest
from end_to_end import SEED, done, read, refused, run_cli, snapshot

from ecumene.core.errors import ConfigurationError
from ecumene.models import selection
from ecumene.models.bundle import Model
from ecumene.workflows.calibration_windows import MOST_WINDOWS, windows_of
from ecumene.workflows.export import add_graphs
from ecumene.workflows.map import map_scenes
from ecumene.workflows.stacks import open_stack

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them


@pytest.fixture(scope="module")
def trained(town, scene, tmp_path_factory):
    """(bundle of a small U-Net that was trained with `--int8`, what the command printed)."""
    out = tmp_path_factory.mktemp("int8") / "model"
    command = ("train", scene, "--labels", town.labels, "--out", out, "--system", "unet-small", "--split", "feature")
    return out, done(*command, "--seed", SEED, "--epochs", 3, "--int8").out


def test_the_bundle_holds_the_8_bit_network_and_stays_small(trained):
    folder, printed = trained
    names = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert names["model-int8.onnx"] < 0.5 * names["model.onnx"]
    model = Model.load(folder)
    (note,) = [note for note in model.spec.training["notes"] if note.startswith("int8: ")]
    assert "held-out pixels agree with float32" in note
    assert note in printed.replace("\n", " ")
    assert not [name for name in names if name.endswith((".npy", ".npz"))]  # no pixel of the scene is given away
    expected = json.loads((folder / "model.json").read_text())["assets"]
    assert any(asset["href"].endswith("model-int8.onnx") for asset in expected.values())


def test_a_map_tries_int8_without_further_files(trained, scene, tmp_path, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(selection, "FEWEST_PROBES", 0)
    monkeypatch.setattr(selection, "SHARE_OF_TIME", 1e9)
    monkeypatch.setattr(selection, "MOST_SECONDS", 60.0)
    monkeypatch.setattr("ecumene.models.candidates.compiler", lambda: None)
    chosen = map_scenes(folder, scene, tmp_path / "auto")
    trials = chosen.properties["ecumene:execution"]["choice"]["trials"]
    (tried,) = [trial for trial in trials if (trial["backend"], trial["precision"]) == ("openvino", "int8")]
    assert tried["agreement"]["agreement"] >= 0.97
    exact = map_scenes(folder, scene, tmp_path / "exact", backend="torch", precision="fp32")
    fast = map_scenes(folder, scene, tmp_path / "fast", precision="int8")
    assert (read(exact.path("value")) == read(fast.path("value"))).mean() >= 0.97


def test_every_date_gives_windows_and_their_number_is_bounded(trained, town):
    model = Model.load(trained[0])
    stack = open_stack(town.sentinel2)
    dates = [stack.at(position) for position in range(len(stack.times))]
    fitted, held_out = windows_of(model, dates, len(dates))
    assert len(dates) <= len(fitted) + len(held_out) <= MOST_WINDOWS
    assert all(window.shape[:2] == (1, len(model.spec.inputs)) for window in fitted + held_out)
    means = {float(np.nanmean(window)) for window in fitted + held_out}
    assert len(means) == len(fitted) + len(held_out)  # not one of them twice


def test_a_network_that_does_not_agree_is_left_out_with_a_note(unet, scene, monkeypatch):
    monkeypatch.setattr("ecumene.models.quantisation.SHARES_IN_FLOAT", (0.0,))
    monkeypatch.setattr("ecumene.models.agreement.LIMITS", {"int8": (1.1, 0.0, 0.0)})
    model = add_graphs(Model.load(unet), open_stack(scene), int8=True)
    assert model.onnx is not None
    assert model.onnx_int8 is None
    assert model.spec.training["notes"][-1].startswith("There is no int8 network: No int8 network agrees")


def test_systems_without_convolutions_are_refused_before_the_training(town, scene, tmp_path):
    for scenes, system in (([scene], "random-forest"), (town.sentinel2, "ltae-series")):
        command = ("train", *scenes, "--labels", town.labels, "--out", tmp_path / "m", "--split", "feature")
        refused(
            *command, "--system", system, "--int8",
            code=ConfigurationError.exit_code, saying=f"not for {system}", folder=tmp_path,
        )  # fmt: skip


def test_a_missing_library_is_said_before_the_training(town, scene, tmp_path, monkeypatch):
    import ecumene.core.optional as optional

    real = optional.importlib.import_module

    def missing(name, *more):
        if name == "onnxscript":
            raise ModuleNotFoundError(name=name)
        return real(name, *more)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    command = ("train", scene, "--labels", town.labels, "--out", tmp_path / "m", "--system", "unet-small")
    for option in ("--onnx", "--int8"):
        outcome = run_cli(*command, "--split", "feature", option)
        assert outcome.code == 8, outcome
        assert "onnxscript" in outcome.sentence
        assert snapshot(tmp_path) == {}
