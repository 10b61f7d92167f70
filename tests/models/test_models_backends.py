"""Every backend gives what torch gives in float32, on every kind of network; what cannot run says so."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import make_network
from torch import nn

from ecumene.core.errors import ConfigurationError, MissingDependencyError, ModelError
from ecumene.models import compiled_execution
from ecumene.models.agreement import compare
from ecumene.models.bundle import Model
from ecumene.models.export import export_onnx
from ecumene.models.fusion import fold_batch_norms
from ecumene.models.memory_layout import to_channels_last
from ecumene.models.openvino_execution import OpenVinoExecutor
from ecumene.models.probe import probe_input

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")


@dataclass(frozen=True)
class Kind:
    """What one kind of network needs, and can.

    `bf16_openvino` is False where the graph holds numbers that bfloat16 cannot (dates).
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    bf16_openvino: bool = True


KINDS = {
    "unet": Kind({"decoder_channels": [32, 16, 16, 8, 8]}),
    "unet-small": Kind({"width": 8}),
    "ltae": Kind({"d_model": 32, "n_heads": 4}, bf16_openvino=False),
    "mlp": Kind(),
}
WAYS = [("torch", "bf16"), ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]


def as_after_a_training(network):
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2.0)


def make(name, **arguments):
    return make_network(name, change=as_after_a_training, own=arguments)


@pytest.fixture(scope="module", params=sorted(KINDS))
def exported(request):
    return export_onnx(make(request.param, **KINDS[request.param].arguments)), KINDS[request.param]


def test_every_backend_agrees_with_eager_float32_and_repeats_its_bytes(exported):
    model, kind = exported
    image, dates = probe_input(model.spec, batch=2, side=64, n_dates=4, seed=5)
    usable = np.isfinite(image).all(axis=-3)
    usable = usable.any(axis=1) if model.spec.temporal else usable
    expected = model.executor("torch", "fp32", 1).run(image, dates)
    for backend, precision in WAYS:
        if (backend, precision) == ("openvino", "bf16") and not kind.bf16_openvino:
            continue
        executor = model.executor(backend, precision, 1)
        assert (executor.backend, executor.precision) == (backend, precision)
        found = executor.run(image, dates)
        assert all(part.dtype == np.float32 for part in found)
        size = np.abs(expected[0]).max()
        error = np.abs(found[0] - expected[0]).max() / size
        assert error < (1e-4 if precision == "fp32" else 0.1), (backend, precision, error)
        if precision == "fp32":
            agreement = compare(model.objective, expected, found, usable)
            assert agreement.failure("fp32") is None, (backend, agreement)
        other = probe_input(model.spec, batch=1, side=32, n_dates=3)
        executor.run(*other)  # what ran before must not matter
        again = model.executor(backend, precision, 1).run(image, dates)
        for first, second, third in zip(found, executor.run(image, dates), again, strict=True):
            assert first.tobytes() == second.tobytes() == third.tobytes(), (backend, precision)


def test_results_do_not_share_memory_with_the_executor(exported):
    model, _ = exported
    image, dates = probe_input(model.spec, batch=1, side=32, n_dates=3)
    for backend in ("onnx", "openvino"):
        executor = model.executor(backend, "fp32", 1)
        first = executor.run(image, dates)[0]
        kept = first.copy()
        executor.run(image + np.float32(0.3), dates)
        assert np.array_equal(first, kept)


def test_a_series_is_not_rounded_to_bfloat16_by_openvino(exported):
    model, kind = exported
    if kind.bf16_openvino:
        pytest.skip("not a series")
    with pytest.raises(ConfigurationError, match="day numbers"):
        model.executor("openvino", "bf16")


@pytest.mark.slow
def test_the_compiled_network_agrees():
    if compiled_execution.compiler() is None:
        pytest.skip("no C++ compiler")
    model = make_network("mlp")
    image, _ = probe_input(model.spec, batch=1, side=8)
    executor = model.executor("compiled", "fp32", 1)
    assert executor.backend == "compiled"
    for wanted, found in zip(model.executor("torch").run(image), executor.run(image), strict=True):
        assert np.abs(wanted - found).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


# -- what cannot run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "precision", "saying"),
    [
        ("torch", "int8", "int8"),
        ("compiled", "int8", "int8"),
        ("onnx", "bf16", "needs the backend torch or openvino"),
        ("onnx", "fp64", "fp32 or int8"),
        ("openvino", "fp16", "fp32, bf16 or int8"),
        ("caffe", "fp32", "'onnx' or 'openvino'"),
    ],
)
def test_unknown_backends_and_precisions_are_named(backend, precision, saying):
    model = replace(make_network("mlp"), onnx=b"")
    with pytest.raises(ConfigurationError, match=saying):
        model.executor(backend, precision)


def test_graphs_that_are_not_there_say_how_to_make_them():
    for backend in ("onnx", "openvino"):
        with pytest.raises(ModelError, match=r"no model\.onnx; make it with `ecumene export"):
            make_network("mlp").executor(backend)
        with pytest.raises(ModelError, match=r"no model-int8\.onnx; make it with `ecumene export"):
            make_network("mlp").executor(backend, "int8")


