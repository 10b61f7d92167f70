"""Networks for local climate zones: published sizes, and what multi-level fusion computes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.cbam import Cbam  # noqa: E402
from ecumene.networks.sen2lcz import Sen2LczNet, log_of_mean, pool_both  # noqa: E402


def _count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _sen2lcz_count(bands: int, classes: int, depth: int = 17, width: int = 16, fusion: bool = True) -> int:
    """Weights as the docstring derives them: 3x3 convolutions with bias, normalisation with scale and offset."""
    layers = (depth - 1) // 4

    def convolution(a: int, b: int) -> int:
        return 9 * a * b + b + 2 * b

    total = convolution(bands, width) + (layers - 1) * convolution(width, width)
    for wide in (2 * width, 4 * width, 8 * width):
        total += layers * convolution(wide, wide)
        total += wide * classes + classes if fusion else 0
    return total + 8 * width * classes + classes


def test_sen2lcz_has_the_published_size() -> None:
    with torch.device("meta"):
        network = Sen2LczNet(10, 17)
    assert _count(network) == _sen2lcz_count(10, 17) == 791_428
    # Running means and variances of the 16 normalisations: 2 * 4 * (16 + 32 + 64 + 128).
    assert sum(buffer.numel() for buffer in network.buffers() if buffer.ndim) == 1_920
    assert "791,428" in (Sen2LczNet.__doc__ or "")


@pytest.mark.parametrize(("depth", "width", "fusion"), [(5, 16, False), (9, 8, True), (17, 16, False), (29, 32, True)])
def test_sen2lcz_of_other_sizes(depth: int, width: int, fusion: bool) -> None:
    with torch.device("meta"):
        network = Sen2LczNet(8, 11, depth=depth, width=width, fusion=fusion)
        output, features = network.forward_features(torch.empty(3, 8, 32, 32))
    assert _count(network) == _sen2lcz_count(8, 11, depth, width, fusion)
    assert output.shape == (3, 11)
    assert features.shape == (3, 8 * width)


def test_fusion_is_the_mean_of_the_softmax_vectors() -> None:
    logits = [torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) * 3 for seed in range(4)]
    mean = torch.stack([each.softmax(1) for each in logits]).mean(0)
    raw = log_of_mean(logits)
    torch.testing.assert_close(raw.softmax(1), mean)
    # So that the objective's cross-entropy is the published one, of the mean.
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    wanted = -mean[torch.arange(6), target].log().mean()
    torch.testing.assert_close(torch.nn.functional.cross_entropy(raw, target), wanted)


def test_fusion_is_sure_of_the_impossible_without_overflow() -> None:
    raw = log_of_mean([torch.tensor([[2000.0, 0.0]]), torch.tensor([[1500.0, 0.0]])])
    assert torch.isfinite(raw).all()
    torch.testing.assert_close(raw.softmax(1), torch.tensor([[1.0, 0.0]]))


def test_pooling_keeps_both_kinds() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    pooled = pool_both(x)
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[5.0, 7.0], [13.0, 15.0]]))
    torch.testing.assert_close(pooled[0, 1], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))


def _resnext_count(bands: int, classes: int, attention: bool) -> int:
    """29 layers, 8 x 64d, as the docstring derives it; CBAM 2 C (C/8) + C/8 + C + 98 a block."""
    total, before = 9 * bands * 64 + 2 * 64, 64
    for stage in range(3):
        inner, after = 512 * 2**stage, 256 * 2**stage
        for number in range(3):
            total += before * inner + 9 * inner * inner // 8 + inner * after + 4 * inner + 2 * after
            total += before * after + 2 * after if number == 0 else 0
            total += 2 * after * (after // 8) + after // 8 + after + 98 if attention else 0
            before = after
    return total + before * classes + classes


def test_resnext_has_the_published_size() -> None:
    with torch.device("meta"):
        # Xie et al. (2017), table 7: 34.4 million on CIFAR-10.
        assert _count(build_network("resnext", in_channels=3, n_outputs=10, attention=False)) == 34_426_698
        for attention in (False, True):
            network = build_network("resnext", in_channels=10, n_outputs=17, attention=attention)
            assert _count(network) == _resnext_count(10, 17, attention)
            output, features = network.forward_features(torch.empty(2, 10, 32, 32))
            assert output.shape == (2, 17)
            assert features.shape == (2, 1024)


def test_block_attention_weighs_between_nothing_and_all() -> None:
    torch.manual_seed(0)
    attention = Cbam(16).eval()
    x = torch.randn(2, 16, 9, 7)
    with torch.inference_mode():
        share = attention(x) / x
    assert float(share.min()) >= 0.0
    assert float(share.max()) <= 1.0
    # A channel's weight times a place's weight: of rank one in channel and place.
    table = share[0].reshape(16, -1).numpy()
    assert np.linalg.matrix_rank(table, tol=1e-4) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("sen2lcz", {"depth": 16}, "depth of 5, 9, 13"),
        ("sen2lcz", {"dropout": 1.0}, "dropout"),
        ("resnext", {"depth": 28}, "depth of 11, 20, 29"),
        ("resnext", {"cardinality": 0}, "cardinality"),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: dict, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, in_channels=10, n_outputs=17, **arguments)


def test_sen2lcz_learns_what_averages_do_not_show() -> None:
    """Stripes against dots of one mean and variance."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(64) % 2
    noise = torch.randn(64, 2, 16, 16, generator=generator)
    stripes = torch.randn(64, 2, 16, 1, generator=generator).expand(64, 2, 16, 16)
    x = torch.where(target[:, None, None, None] == 1, stripes, noise)
    torch.manual_seed(0)
    network = Sen2LczNet(2, 2, depth=5, width=8).train()
    optimiser = torch.optim.NAdam(network.parameters(), 2e-3)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(x[:48]), target[:48])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        assert (network.eval()(x[48:]).argmax(1) == target[48:]).float().mean() >= 0.9


