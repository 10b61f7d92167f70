"""What is kept in bfloat16 changes no bit of what is computed in bfloat16."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from small_models import INPUTS, make_network, make_trees

from ecumene.models.normalise_kernel import standardise, standardise_half
from ecumene.models.probe import probe_input

torch = pytest.importorskip("torch")


def in_half(run):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return run()


@pytest.fixture(scope="module")
def unet():
    return make_network("unet", own={"decoder_channels": (16, 8, 8)})


def test_a_kernel_rounds_as_torch_does():
    generator = np.random.default_rng(1)
    image = generator.normal(0.2, 0.4, (3, 5, 7)).astype(np.float32)
    image[0, 0, :4] = np.nan, np.inf, -np.inf, 3e38
    image[1, 2, :3] = 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, -1.0 - 2.0**-8  # halfway between two numbers
    mean, std = np.array([0.1, 0.0, 0.3], np.float32), np.array([0.5, 1.0, 2.0], np.float32)
    full, bits = np.empty((5, 7, 3), np.float32), np.empty((5, 7, 3), np.uint16)
    valid, also = np.empty((5, 7), np.bool_), np.empty((5, 7), np.bool_)
    standardise(image, mean, std, full, valid)
    standardise_half(image, mean, std, bits, also)
    np.testing.assert_array_equal(valid, also)
    wanted = torch.from_numpy(full).to(torch.bfloat16)
    assert torch.equal(torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16), wanted)


def test_weights_are_rounded_once_and_results_stay(unet):
    from ecumene.models.torch_execution import TorchExecutor

    class Plain(TorchExecutor):
        def _in_half(self, spec, module):
            return module

    halved, plain = (kind(unet.spec, unet.weights, precision="bf16", threads=1) for kind in (TorchExecutor, Plain))
    sizes = [sum(p.nbytes for p in executor.module.parameters()) for executor in (halved, plain)]
    assert sizes[0] < 0.51 * sizes[1]
    assert halved.module.half_input
    image, _ = probe_input(unet.spec, batch=2, side=64, seed=3)
    image[0, :, 3:9, 20:30] = np.nan
    for one, other in zip(halved.run(image), plain.run(image), strict=True):
        assert one.tobytes() == other.tobytes()
    # What trust is fitted on is read from the image in float32.
    np.testing.assert_array_equal(halved.raw(image)[1], plain.raw(image)[1])


def test_weights_that_are_read_in_full_stay_so():
    from ecumene.models.half_weights import round_weights

    class Outside(torch.nn.Module):
        """Computes one layer without autocast."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 4)

        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return (self.layer(x),)

    class Summed(torch.nn.Module):
        """Reads weights itself."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 4)

        def forward(self, x):
            return (x * self.layer.weight.float().sum(),)

    for network in (Outside(), Summed()):
        assert in_half(lambda n=network: round_weights(n, lambda m: m(torch.ones(2, 4)))) is network


def test_a_network_that_reads_its_image_in_full_gets_it_so(unet):
    from ecumene.models.deployed import DeployedNetwork
    from ecumene.networks.base import BaseNetwork

    class Bright(BaseNetwork):
        feature_channels = 4

        def forward_features(self, x, dates=None, valid=None):
            return x.float().mean(dim=1, keepdim=True), x

    image = torch.from_numpy(probe_input(unet.spec, batch=1, side=64)[0])
    with torch.inference_mode():
        assert not in_half(lambda: DeployedNetwork(Bright(), INPUTS).takes_half_input(image))


def test_a_scaling_in_place_is_the_same():
    from ecumene.models.scaled_output import ScaledOutput
    from ecumene.trust.scaling import VectorScaling

    scaled = ScaledOutput(VectorScaling((1.2, 0.7, 1.0), (0.1, -0.3, 0.2)))
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 3, (2, 6, 4, 5)).astype(np.float32))
    wanted = scaled(logits)
    given = logits.clone()
    assert torch.equal(scaled(given, in_place=True), wanted)
    assert torch.equal(given, wanted)
    assert not torch.equal(logits, wanted)


def side_by_side(executor, images):
    executors = executor.side_by_side(2)
    assert len({id(one) for one in executors}) == 2
    found = [[], []]

    def work(k):
        found[k].extend(executors[k].run(image) for image in images)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("kind", ["trees", "onnx"])
def test_executors_without_torch_share_what_they_hold(kind, unet):
    if kind == "trees":
        executor = make_trees("forest").executor(threads=1)
    else:
        pytest.importorskip("onnxscript")
        from ecumene.models.export import export_onnx

        executor = export_onnx(make_network("mlp")).executor("onnx", "fp32", 1)
    images = [probe_input(unet.spec, batch=1, side=16, seed=seed)[0] for seed in range(4)]
    wanted = [executor.run(image) for image in images]
    for results in side_by_side(executor, images):
        for one, other in zip(results, wanted, strict=True):
            assert [part.tobytes() for part in one] == [part.tobytes() for part in other]


def test_openvino_keeps_what_it_compiled_while_the_number_of_executors_stays():
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    from ecumene.models.export import export_onnx

    executor = export_onnx(make_network("mlp")).executor("openvino", "fp32", 1)
    image, _ = probe_input(make_network("mlp").spec, batch=1, side=16)
    first = executor.side_by_side(2)
    first[0].run(image)
    compiled = executor._compiled._compiled
    executor.side_by_side(2)[1].run(image)
    assert executor._compiled._compiled is compiled
    executor.side_by_side(1)[0].run(image)
    assert executor._compiled._compiled is not compiled


def test_a_released_model_keeps_its_statement_only(unet):
    model = make_network("mlp")
    executor = model.executor("torch", "fp32", 1)
    image, _ = probe_input(model.spec, batch=1, side=8)
    wanted = executor.run(image)
    model.release()
    assert not model.weights
    assert model.spec.name in model.card
    np.testing.assert_array_equal(executor.run(image)[0], wanted[0])
