"""int8 keeps what must stay in float, agrees or is given up, and travels in the bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import INPUTS, LEGEND, make_network, make_spec

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models import quantisation
from ecumene.models.agreement import Agreement
from ecumene.models.bundle import Model
from ecumene.models.export import export_onnx
from ecumene.models.quantisation import quantise
from ecumene.networks import build_network
from ecumene.objectives import Segmentation

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SHIFT = np.array([[-1.0, -1, -1, -2], [0, 0, -1, 2], [1, 1, 1, 0]]) * 0.05


def scenes(count, seed, side=64):
    """Blocks of three classes with noise: images `[N, 4, side, side]` and classes."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 3, (count, side // 8, side // 8))
    target = coarse.repeat(8, axis=1).repeat(8, axis=2)
    mean = np.array([band.mean for band in INPUTS])[:, None, None]
    image = mean + np.moveaxis(SHIFT[target], -1, 1) + 0.05 * generator.standard_normal((count, 4, side, side))
    return image.astype(np.float32), target


@pytest.fixture(scope="module")
def trained():
    """A compact U-Net after a few steps, with its ONNX graph."""
    torch.manual_seed(0)
    arguments = {"in_channels": 4, "n_outputs": 3, "width": 8}
    network = build_network("unet-small", **arguments).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    mean = torch.tensor([band.mean for band in INPUTS])[:, None, None]
    std = torch.tensor([band.std for band in INPUTS])[:, None, None]
    for step in range(40):
        image, target = scenes(4, step)
        loss = torch.nn.functional.cross_entropy(
            network((torch.from_numpy(image) - mean) / std), torch.from_numpy(target)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    spec = make_spec(
        "network", {"name": "unet-small", "arguments": arguments}, Segmentation(LEGEND), stride=8, margin=16
    )
    weights = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
    return export_onnx(Model(spec=spec, weights=weights))


def windows(seed, count=4):
    return list(scenes(count, seed)[0][:, None])


@pytest.fixture(scope="module")
def quantised(trained):
    return quantise(trained, windows(100), windows(200), threads=1)


def test_a_trained_network_agrees_in_int8(trained, quantised):
    assert quantised.succeeded
    last = quantised.steps[-1]
    assert last.failure is None
    assert last.agreement.agreement >= 0.98
    image, target = scenes(2, 300)
    exact = trained.executor("onnx", "fp32", 1).run(image)[0].argmax(axis=1)
    assert (exact == target).mean() > 0.9  # else agreement would say little
    for backend in ("onnx", "openvino"):
        pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
        executor = quantised.model.executor(backend, "int8", 1)
        assert executor.precision == "int8"
        output, score = executor.run(image)
        assert (output.argmax(axis=1) == exact).mean() >= 0.98
        again = quantised.model.executor(backend, "int8", 1).run(image)
        assert output.tobytes() == again[0].tobytes()
        assert score.tobytes() == again[1].tobytes()


def test_normalisation_last_layer_and_score_stay_in_float(quantised):
    graph = onnx.load_model_from_string(quantised.model.onnx_int8).graph
    maker = {name: node for node in graph.node for name in node.output}
    rounded = {node.name for node in graph.node if node.op_type == "Conv" and is_rounded(maker, node)}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(rounded) == quantised.convolutions - len(quantised.steps[-1].in_float)
    assert 0 < len(rounded) < len(convolutions)
    output = maker["output"]
    while output.op_type != "Conv":
        output = maker[output.input[0]]
    assert output.name not in rounded  # the last layer
    for node in graph.node:
        if node.op_type in ("Sub", "Div", "AveragePool", "Where"):
            assert all(maker[name].op_type != "DequantizeLinear" for name in node.input if name in maker)


def is_rounded(maker, node):
    return node.input[0] in maker and maker[node.input[0]].op_type == "DequantizeLinear"


def test_the_worst_layers_return_to_float_until_the_rest_agrees(trained, monkeypatch):
    calls = []

    def strict(self, precision):
        calls.append(self.agreement)
        return "not yet" if len(calls) < 3 else None

    monkeypatch.setattr(Agreement, "failure", strict)
    result = quantise(trained, windows(100), windows(200), threads=1)
    sizes = [len(step.in_float) for step in result.steps]
    assert len(sizes) == 3
    assert sizes == sorted(set(sizes))
    assert all(set(a.in_float) <= set(b.in_float) for a, b in zip(result.steps, result.steps[1:], strict=False))
    assert result.succeeded


def test_a_network_that_never_agrees_is_given_up(trained, monkeypatch):
    monkeypatch.setattr(Agreement, "failure", lambda self, precision: "never")
    result = quantise(trained, windows(100, 1), windows(200, 1), threads=1)
    assert not result.succeeded
    assert result.model.onnx_int8 is None
    assert len(result.steps[-1].in_float) == round(quantisation.SHARES_IN_FLOAT[-1] * result.convolutions)


def test_the_quantised_graph_travels_in_the_bundle(quantised, tmp_path):
    quantised.model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert loaded.onnx_int8 == quantised.model.onnx_int8
    assert "model-int8.onnx" in {path.name for path in (tmp_path / "m").iterdir()}
    assert loaded.with_trust().onnx_int8 is None  # what it was compared with is another model then
    (tmp_path / "m" / "model-int8.onnx").write_bytes(b"x" * 10)
    with pytest.raises(ModelError, match="checksum"):
        Model.load(tmp_path / "m")


def test_quantisation_is_deterministic(trained, quantised):
    again = quantise(trained, windows(100), windows(200), threads=1)
    assert again.model.onnx_int8 == quantised.model.onnx_int8


def test_what_cannot_be_quantised_says_so(trained):
    with pytest.raises(ModelError, match=r"no model\.onnx"):
        quantise(make_network("unet-small"), windows(0), windows(1))
    with pytest.raises(ConfigurationError, match="calibration pixels"):
        quantise(trained, [], windows(1))
    with pytest.raises(ConfigurationError, match="one image"):
        quantise(replace(make_network("ltae"), onnx=trained.onnx), windows(0), windows(1))
