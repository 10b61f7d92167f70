"""The exported network gives what torch gives, without torch; and nothing outside of its file is read."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.bundle import Model
from ecumene.models.export import export_onnx
from ecumene.models.onnx_execution import OnnxExecutor, check_onnx
from ecumene.models.probe import probe_input

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def with_detector(model, seed=0):
    from ecumene.trust.calibration import Calibration
    from ecumene.trust.outlier import CombinedDetector
    from ecumene.trust.scaling import Temperature

    image, dates = probe_input(model.spec, seed=seed)
    features = np.moveaxis(model.detector_features(image, dates), 1, -1)
    usable = np.isfinite(image).all(axis=-3)
    usable = usable.any(axis=1) if model.spec.temporal else usable
    detector = CombinedDetector.fit(features[usable], seed=0)
    detector = detector.with_threshold(detector.score(features[usable]), 0.02)
    return model.with_trust(calibration=Calibration(scaling=Temperature(1.7)), detector=detector)


@pytest.fixture(scope="module", params=["mlp", "unet-small", "ltae"])
def exported(request, tmp_path_factory, network_factory):
    """A folder with a calibrated network, its detector and its ONNX graph (exporting takes seconds)."""
    folder = tmp_path_factory.mktemp(request.param) / "m"
    model = with_detector(network_factory(request.param))
    model.save(folder)
    export_onnx(model, folder)
    return folder


def test_torch_and_onnx_agree_at_any_size(exported):
    loaded = Model.load(exported)
    for batch, side, dates in ((1, 64, 2), (5, 40, 7)):
        image, when = probe_input(loaded.spec, batch=batch, side=side, n_dates=dates, seed=3)
        torch_results = loaded.executor("torch").run(image, when)
        onnx_results = loaded.executor("onnx", threads=1).run(image, when)
        for a, b in zip(torch_results, onnx_results, strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= 1e-4 * max(1.0, np.abs(a).max())
        assert np.ptp(torch_results[1]) > 0


def test_a_new_calibration_drops_the_exported_graph_and_bf16_is_refused(exported):
    loaded = Model.load(exported)
    assert loaded.onnx is not None
    assert loaded.with_trust().onnx is None
    with pytest.raises(ConfigurationError, match="fp32"):
        loaded.executor("onnx", precision="bf16")


def test_the_score_in_the_graph_is_the_detectors_own(network_model):
    model = with_detector(network_model("mlp"))
    image, _ = probe_input(model.spec, seed=9)
    _, score = model.executor().run(image)
    features = np.moveaxis(model.detector_features(image), 1, -1)
    expected = model.detector.score(features.reshape(-1, features.shape[-1])).reshape(score.shape)
    assert np.abs(score - expected).max() <= 1e-3 * max(1.0, np.abs(expected).max())


def test_tree_scores_are_the_detectors_own(tree_model):
    model = with_detector(tree_model("forest"))
    image, _ = probe_input(model.spec, seed=9)
    _, score = model.executor().run(image)
    features = np.moveaxis(model.detector_features(image), 1, -1)
    valid = np.isfinite(image).all(axis=1)
    assert np.allclose(score[valid], model.detector.score(features[valid]), rtol=1e-5)


def test_a_detector_of_another_model_is_refused(network_model, tree_model):
    foreign = with_detector(tree_model("forest")).detector
    with pytest.raises(ModelError, match="reads 4 features"):
        network_model("mlp").with_trust(detector=foreign).executor()


def test_mapping_with_onnx_does_not_import_torch(exported):
    code = f"""
        import sys, numpy as np
        from ecumene.models.bundle import Model
        model = Model.load({str(exported)!r})
        series = (2,) if model.spec.temporal else ()
        dates = np.full((1, 2), 16_600, np.float32)
        output, score = model.executor("onnx").run(np.full((1, *series, 4, 32, 32), 0.1, np.float32), dates)
        model.objective.predict(output)
        assert model.detector.threshold is not None and model.calibration.temperature == 1.7
        print([name for name in ("torch", "lightning", "timm", "sklearn") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_trees_are_not_exported(tree_model):
    with pytest.raises(ModelError, match="Only networks"):
        export_onnx(tree_model("forest"))


def tiny_graph():
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    node = helper.make_node("MatMul", ["w", "image"], ["output"])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [4, 1])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [3, 1])
    graph = helper.make_graph([node], "g", [image], [output], [weight])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret.bin", "weights.bin"])
@pytest.mark.parametrize("place", ["initializer", "constant", "subgraph", "function"])
def test_external_data_are_refused_wherever_they_hide(location, place):
    from onnx import TensorProto, helper

    outside = TensorProto(name="x", data_type=TensorProto.FLOAT, dims=[4])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=location)
    model = tiny_graph()
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    if place == "initializer":
        model.graph.initializer.append(outside)
    elif place == "constant":
        model.graph.node.append(constant)
    elif place == "subgraph":
        inner = helper.make_graph([constant], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["b"], ["o"], then_branch=inner, else_branch=inner))
    else:
        model.functions.append(helper.make_function("d", "f", [], ["c"], [constant], []))
    with pytest.raises(ModelError, match="another file"):
        check_onnx(model.SerializeToString())


def test_files_that_are_no_network_are_refused(network_model):
    spec = network_model("mlp").spec
    check_onnx(tiny_graph().SerializeToString())
    with pytest.raises(ModelError, match=r"outputs|inputs"):
        OnnxExecutor(spec, tiny_graph().SerializeToString())
    future = tiny_graph()
    future.ir_version = 99
    with pytest.raises(ModelError, match="cannot be executed"):
        OnnxExecutor(spec, future.SerializeToString())
    for data in (b"\x80\x04not onnx", b"\xff" * 100):
        with pytest.raises(ModelError, match=r"model\.onnx"):
            OnnxExecutor(spec, data)
