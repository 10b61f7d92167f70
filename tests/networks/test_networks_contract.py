"""One tester for all networks; what each of them must be able to do is said by its flags."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import (  # noqa: E402
    build_network,
    list_networks,
    network_class,
    network_info,
    network_module,
)
from ecumene.networks.contract import Network  # noqa: E402

torch.set_num_threads(1)


@dataclass(frozen=True)
class Case:
    name: str
    arguments: dict = field(default_factory=dict)
    side: int = 32
    margin: int = 0
    stride: int = 1
    parameters: int | None = None
    scene: bool = False
    most_features: int = 48

    @property
    def temporal(self):
        return network_info(self.arguments.get("network", self.name)).temporal

    @property
    def id(self):
        return "-".join([self.name, *map(str, self.arguments.values())]).replace(" ", "")

    def build(self, in_channels=5, n_outputs=3):
        torch.manual_seed(0)
        return build_network(self.name, in_channels=in_channels, n_outputs=n_outputs, **self.arguments)

    def inputs(self, batch=2, in_channels=5, side=None, dates=4):
        generator = torch.Generator().manual_seed(1)
        side = side or self.side
        if not self.temporal:
            return (torch.randn(batch, in_channels, side, side, generator=generator),)
        x = torch.randn(batch, dates, in_channels, side, side, generator=generator)
        valid = torch.rand(batch, dates, side, side, generator=generator) > 0.3
        days = torch.tensor([16627.0 + 20 * t for t in range(dates)]).expand(batch, -1).contiguous()
        return x * valid[:, :, None], days, valid


def unet_small_count(bands, outputs, width=32):
    w = (width, 3 * width // 2, 2 * width, 3 * width)
    pairs = [(bands, w[0]), (w[0], w[1]), (w[1], w[2]), (w[2], w[3])]
    pairs += [(w[3] + w[2], w[2]), (w[2] + w[1], w[1]), (w[1] + w[0], w[0])]
    return sum(9 * a * b + 9 * b * b + 4 * b for a, b in pairs) + w[0] * outputs + outputs


def ltae_count(bands, outputs, d_model=128, heads=16, d_k=8, spectral=(32, 64), mlp=128, decoder=(64, 32)):
    def normed(widths):
        return sum(a * b + b + 2 * b for a, b in pairwise(widths))

    attention = heads * d_k + d_model * heads * d_k + heads * d_k
    head = decoder[-1] * outputs + outputs
    return (
        normed((bands, *spectral, d_model))
        + 2 * d_model
        + attention
        + normed((d_model, mlp))
        + normed((mlp, *decoder))
        + head
    )


def mlp_count(bands, outputs, hidden=(128, 128, 64)):
    widths = (bands, *hidden)
    return sum(a * b + 2 * b for a, b in pairwise(widths)) + hidden[-1] * outputs + outputs


def mimo_unet_count(bands, outputs, members=2, width=30):
    """Outputs of one sub-network; the formula of the docstring."""

    def d(a, m, b):
        return 9 * a * m + 3 * m + 9 * m * b + 3 * b

    f, w = width, width * members
    own = d(bands, f, f) + d(f, 2 * f, 2 * f) + d(w + f, (w + f) // 2, f) + f * outputs + outputs
    down = d(2 * w, 4 * w, 4 * w) + d(4 * w, 8 * w, 8 * w) + d(8 * w, 8 * w, 8 * w)
    return members * own + down + d(16 * w, 8 * w, 4 * w) + d(8 * w, 4 * w, 2 * w) + d(4 * w, 2 * w, w)


def multimodal_count(bands, widths, outputs):
    def double(a, b):
        return 9 * a * b + 9 * b * b + 6 * b

    levels = (*widths, widths[-1])
    down = sum(double(c, widths[0]) + sum(double(a, b) for a, b in pairwise(levels)) for c in bands)
    up = sum(4 * w * w + w + double(2 * w, widths[max(i - 1, 0)]) for i, w in enumerate(widths))
    return down + 2 * up + 4 * widths[0] * outputs + 3 * outputs


def fc_siam_count(bands, outputs, widths, dates_in_a_skip, dates_in=1):
    """`dates_in` 2 is early fusion; two dates in a skip connection are FC-Siam-conc."""

    def v(a, b):
        return 9 * a * b + b + 2 * b

    a, b, c, d = widths
    s = dates_in_a_skip
    down = v(dates_in * bands, a) + v(a, a) + v(a, b) + v(b, b) + v(b, c) + 2 * v(c, c) + v(c, d) + 2 * v(d, d)
    up = sum(9 * w * w + w for w in widths)
    deep = v(d + s * d, d) + v(d, d) + v(d, c) + v(c + s * c, c) + v(c, c) + v(c, b)
    return down + up + deep + v(b + s * b, b) + v(b, a) + v(a + s * a, a) + 9 * a * outputs + outputs


def recnn_count(bands, outputs, gates, widths=(32, 64), hidden=128, dense=32):
    a, b = widths
    spatial = 9 * bands * a + a + 9 * a * b + b
    return spatial + gates * hidden * (b + hidden + 1) + hidden * dense + dense + dense * outputs + outputs


SCENE_CNN = 14_714_688 + 2 * 9 * 64 + 3 * 512 + 3
SMALL = {"network": "unet-small", "arguments": {"width": 8}, "members": 3}
SMALL_COUNT = unet_small_count(5, 1, 8)
LOCAL = {"targets": 2, "width": 16, "blocks": 1, "context": "local"}
CASES = [
    Case("unet", side=64, margin=16, stride=32),
    Case("unet", {"encoder": "resnet18", "decoder_channels": [64, 32, 16, 8]}, side=64, margin=16, stride=16),
    Case("unet", {"encoder": "tu-convnext_atto"}, side=64, margin=16, stride=32),
    Case("unet-small", margin=16, stride=8, parameters=unet_small_count(5, 3)),
    Case("ltae", side=8, parameters=ltae_count(5, 3)),
    Case("ltae", {"dates_as": "days-since-first", "d_model": 32, "n_heads": 4}, side=8),
    Case("mlp", side=8, parameters=mlp_count(5, 3)),
    Case("spectral-rnn", {"hidden": 8}, side=8),
    Case("spectral-rnn", {"cell": "lstm", "head": "last_state"}, side=8),
    Case("spectral-cnn", side=8),
    Case("residual-conv", {"widths": [4, 8], "hidden": 16, "patch": 16}, side=16, scene=True),
    Case("scene-resnet", side=64, scene=True, most_features=512),
    Case("sen2lcz", {"width": 8}, scene=True, most_features=64),
    Case("sen2lcz", {"depth": 5, "fusion": False}, side=16, scene=True, most_features=128),
    Case("settlement-lcz", {"width": 4}, 32, 32, 8, scene=False),
    Case("settlement-lcz", {"width": 4, "prior": "multiply", "attention": False}, 32, 32, 8),
    Case("resnext", {"depth": 11, "cardinality": 4, "base_width": 4}, side=16, scene=True, most_features=1024),
    Case("scene-cnn", {"trunk": "vgg16", "input_size": 64}, parameters=SCENE_CNN, scene=True, most_features=512),
    Case("class-attention-rnn", {"trunk": "vgg16", "input_size": 32, "hidden": 8}, scene=True, most_features=512),
    Case("attention-cnn", {"trunk": "vgg16", "input_size": 32, "gate": "cbam"}, scene=True, most_features=512),
    Case("mimo-unet", {"members": 3, "width": 4}, 64, 32, 16, parameters=mimo_unet_count(5, 1, 3, 4)),
    Case("multimodal-unet", {"widths": [4, 8]}, margin=16, stride=4, parameters=multimodal_count((2, 3), (4, 8), 3)),
    Case("balanced-change-unet", {"widths": [4]}, margin=8, stride=2, parameters=multimodal_count((4, 6), (4,), 3)),
    Case("mmcr-change", {"widths": [4, 6]}, side=16, margin=16, stride=4),
    Case("refined-series", {"dates": 4, "widths": [4], "hidden": 8, "layers": 1}, side=8, margin=8, stride=2),
    Case("fc-siam", {"widths": [4, 6, 8, 10]}, margin=32, stride=16, parameters=fc_siam_count(5, 3, (4, 6, 8, 10), 1)),
    Case("recnn", side=8, margin=2, parameters=recnn_count(5, 3, 4)),
    Case("dual-stream-unet", {"streams": [[0, 3], [1, 2, 4]], "widths": [4, 4, 4, 4]}, margin=32, stride=16),
    Case("dsen2cr", {"targets": 2, "width": 8, "blocks": 2}, margin=8),
    Case("uncrtaints", {"targets": 2, "width": 16, "blocks": 1, "heads": 4, "d_model": 16}, margin=32),
    Case("uncrtaints", {**LOCAL, "heads": 4, "d_model": 16}, margin=32, stride=8),
    Case("uncrtaints-mono", LOCAL, margin=16),
    Case("utae-restoration", {"targets": 2, "encoder": [8, 8], "decoder": [8, 8], "heads": 4, "d_model": 8}, 32, 32, 2),
    Case("cnn-3d", {"targets": 2, "dates": 4, "width": 4, "blocks": 1, "blocks_3d": 1}, margin=9),
    Case("pix2pix-unet", {"targets": 2, "width": 4, "depth": 3}, margin=16, stride=8),
    Case("date-blend", {"targets": 2, "width": 8, "radii": [2, 4]}, margin=10),
    Case("ensemble", SMALL, margin=16, stride=8, parameters=3 * SMALL_COUNT),
    Case("mc-dropout", SMALL, margin=16, stride=8, parameters=SMALL_COUNT),
    Case("mc-dropout", {"network": "ltae", "arguments": {}, "members": 3}, side=8),
    Case("augmentation", SMALL, margin=16, stride=8, parameters=SMALL_COUNT),
]
PIXEL = [case for case in CASES if not case.scene]


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request):
    return request.param


def test_every_network_has_a_case():
    assert {case.name for case in CASES} == {info.name for info in list_networks()}


def test_shapes_and_attributes(case):
    network, inputs = case.build().eval(), case.inputs()
    with torch.inference_mode():
        output = network(*inputs)
        same, features = network.forward_features(*inputs)
    space = () if case.scene else (case.side, case.side)
    assert tuple(output.shape) == (2, 3, *space)
    assert tuple(features.shape) == (2, network.feature_channels, *space)
    assert network.feature_channels <= case.most_features
    assert torch.equal(output, same)
    assert torch.isfinite(output).all()
    assert torch.isfinite(features).all()
    assert isinstance(network, Network)
    assert (network.margin, network.stride) == (case.margin, case.stride)
    assert network.temporal == case.temporal
    if case.parameters is not None:
        assert sum(weight.numel() for weight in network.parameters()) == case.parameters


def test_documented_parameter_counts():
    for name, derived, stated in (
        ("unet-small", unet_small_count(13, 6), 482_406),
        ("ltae", ltae_count(13, 6), 55_718),
    ):
        network = build_network(name, in_channels=13, n_outputs=6)
        assert sum(weight.numel() for weight in network.parameters()) == derived == stated
        assert f"{stated:,}" in network_class(name).__doc__


def test_gradient_reaches_every_weight(case):
    network = case.build().train()
    for weight in network.parameters():  # some libraries begin with residual branches switched off
        weight.data += 0.01 * torch.randn_like(weight)
    network(*case.inputs()).square().mean().backward()
    dead = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Softmax over dates does not see a constant: the keys' bias may stay without gradient.
    # A shallower U-Net leaves the deepest stage of its encoder unused.
    # Weights of tasks and what only the training looks at act on the loss, not on the output.
    shallow = ("encoder.layer4",) if "decoder_channels" in case.arguments else ()
    spare = ("key.bias", "log_variances", "auxiliary", *shallow)
    assert [name for name in dead if not name.startswith(spare)] == []


def test_deterministic(case):
    first, second = case.build(), case.build()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    inputs = case.inputs()
    with torch.inference_mode():
        assert torch.equal(first.eval()(*inputs), second.eval()(*inputs))


def test_state_survives_rebuilding(case):
    network = case.build().eval()
    arguments = json.loads(json.dumps({"in_channels": 5, "n_outputs": 3, **case.arguments}))
    rebuilt = build_network(case.name, pretrained=False, **arguments).eval()
    rebuilt.load_state_dict({key: value.clone() for key, value in network.state_dict().items()}, strict=True)
    inputs = case.inputs()
    with torch.inference_mode():
        for before, after in zip(network.forward_features(*inputs), rebuilt.forward_features(*inputs), strict=True):
            assert torch.equal(before, after)


def test_runs_in_bfloat16_autocast(case):
    network, inputs = case.build().eval(), case.inputs()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = network.forward_features(*inputs)[0].float()
    with torch.inference_mode():
        full = network(*inputs)
    assert torch.isfinite(half).all()
    assert (half - full).abs().mean() < 0.1 * full.std() + 0.02


class _Both(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return self.network.forward_features(*inputs)


TRACED = [CASES[0], CASES[3], CASES[4], CASES[6], *CASES[8:]]
SLOW_TO_TRACE = (
    "multimodal-unet", "balanced-change-unet",  # the layers of mmcr-change, whose export is tested
    "uncrtaints-mono", "utae-restoration", "cnn-3d", "pix2pix-unet", "date-blend",  # those of uncrtaints and dsen2cr
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in TRACED if case.name not in SLOW_TO_TRACE], ids=lambda case: case.id)
def test_exports_to_onnx_with_dynamic_batch(case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = _Both(case.build()).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    inputs = case.inputs()
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        network,
        inputs,
        path,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=((*({0: batch} for _ in inputs),),),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    for size in (1, 3):
        fed = case.inputs(batch=size)
        with torch.inference_mode():
            wanted = network(*fed)
        got = session.run(None, {name: part.numpy() for name, part in zip(names, fed, strict=True)})
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", PIXEL, ids=lambda case: case.id)
def test_pixels_beyond_the_receptive_field_do_not_matter(case):
    """Normalisation statistics of the window must not leak into a pixel: a map would depend on its windows."""
    network = case.build().eval()
    inputs = list(case.inputs(side=256 if case.stride > 1 and case.name == "unet-small" else None))
    with torch.inference_mode():
        before = network(*inputs)
        changed = inputs[0].clone()
        changed[..., -1, -1] += 5.0
        after = network(changed, *inputs[1:])
    if case.margin == 0:
        assert torch.equal(before[..., :-1, :], after[..., :-1, :])
        assert not torch.equal(before, after)
    elif case.name == "unet-small":
        assert torch.equal(before[..., :128, :128], after[..., :128, :128])
        assert not torch.equal(before, after)


def test_margin_of_the_small_unet_holds_most_of_the_gradient():
    network = build_network("unet-small", in_channels=3, n_outputs=2).eval()
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(2), requires_grad=True)
    network(x)[:, 0, 64, 64].sum().backward()
    strength = x.grad.abs().sum(dim=(0, 1))
    near = strength[64 - 16 : 64 + 17, 64 - 16 : 64 + 17].sum() / strength.sum()
    assert near > 0.9
    rows = torch.nonzero(strength.sum(dim=1))
    assert int(rows.max() - rows.min()) + 1 <= 96 + 8


def test_trains_on_a_small_scene():
    """Two textures that one pixel alone cannot tell apart."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 1, 32, 32, generator=generator)
    target = (torch.arange(32)[None, None] >= 16).expand(8, 32, 32).long()
    x = torch.where(target[:, None] == 1, noise, noise.mean(dim=(2, 3), keepdim=True) + noise.roll(1, 3) * 0.2)
    torch.manual_seed(0)
    network = build_network("unet-small", in_channels=1, n_outputs=2, width=8).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        right = (network.eval()(x).argmax(1) == target).float().mean()
    assert right > 0.95


