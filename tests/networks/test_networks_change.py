"""Networks of two dates: published sizes, what a pixel sees, and what the dates do."""

import pytest

torch = pytest.importorskip("torch")

from test_networks_contract import fc_siam_count, recnn_count  # noqa: E402

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network, exact_dates, network_class  # noqa: E402
from ecumene.networks.change_pair import apart, both_dates  # noqa: E402
from ecumene.networks.recurrent_change import TwoDateRecurrence  # noqa: E402

torch.set_num_threads(1)
WIDTHS = (16, 32, 64, 128)


def weights_of(name, **arguments):
    return sum(weight.numel() for weight in build_network(name, **arguments).parameters())


def pair(bands=4, side=48, seed=0):
    return torch.randn(1, 2, bands, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("fusion", "skip", "dates", "stated"),
    [("early", 1, 2, 1_353_458), ("concatenate", 2, 1, 1_547_426), ("difference", 1, 1, 1_351_586)],
)
def test_fully_convolutional_networks_have_the_published_sizes(fusion, skip, dates, stated):
    assert weights_of("fc-siam", in_channels=13, n_outputs=2, fusion=fusion) == stated
    assert fc_siam_count(13, 2, WIDTHS, skip, dates) == stated
    assert f"{stated:,}" in network_class("fc-siam").__doc__


def test_fully_convolutional_networks_of_three_bands_have_1_35_and_1_55_million_weights():
    """As papers that compare with them state."""
    fusions = ("early", "difference", "concatenate")
    found = [weights_of("fc-siam", in_channels=3, n_outputs=2, fusion=fusion) for fusion in fusions]
    assert [round(count / 1e6, 2) for count in found] == [1.35, 1.35, 1.55]


def test_recurrent_network_has_the_stated_size():
    assert weights_of("recnn", in_channels=6, n_outputs=2) == recnn_count(6, 2, 4) == 123_266
    assert weights_of("recnn", in_channels=6, n_outputs=2, cell="fc") == recnn_count(6, 2, 1)
    assert weights_of("recnn", in_channels=6, n_outputs=2, cell="gru") == recnn_count(6, 2, 3)
    assert "123,266" in network_class("recnn").__doc__


def test_dual_stream_network_has_about_30_million_weights():
    with torch.device("meta"):
        found = weights_of("dual-stream-unet", in_channels=14, n_outputs=1, streams=[[0], list(range(1, 14))])
    assert found == 29_590_529
    assert "29,590,529" in network_class("dual-stream-unet").__doc__


@pytest.mark.parametrize("cell", ["fc", "lstm", "gru"])
@pytest.mark.parametrize("place", [(3, 4), (0, 0), (8, 5), (11, 11)])
def test_a_scene_is_mapped_as_its_patches_are(cell, place):
    """Also at the border, where a patch has no data beyond."""
    network = build_network("recnn", in_channels=4, n_outputs=3, cell=cell).eval()
    x = pair(side=12)
    row, col = place
    reach = network.patch_size // 2
    surrounded = torch.nn.functional.pad(x, (reach,) * 4)
    patch = surrounded[..., row : row + network.patch_size, col : col + network.patch_size]
    with torch.inference_mode():
        whole, single = network(x), network(patch)
    torch.testing.assert_close(whole[..., row, col], single[..., reach, reach])


def test_dilation_makes_patches_larger():
    network = build_network("recnn", in_channels=2, n_outputs=2, dilations=(1, 2))
    assert (network.patch_size, network.margin) == (7, 3)


def test_two_steps_of_the_lstm_are_those_of_the_usual_one():
    torch.manual_seed(0)
    ours, usual = TwoDateRecurrence(5, 7, "lstm"), torch.nn.LSTM(5, 7, batch_first=True)
    with torch.no_grad():  # both order gates as input, forget, candidate, output
        usual.weight_ih_l0.copy_(ours.of_input.weight[:, :, 0, 0])
        usual.weight_hh_l0.copy_(ours.of_state.weight[:, :, 0, 0])
        usual.bias_ih_l0.copy_(ours.of_input.bias)
        usual.bias_hh_l0.zero_()
    earlier, later = torch.randn(2, 6, 5)
    got = ours(earlier[..., None, None], later[..., None, None])[..., 0, 0]
    torch.testing.assert_close(got, usual(torch.stack([earlier, later], dim=1))[0][:, -1])


def test_two_steps_of_the_gated_unit_follow_their_formula():
    torch.manual_seed(1)
    cell = TwoDateRecurrence(4, 3, "gru")
    w, u, b = cell.of_input.weight[:, :, 0, 0], cell.of_state.weight[:, :, 0, 0], cell.of_input.bias
    state = torch.zeros(3)
    dates = torch.randn(2, 4)
    for x in dates:
        gates = w @ x + b
        reset = torch.sigmoid(gates[:3] + u[:3] @ state)
        update = torch.sigmoid(gates[3:6] + u[3:6] @ state)
        candidate = torch.tanh(gates[6:] + u[6:] @ (reset * state))
        state = update * state + (1 - update) * candidate
    got = cell(*(x[None, :, None, None] for x in dates))[0, :, 0, 0]
    torch.testing.assert_close(got, state)