def _settlement_count(bands: int, zones: int, prior: str, width: int = 16, attention: bool = True) -> int:
    def separable(a: int, b: int) -> int:
        return 9 * a + a * b + 3 * b

    w, shared = width, 16 * width
    entering = 2 * (shared + (prior == "concatenate"))
    total = 9 * bands * w + 3 * w
    for a, b in ((w, w), (w, 2 * w), (2 * w, 2 * w), (4 * w, 8 * w), (8 * w, 8 * w), (8 * w, shared), (shared, shared)):
        total += separable(a, b)
    total += separable(entering, 2 * shared) + separable(4 * shared, 4 * shared)
    total += 2 * (2 * shared * (shared // 8) + shared // 8 + shared + 98) if attention else 0
    total += shared + 1 + sum(wide * zones + zones for wide in (4 * w, entering, 4 * shared, 4 * shared))
    return total + 2 + (shared * zones + zones if prior == "multiply" else 0)


@pytest.mark.parametrize("prior", ["none", "multiply", "concatenate"])
def test_settlement_network_has_the_derived_size(prior: str) -> None:
    with torch.device("meta"):
        network = build_network("settlement-lcz", in_channels=10, n_outputs=18, prior=prior)
        output, features = network.forward_features(torch.empty(1, 10, 128, 128))
        plain = build_network("settlement-lcz", in_channels=10, n_outputs=18, prior=prior, attention=False)
    assert _count(network) == _settlement_count(10, 17, prior)
    assert _count(plain) == _settlement_count(10, 17, prior, attention=False)
    assert output.shape == (1, 18, 128, 128)
    assert features.shape == (1, 32, 128, 128)
    assert _settlement_count(10, 17, "none") == 1_542_091
    assert "1,542,091" in (type(network).__doc__ or "")


def test_zones_of_the_settlement_network_are_probabilities_of_one_grid() -> None:
    torch.manual_seed(0)
    network = build_network("settlement-lcz", in_channels=3, n_outputs=6, width=4).eval()
    with torch.inference_mode():
        output = network(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(output[:, 1:].exp().sum(1), torch.ones(2, 32, 32))
    # The extent is a map of half the resolution, repeated.
    torch.testing.assert_close(output[:, 0, ::2, ::2], output[:, 0, 1::2, 1::2])


def test_the_extent_is_a_prior_of_the_zones() -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for prior, matters in (("none", False), ("multiply", True), ("concatenate", True)):
        torch.manual_seed(0)
        network = build_network("settlement-lcz", in_channels=3, n_outputs=6, width=4, prior=prior).eval()
        with torch.inference_mode():
            before = network(x)
            network.extent_head.bias.add_(3.0)
            after = network(x)
        assert not torch.equal(before[:, 0], after[:, 0])
        assert torch.equal(before[:, 1:], after[:, 1:]) is not matters