def test_features_cost_little():
    """Counted as multiplications, not as noisy seconds."""
    from torch.utils.flop_counter import FlopCounterMode

    for name, side in (("unet", 64), ("unet-small", 64)):
        network = build_network(name, in_channels=4, n_outputs=3).eval()
        counts = []
        for call in (network.forward, network.forward_features):
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                call(torch.zeros(1, 4, side, side))
            counts.append(counter.get_total_flops())
        assert counts[0] <= counts[1] <= 1.05 * counts[0]


@pytest.mark.slow
def test_compiles():
    network = build_network("unet-small", in_channels=3, n_outputs=2, width=4).eval()
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    compiled = torch.compile(network, backend="aot_eager")
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), network(x))


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("u-net", {"in_channels": 3, "n_outputs": 2}, "did you mean"),
        ("unet", {"in_channels": 3}, "takes other arguments"),
        ("unet", {"in_channels": 3, "n_outputs": 2, "colour": 1}, "takes other arguments"),
        ("unet", {"in_channels": 0, "n_outputs": 2}, "in_channels as a positive integer"),
        ("unet", {"in_channels": 3, "n_outputs": "2"}, "n_outputs as a positive integer"),
        ("unet", {"in_channels": 3, "n_outputs": 2, "encoder": "resnet1999"}, "resnet1999"),
        ("unet", {"in_channels": 3, "n_outputs": 2, "encoder": "tu-nonsense"}, "tu-nonsense"),
        ("unet", {"in_channels": 3, "n_outputs": 2, "decoder_channels": [4]}, "3 to 5"),
        ("unet-small", {"in_channels": 3, "n_outputs": 2, "width": 3}, "even width"),
        ("ltae", {"in_channels": 3, "n_outputs": 2, "d_model": 30}, "multiple of n_heads"),
        ("ltae", {"in_channels": 3, "n_outputs": 2, "dates_as": "moon"}, "day-of-year"),
        ("mlp", {"in_channels": 3, "n_outputs": 2, "hidden": []}, "hidden widths"),
        ("scene-resnet", {"in_channels": 3, "n_outputs": 2, "encoder": "nothing"}, "nothing"),
        ("scene-resnet", {"in_channels": 3, "n_outputs": 2, "encoder_weights": "imagenet"}, "safetensors"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(name, arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, **arguments)


def test_registry_is_free_of_torch():
    code = (
        "import sys, ecumene.networks as n, ecumene.objectives, ecumene.trust.calibration, ecumene.trust.outlier;"
        "n.list_networks(); n.network_module('unet');"
        "assert not {'torch', 'lightning', 'timm', 'sklearn'} & set(sys.modules), set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert network_module("ltae") == "ecumene.networks.ltae"