@pytest.mark.parametrize(
    ("name", "arguments", "reach"),
    [
        ("fc-siam", {"widths": [2, 2, 2, 2], "fusion": "difference"}, 114),
        ("fc-siam", {"widths": [2, 2, 2, 2], "fusion": "early"}, 114),
        ("dual-stream-unet", {"widths": [2, 2, 2, 2]}, 107),
    ],
)
def test_a_window_gives_what_the_whole_scene_gives_beyond_the_reach(name, arguments, reach):
    network = build_network(name, in_channels=1, n_outputs=2, **arguments).eval()
    x = torch.randn(1, 2, 1, 352, 48, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        whole = network(x)
        window = network(x[..., 64:, :])  # begins on the network's grid
        spoilt = x.clone()
        spoilt[..., 176, 24] = float("nan")
        touched = network(spoilt).isnan().flatten(0, 1).any(dim=0).any(dim=1).nonzero()
    assert f"{reach} pixels to each side" in network_class(name).__doc__
    torch.testing.assert_close(window[..., reach:, :], whole[..., 64 + reach :, :])
    assert touched.min() >= 176 - reach
    assert touched.max() <= 176 + reach


@pytest.mark.parametrize("name", ["fc-siam", "dual-stream-unet"])
def test_most_of_what_decides_a_pixel_lies_within_the_margin(name):
    torch.manual_seed(0)
    network = build_network(name, in_channels=2, n_outputs=2, widths=[8, 8, 8, 8]).eval()
    x = pair(2, 160, 1).requires_grad_()
    network(x)[:, 0, 80, 80].sum().backward()
    strength = x.grad.abs().sum(dim=(0, 1, 2))
    near = strength[80 - network.margin : 81 + network.margin, 80 - network.margin : 81 + network.margin]
    assert near.sum() / strength.sum() > 0.95


def test_dates_stay_in_order_and_longer_series_give_the_first_and_the_last():
    series = torch.arange(2 * 4 * 3 * 2.0).reshape(2, 4, 3, 2, 1)
    for frames in (2, 3, 4):
        x = series[:, :frames]
        earlier, later = apart(both_dates(x))
        assert torch.equal(earlier, x[:, 0])
        assert torch.equal(later, x[:, -1])


def test_early_streams_see_their_own_channels_only():
    network = build_network("dual-stream-unet", in_channels=3, n_outputs=2, streams=[[2], [0, 1]], widths=[2, 2, 2, 2])
    assert [encoder.first[0].in_channels for encoder in network.encoders] == [2, 4]
    network.eval()
    with torch.no_grad():
        network.head.weight[:, 2:] = 0.0  # what the second stream says
        x = pair(3, 16)
        other = x.clone()
        other[:, :, :2] += 1.0
        torch.testing.assert_close(network(x), network(other))
        other[:, :, 2] += 1.0
        assert not torch.allclose(network(x), network(other))


def test_no_change_gives_the_difference_network_nothing_but_the_later_date():
    """Equal dates leave zero in all of its skip connections."""
    network = build_network("fc-siam", in_channels=2, n_outputs=2, widths=[2, 2, 2, 2]).eval()
    seen = []
    for level in network.decoder:
        level.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = pair(2, 32)[:, :1]
    with torch.inference_mode():
        network(torch.cat([image, image], dim=1))
    assert len(seen) == 4
    assert all(not joined[:, joined.shape[1] // 2 :].any() for joined in seen)


def test_what_needs_two_dates_says_so_before_torch_is_imported():
    inner = {"network": "recnn", "arguments": {}, "members": 2}
    assert exact_dates({"name": "fc-siam", "arguments": {}}) == 2
    assert exact_dates({"name": "ensemble", "arguments": inner}) == 2
    assert exact_dates({"name": "ltae", "arguments": {}}) is None
    assert exact_dates({"name": "random-forest", "arguments": {}}) is None


@pytest.mark.parametrize("name", ["fc-siam", "recnn"])
def test_dropout_can_be_sampled(name):
    arguments = {"network": name, "arguments": {"dropout": 0.5}, "members": 3}
    network = build_network("mc-dropout", in_channels=2, n_outputs=6, **arguments).eval()
    with torch.inference_mode():
        output = network(pair(2, 32).expand(2, -1, -1, -1, -1))
    assert output.shape == (2, 6, 32, 32)
    torch.testing.assert_close(output[0], output[1])
    assert not torch.allclose(output[:, :2], output[:, 2:4])


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("fc-siam", {"fusion": "late"}, "not by 'late'"),
        ("fc-siam", {"widths": [4, 4]}, "4 positive widths"),
        ("fc-siam", {"dropout": 1.0}, r"\[0, 1\)"),
        ("recnn", {"cell": "rnn"}, "fc, lstm, gru"),
        ("recnn", {"dilations": [1]}, "as many dilations"),
        ("recnn", {"widths": [], "dilations": []}, "positive widths"),
        ("dual-stream-unet", {"streams": [[0], [0, 1]]}, "each of the 3 channels once"),
        ("dual-stream-unet", {"streams": [[0, 1, 2], []]}, "each of the 3 channels once"),
        ("dual-stream-unet", {"widths": [4, 4, 4, 0]}, "4 positive widths"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(name, arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, in_channels=3, n_outputs=2, **arguments)
