"""`ecumene export`, and what a map's plan says about who executed it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from end_to_end import raster_bytes, read, run_cli

from ecumene.core.errors import ConfigurationError, ModelError, SceneError
from ecumene.mapping import choosing
from ecumene.models import selection
from ecumene.models.bundle import Model
from ecumene.models.deepness import stretch_limits
from ecumene.workflows.export import export_model
from ecumene.workflows.map import map_scenes

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them
openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def bundle(unet, scene, tmp_path_factory):
    """A copy of the small U-Net with both ONNX graphs."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(unet, folder)
    export_model(folder)
    export_model(folder, precision="int8", calibration=[scene])
    return folder


def test_the_bundle_has_both_graphs_and_still_loads(bundle, unet):
    model, before = Model.load(bundle), Model.load(unet)
    assert model.onnx is not None
    assert model.onnx_int8 is not None
    assert all(np.array_equal(model.weights[name], before.weights[name]) for name in before.weights)


def test_an_int8_map_is_nearly_the_float_map(bundle, scene, tmp_path):
    exact = map_scenes(bundle, scene, tmp_path / "fp32", backend="onnx", precision="fp32")
    fast = map_scenes(bundle, scene, tmp_path / "int8", backend="openvino", precision="int8")
    assert (read(exact.path("value")) == read(fast.path("value"))).mean() >= 0.97
    assert fast.properties["ecumene:execution"]["precision"] == "int8"
    again = map_scenes(bundle, scene, tmp_path / "again", backend="openvino", precision="int8")
    assert raster_bytes(tmp_path / "int8") == raster_bytes(tmp_path / "again")
    assert again.properties["ecumene:execution"]["choice"]["reason"] == "as asked for"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino_files_are_written_beside_the_bundle(bundle, precision, tmp_path):
    before = {path.name for path in bundle.iterdir()}
    done = export_model(bundle, to="openvino", precision=precision, out=tmp_path / "ov")
    assert {path.name for path in bundle.iterdir()} == before
    assert [path.suffix for path in done.paths] == [".xml", ".bin"]
    assert {path.name for path in (tmp_path / "ov").iterdir()} == {path.name for path in done.paths}
    model = Model.load(bundle)
    compiled = openvino.compile_model(str(done.paths[0]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = np.full((1, len(model.spec.inputs), 32, 32), 0.1, np.float32)
    expected = model.executor("onnx").run(image)[0]
    assert (
        np.abs(compiled(image)[0] - expected).max() <= (1e-3 if precision == "fp32" else 0.1) * np.abs(expected).max()
    )
    assert done.report["probe"]["agreement"] > 0.98


def test_deepness_gets_probabilities_of_8_bit_pixels_and_its_keys(bundle, tmp_path):
    import onnxruntime

    done = export_model(bundle, purpose="deepness", out=tmp_path / "qgis")
    session = onnxruntime.InferenceSession(str(done.paths[0]), providers=["CPUExecutionProvider"])
    # What the plugin does with a file: metadata are JSON; one input and one output of square tiles.
    stated = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items() if k[:8] != "ecumene:"}
    model = Model.load(bundle)
    legend, channels = model.objective.legend, len(model.spec.inputs)
    assert stated["model_type"] == "Segmentor"
    assert [stated["class_names"][str(k)] for k in range(len(legend))] == list(legend.names)
    assert stated["resolution"] == 1000.0
    edge = stated["tile_size"]
    (port,), (result,) = session.get_inputs(), session.get_outputs()
    assert port.shape[1:] == [channels, edge, edge]
    assert result.shape[2] == result.shape[3]
    pixels = np.random.default_rng(0).integers(0, 256, (1, edge, edge, channels)).astype(np.uint8)
    fed = np.float32(pixels * 1.0 / 255.0)
    fed = (fed - np.array(stated["standardization_mean"])) / np.array(stated["standardization_std"])
    fed = np.transpose(fed, (0, 3, 1, 2)).astype(np.float32)
    (probability,) = session.run(None, {port.name: fed})
    assert np.allclose(probability.sum(axis=1), 1.0, atol=1e-4)
    low, high = (limit[:, None, None] for limit in stretch_limits(model))
    physical = (low + fed * (high - low)).astype(np.float32)
    expected = np.asarray(model.objective.moments(model.executor("onnx").run(physical)[0]))
    assert np.abs(probability - expected).max() < 1e-3
    assert json.loads(done.paths[1].read_text())["bands"][0]["value_of_0"] == pytest.approx(float(low[0, 0, 0]))


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        ({"to": "tensorrt"}, "--to is onnx or openvino"),
        ({"precision": "fp64"}, "--precision is fp32 or fp16 or int8"),
        ({"purpose": "arcgis"}, "--for is ecumene or deepness"),
        ({"precision": "fp16"}, "--to openvino"),
        ({"precision": "int8"}, "--calibration"),
        ({"purpose": "deepness", "to": "openvino"}, "ONNX in fp32"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_read(arguments, saying, tmp_path):
    with pytest.raises(ConfigurationError, match=saying):
        export_model(tmp_path / "nothing", **arguments)


def test_trees_and_tiny_calibration_scenes_are_refused(bundle, forest, scene, monkeypatch):
    with pytest.raises(ModelError, match="Only networks"):
        export_model(forest)
    monkeypatch.setattr("ecumene.workflows.calibration_windows._LEAST_VALID", 1.1)
    with pytest.raises(SceneError, match="calibration scenes"):
        export_model(bundle, precision="int8", calibration=[scene])


def test_a_quantisation_that_disagrees_writes_nothing_and_gives_figures(bundle, scene, monkeypatch):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    monkeypatch.setattr("ecumene.models.quantisation.SHARES_IN_FLOAT", (0.0,))
    monkeypatch.setattr("ecumene.models.agreement.LIMITS", {"int8": (1.1, 0.0, 0.0)})
    with pytest.raises(ModelError, match=r"at best \d+\.\d+ % of the classes"):
        export_model(bundle, precision="int8", calibration=[scene])
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_the_command_exports_and_maps_without_a_sentence_too_many(bundle, tmp_path):
    done = run_cli("export", bundle, "--to", "openvino", "--out", tmp_path / "ov")
    assert done.code == 0, done.err
    assert ".xml" in done.out
    wrong = run_cli("export", bundle, "--to", "tflite")
    assert wrong.code == ConfigurationError.exit_code


# -- the choice and the plan -------------------------------------------------------------------------


@pytest.fixture
def eager_trials(monkeypatch):
    """Let even a small map choose, however long it takes."""
    monkeypatch.setattr(selection, "FEWEST_PROBES", 0)
    monkeypatch.setattr(selection, "SHARE_OF_TIME", 1e9)
    monkeypatch.setattr(selection, "MOST_SECONDS", 60.0)
    monkeypatch.setattr("ecumene.models.candidates.compiler", lambda: None)  # compiling takes too long for a test


def plan_of(folder):
    return json.loads((folder / ".work" / "plan.json").read_text())


def test_the_choice_is_in_plan_and_item_and_a_second_run_keeps_it(bundle, scene, tmp_path, eager_trials, monkeypatch):
    product = map_scenes(bundle, scene, tmp_path / "m")
    plan = plan_of(tmp_path / "m")
    choice = plan["execution"]
    assert (plan["backend"], plan["precision"]) == (choice["backend"], choice["precision"])
    assert choice["probe"] == "scene"
    assert product.properties["ecumene:execution"]["choice"] == choice
    tried = {(trial["backend"], trial["precision"]) for trial in choice["trials"]}
    assert {("onnx", "fp32"), ("openvino", "int8"), ("openvino", "fp32")} <= tried
    for trial in choice["trials"][1:]:
        assert trial["reason"]
        if trial["agreement"]:
            assert 0.9 < trial["agreement"]["agreement"] <= 1.0
            assert trial["megapixels_per_s"] > 0

    def no_trial(*_, **__):
        raise AssertionError("a run that is continued does not choose again")

    monkeypatch.setattr(choosing, "choose_execution", no_trial)
    rasters = raster_bytes(tmp_path / "m")
    (tmp_path / "m" / "item.json").unlink()  # as after a kill before the last step
    map_scenes(bundle, scene, tmp_path / "m")
    assert raster_bytes(tmp_path / "m") == rasters
    assert plan_of(tmp_path / "m") == plan


def test_a_bundle_without_graph_gets_one_in_memory(unet, scene, tmp_path, eager_trials, monkeypatch):
    before = {path.name for path in unet.iterdir()}
    offered = [way for way in selection.list_candidates(Model.load(unet)) if way.name == "openvino fp32"]
    monkeypatch.setattr(selection, "list_candidates", lambda _: tuple(offered))
    monkeypatch.setattr(selection, "LEAST_GAIN", 0.0)
    map_scenes(unet, scene, tmp_path / "m")
    choice = plan_of(tmp_path / "m")["execution"]
    assert choice["backend"] == "openvino"
    assert choice["exported_in_run"]
    assert {path.name for path in unet.iterdir()} == before
    rasters = raster_bytes(tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / ".work" / "tiles", ignore_errors=True)
    (tmp_path / "m" / "item.json").unlink()
    map_scenes(unet, scene, tmp_path / "m")
    assert raster_bytes(tmp_path / "m") == rasters


def test_a_small_map_of_an_exported_model_does_not_import_torch(bundle, scene, tmp_path):
    import subprocess
    import sys

    code = f"""
import sys
from ecumene.workflows.map import map_scenes
product = map_scenes({str(bundle)!r}, {str(scene)!r}, {str(tmp_path / "m")!r})
print(product.properties["ecumene:execution"]["backend"], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["onnx", "False"]
