"""Recurrent and convolutional networks along a spectrum: their recurrence, their sizes, their use as pixel networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.gated_recurrence import GatedRecurrence, GatedUnit, pretanh, run_gated  # noqa: E402
from ecumene.systems import list_systems  # noqa: E402

torch.set_num_threads(1)
BANDS, CLASSES = 103, 9  # Pavia University


def recurrent(cell, head, **arguments):
    torch.manual_seed(0)
    return build_network("spectral-rnn", in_channels=12, n_outputs=3, cell=cell, head=head, hidden=8, **arguments)


def one_step(unit, x, h):
    """The unit as published, written down once more and slowly."""
    n = h.shape[1]
    w, u, b = unit.weight_input, unit.weight_state, unit.bias
    r = torch.sigmoid(x @ w[:n].T + h @ u[:n].T + b[:n])
    z = torch.sigmoid(x @ w[n : 2 * n].T + h @ u[n : 2 * n].T + b[n : 2 * n])
    c = x @ w[2 * n :].T + (r * h) @ u[2 * n :].T + b[2 * n :]
    c = torch.tanh(c) if unit.slope is None else pretanh(c, unit.slope)
    return z * h + (1 - z) * c


@pytest.mark.parametrize("rectified", [True, False])
def test_the_recurrence_is_the_published_one(rectified):
    torch.manual_seed(1)
    unit = GatedUnit(2, 5, rectified).double()
    x = torch.randn(7, 4, 2, dtype=torch.float64)
    states, h = [], torch.zeros(4, 5, dtype=torch.float64)
    for step in x:
        h = one_step(unit, step, h)
        states.append(h)
    assert torch.allclose(unit(x, keep=True), torch.stack(states), atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(unit(x, keep=True), torch.stack(states), atol=1e-12)
        assert torch.allclose(unit(x, keep=False), h, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_gradients_by_hand_are_those_of_finite_differences(steps, count, hidden, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    projected, weight = draw(steps, count, 3 * hidden), draw(3 * hidden, hidden)
    slope = torch.rand(hidden, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(GatedRecurrence.apply, (projected, weight, slope))


@given(st.floats(-20, 20), st.floats(0, 1))
def test_pretanh_lies_between_tanh_and_its_rectification(x, slope):
    value = float(pretanh(torch.tensor([x], dtype=torch.float64), torch.tensor([slope], dtype=torch.float64)))
    assert min(0.0, np.tanh(x)) - 1e-12 <= value <= max(0.0, np.tanh(x)) + 1e-12
    assert value == pytest.approx(np.tanh(x) if x > 0 else slope * np.tanh(x), abs=1e-12)


def test_a_slope_of_one_is_tanh():
    torch.manual_seed(0)
    projected, weight = torch.randn(6, 3, 12), torch.randn(12, 4)
    plain = GatedUnit(1, 4, rectified=False)
    assert torch.equal(plain.ones, torch.ones(4))
    ones, half = (
        run_gated(projected, weight, torch.ones(4), True),
        run_gated(projected, weight, torch.full((4,), 0.5), True),
    )
    assert not torch.allclose(ones, half)
    assert ones.abs().max() <= 1


def trained(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        # 64 units that read one number: 3 gates of 64 x (1 + 64 + 1) = 12,672, and 64 slopes; then normalisation and
        # classifier on 64 numbers (2 x 64 + 65 x 9) or on 64 of each of 103 bands (2 x 6,592 + 6,593 x 9).
        ("spectral-rnn", {"cell": "gru-pretanh", "head": "last_state"}, 12_672 + 64 + 128 + 585),
        ("spectral-rnn", {"cell": "gru-pretanh", "head": "all_states"}, 12_672 + 64 + 13_184 + 59_337),
        # The public port has 85,385: two biases a gate (192 more than one), and no slopes.
        ("spectral-rnn", {"cell": "gru", "head": "all_states"}, 85_385 - 192),
        # Four gates with two biases: 4 x 64 x (1 + 64 + 2).
        ("spectral-rnn", {"cell": "lstm", "head": "last_state"}, 17_152 + 128 + 585),
        ("spectral-rnn", {"cell": "gru", "bands_per_step": 4, "head": "last_state"}, 192 * (4 + 65) + 128 + 585),
        # 20 kernels of 11 bands leave 93 positions, pooled by 3 to 31: 240 + (620 + 1) x 100 + 101 x 9.
        ("spectral-cnn", {}, 240 + 62_100 + 909),
    ],
)
def test_parameters_at_published_size(name, arguments, count):
    with torch.device("meta"):
        network = build_network(name, in_channels=BANDS, n_outputs=CLASSES, **arguments)
        assert network(torch.empty(2, BANDS, 1, 1)).shape == (2, CLASSES, 1, 1)
    assert trained(network) == count


def test_weights_of_the_recurrent_layer_begin_as_published():
    network = build_network("spectral-rnn", in_channels=20, n_outputs=3)
    for parameter in (network.layer.weight_input, network.layer.weight_state, network.layer.bias):
        assert 0.08 < parameter.abs().max() <= 0.1
    assert torch.equal(network.layer.slope.detach(), torch.full((64,), 0.25))


CELLS = [(cell, head) for cell in ("gru-pretanh", "gru", "lstm") for head in ("last_state", "all_states")]


@pytest.mark.parametrize(("cell", "head"), CELLS)
def test_pixels_do_not_see_each_other_and_chunks_change_nothing(cell, head):
    network = recurrent(cell, head, bands_per_step=5).eval()
    x = torch.randn(2, 12, 6, 7)
    with torch.no_grad():
        output, features = network.forward_features(x)
        network.chunk = 5
        assert torch.allclose(network(x), output, atol=1e-6)
        assert torch.allclose(network(x[:1, :, 2:3, 3:4]), output[:1, :, 2:3, 3:4], atol=1e-6)
    assert features.shape == (2, network.feature_channels, 6, 7)
    with torch.enable_grad():
        assert torch.allclose(network(x), output, atol=1e-6)


@pytest.mark.parametrize(("cell", "head"), CELLS)
def test_every_weight_learns(cell, head):
    network = recurrent(cell, head).train()
    network(torch.randn(16, 12, 1, 1)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_under_bfloat16_computes_the_recurrence_in_float32():
    network = recurrent("gru-pretanh", "last_state").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(torch.randn(8, 12, 1, 1)).float().square().mean()
    loss.backward()
    assert network.layer.weight_state.grad.dtype == torch.float32
    assert torch.isfinite(network.layer.weight_state.grad).all()


@pytest.mark.parametrize("name", ["spectral-rnn", "spectral-cnn"])
def test_exported_graphs_give_the_same_numbers(name):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from ecumene.models.export import trace_module

    torch.manual_seed(0)
    network = build_network(name, in_channels=12, n_outputs=3).eval()
    batch, height = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("height", min=1, max=64)
    shapes = {"x": {0: batch, 2: height, 3: None}}
    proto = trace_module(network, (torch.randn(2, 12, 8, 4),), shapes, ["output"])
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = torch.randn(3, 12, 5, 4)
    with torch.no_grad():
        assert np.allclose(session.run(None, {"x": x.numpy()})[0], network(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("spectral-rnn", {"cell": "rnn"}, "cells gru-pretanh, gru, lstm"),
        ("spectral-rnn", {"head": "middle"}, "heads last_state, all_states"),
        ("spectral-rnn", {"bands_per_step": 13}, "1 to 12 bands a step"),
        ("spectral-rnn", {"hidden": 0}, "at least one unit"),
        ("spectral-cnn", {"kernels": 0}, "at least one kernel"),
    ],
)
def test_impossible_arguments_get_a_sentence(name, arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, in_channels=12, n_outputs=3, **arguments)


def test_the_systems_of_the_comparison_carry_its_table():
    systems = [system for system in list_systems() if system.name.startswith("hsi-") and system.figures]
    published = {system.name: system.figures[0].value for system in systems}
    assert {name: published[name] for name in ("hsi-gru-pretanh", "hsi-gru-tanh", "hsi-lstm")} == {
        "hsi-gru-pretanh": 0.8499,
        "hsi-gru-tanh": 0.7770,
        "hsi-lstm": 0.7592,
    }
    assert {name: published[name] for name in ("hsi-cnn", "hsi-svm", "hsi-rf")} == {
        "hsi-cnn": 0.7927,
        "hsi-svm": 0.7882,
        "hsi-rf": 0.7137,
    }