def test_a_backend_that_is_not_installed_names_its_extra(monkeypatch):
    real = importlib.import_module

    def without(name, *arguments):
        if name.split(".")[0] in ("openvino", "onnxruntime"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without)
    model = replace(make_network("mlp"), onnx=small_onnx())
    for backend, extra in (("openvino", "openvino"), ("onnx", "onnx")):
        with pytest.raises(MissingDependencyError, match=rf"ecumene\[{extra}\]"):
            model.executor(backend)


def test_without_a_compiler_the_compiled_backend_says_so(monkeypatch):
    monkeypatch.setattr(compiled_execution, "compiler", lambda: None)
    with pytest.raises(ConfigurationError, match=r"C\+\+ compiler"):
        make_network("mlp").executor("compiled", device="cpu")


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch):
    monkeypatch.setattr("ecumene.models.openvino_execution.processor_has_bfloat16", lambda: False)
    with pytest.raises(ConfigurationError, match="no bfloat16"):
        OpenVinoExecutor(make_network("mlp").spec, small_onnx(), precision="bf16")


def small_onnx(inputs=("image",), outputs=("output", "outlier_score"), operator="Identity"):
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, "h", "w"]) for name in inputs]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, "h", "w"]) for name in outputs]
    extra = {"blocksize": 2} if operator == "DepthToSpace" else {}
    nodes = [helper.make_node(operator, [inputs[0]], [name], **extra) for name in outputs]
    graph = helper.make_graph(nodes, "g", ports, results)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


@pytest.mark.parametrize(
    ("data", "saying"),
    [
        (b"\x80\x04 no graph", "not a readable ONNX"),
        (b"", "inputs|cannot execute"),
        (small_onnx(outputs=("other", "outlier_score")), "no network of ecumene"),
        (small_onnx(inputs=("picture",)), "no network of ecumene"),
        (small_onnx(operator="NoSuchOperator"), "cannot execute"),
    ],
)
def test_corrupt_and_foreign_graphs_are_refused_by_openvino(data, saying):
    with pytest.raises(ModelError, match=saying) as caught:
        OpenVinoExecutor(make_network("mlp").spec, data)
    assert "\n" not in str(caught.value)


def test_a_graph_that_fails_while_running_is_a_sentence():
    executor = OpenVinoExecutor(make_network("mlp").spec, small_onnx(operator="DepthToSpace"))
    with pytest.raises(ModelError, match="OpenVINO failed on this input"):
        executor.run(np.zeros((2, 3, 5, 5), np.float32))


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_openvino_files_have_no_place_in_a_bundle(saved, name):
    (saved / name).write_bytes(b"<net/>")
    with pytest.raises(ModelError, match=name):
        Model.load(saved)


# -- torch -------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """A normalisation that can be folded, one that cannot (its input is read twice), one that is called twice."""

    def __init__(self):
        super().__init__()
        self.one, self.norm_one = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.two, self.norm_two = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.three, self.norm_three = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False)
        self.read_twice = False

    def forward(self, x):
        x = self.norm_one(self.one(x)).relu()
        inner = self.two(x)
        x = self.norm_two(inner) + (inner if self.read_twice else 0)
        return (self.norm_three(self.three(self.norm_three(self.three(x)))),)


def normalisations(module):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())


def random_statistics(module):
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.5, generator=generator)
            layer.running_var.uniform_(0.2, 3.0, generator=generator)
    return module.eval()


def test_folding_keeps_results_and_leaves_what_it_cannot_fold():
    module, x = random_statistics(Branches()), torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(module, lambda layer: layer(x))
    assert normalisations(module) == 3  # the original is untouched
    assert normalisations(folded) == 1  # the one that is called twice
    with torch.no_grad():
        assert torch.allclose(folded(x)[0], module(x)[0], atol=1e-5)


def test_folding_that_would_change_results_is_undone():
    module, x = random_statistics(Branches()), torch.randn(2, 3, 8, 8)
    module.read_twice = True
    assert fold_batch_norms(module, lambda layer: layer(x)) is module


def test_a_layer_that_is_listened_to_is_not_folded():
    module, x = random_statistics(Branches()), torch.randn(2, 3, 8, 8)
    module.norm_one.register_forward_hook(lambda *_: None)
    assert normalisations(fold_batch_norms(module, lambda layer: layer(x))) == 2


def test_executed_networks_have_no_normalisation_left():
    model = make("unet-small", width=8)
    assert normalisations(model.executor("torch").module) == 0


def test_three_dimensional_and_recurrent_layers_keep_their_memory_layout():
    module = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.LSTM(4, 4), nn.Linear(4, 4)])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    to_channels_last(module)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    module[2](torch.zeros(2, 1, 4))
    module[1](torch.zeros(1, 3, 4, 8, 8))


def test_nothing_of_the_exporting_machine_is_in_the_graph(exported):
    model, _ = exported
    for trace in (b"site-packages", b"/ecumene/", b"stack_trace", b"class_hierarchy"):
        assert trace not in model.onnx
