"""Networks that remove clouds: parameter counts, windows, attention, and what they do with missing dates."""

import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network, network_class  # noqa: E402
from ecumene.networks.attention_masks import TemporalMasks, weigh_dates  # noqa: E402
from ecumene.networks.date_blend import _box_mean  # noqa: E402
from ecumene.networks.mbconv import PixelGroupNorm  # noqa: E402
from ecumene.networks.pix2pix import PatchDiscriminator  # noqa: E402

torch.set_num_threads(1)
DATES = torch.tensor([[17_000.0, 17_020.0, 17_045.0]])


def uncrtaints_count(bands, outputs, width=128, blocks=5, heads=16, d_model=256, d_k=4):
    """The derivation of the docstring."""
    first = bands * width + width + 2 * width
    block = 5 * width * width + 30 * width
    attention = 2 * width + width * d_model + d_model + heads * d_k + d_model * heads * d_k + heads * d_k
    return first + (blocks + 1) * block + attention + width * outputs + outputs


def dsen2cr_count(channels, width, blocks, bands):
    body = 9 * channels * width + width + 2 * blocks * (9 * width * width + width)
    return body + 9 * width * bands + bands


@pytest.mark.parametrize(
    ("name", "channels", "outputs", "derived", "stated"),
    [
        ("dsen2cr", 15, 26, dsen2cr_count(15, 256, 16, 13), 18_947_341),
        ("uncrtaints", 15, 26, uncrtaints_count(15, 26), 570_010),
        ("uncrtaints-mono", 15, 26, uncrtaints_count(15, 26) - 49_792, 520_218),
        ("cnn-3d", 15, 26, None, 38_474_253),
        ("pix2pix-unet", 3, 6, None, 54_413_955),
    ],
)
def test_parameter_counts_of_the_papers(name, channels, outputs, derived, stated):
    with torch.device("meta"):
        network = build_network(name, in_channels=channels, n_outputs=outputs)
    count = sum(weight.numel() for weight in network.parameters())
    assert count == stated
    assert derived is None or derived == count
    assert f"{stated:,}" in network_class(name).__doc__


def test_parameter_count_of_the_discriminator():
    with torch.device("meta"):
        judge = PatchDiscriminator(6)
    assert sum(weight.numel() for weight in judge.parameters()) == 2_768_705
    assert "2,768,705" in PatchDiscriminator.__doc__


def test_a_logit_of_the_discriminator_sees_seventy_pixels():
    judge = PatchDiscriminator(2, width=2).eval()
    x = torch.randn(1, 2, 128, 128, requires_grad=True)
    judge(x)[0, 0, 7, 7].backward()
    rows = torch.nonzero(x.grad.abs().sum(dim=(0, 1, 3)))[:, 0]
    assert int(rows.max() - rows.min()) + 1 == 70


SMALL = {"width": 8, "blocks": 2}
ATTENTION = {"width": 16, "heads": 4, "d_model": 16}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dsen2cr", SMALL),
        ("uncrtaints", {**ATTENTION, "blocks": 2, "context": "local"}),
        ("uncrtaints-mono", {"width": 16, "blocks": 2, "context": "local"}),
        ("cnn-3d", {**SMALL, "blocks_3d": 1}),
        ("date-blend", {"width": 8, "radii": [2, 5]}),
    ],
)
def test_windows_give_what_the_whole_image_gives(name, arguments):
    torch.manual_seed(0)
    channels = 4 if name == "date-blend" else 6
    network = build_network(name, in_channels=channels, n_outputs=8, **arguments).eval()
    for module in network.modules():
        if hasattr(module, "running_var"):
            module.running_var.uniform_(0.5, 2.0)
    size, start = 160, 24  # a multiple of every stride here
    shape = (1, 3, channels, size, size) if network.temporal else (1, channels, size, size)
    x = torch.rand(shape) * 4.0
    valid = torch.rand(1, 3, size, size) > 0.3 if network.temporal else None
    inside = slice(start, start + 128)
    with torch.inference_mode():
        whole = network(x, DATES, valid)[..., inside, inside]
        window = network(x[..., inside, inside], DATES, None if valid is None else valid[..., inside, inside])
    core = slice(network.margin, 128 - network.margin)
    torch.testing.assert_close(whole[..., core, core], window[..., core, core], rtol=1e-4, atol=1e-4)
    assert start % network.stride == 0
    assert network.margin < 64


def test_context_of_the_window_is_as_published():
    """Group normalisation and squeeze-and-excitation look at the whole window: the far corner matters."""
    network = build_network("uncrtaints", in_channels=6, n_outputs=8, blocks=1, **ATTENTION).eval()
    x = torch.rand(1, 3, 6, 64, 64)
    changed = x.clone()
    changed[..., -8:, -8:] += 3.0
    with torch.inference_mode():
        assert not torch.equal(network(x, DATES)[..., :8, :8], network(changed, DATES)[..., :8, :8])


def test_a_date_without_data_does_not_count():
    torch.manual_seed(1)
    network = build_network("uncrtaints", in_channels=5, n_outputs=6, blocks=1, **ATTENTION).eval()
    x = torch.rand(1, 3, 5, 32, 32)
    valid = torch.ones(1, 3, 32, 32, dtype=torch.bool)
    valid[:, 1] = False
    other = x.clone()
    other[:, 1] = torch.rand(5, 32, 32) * 9.0
    attention = network.attention(torch.rand(1, 3, 16, 4, 4), DATES, valid.flatten(2).any(dim=2))
    assert torch.allclose(attention.sum(dim=2), torch.ones(1, 4, 4, 4), atol=1e-5)
    assert float(attention[:, :, 1].detach().abs().max()) < 1e-6
    with torch.inference_mode():
        torch.testing.assert_close(network(x, DATES, valid), network(other, DATES, valid))


def test_means_and_variances_are_in_range():
    network = build_network("uncrtaints", in_channels=5, n_outputs=6, blocks=1, **ATTENTION).eval()
    with torch.inference_mode():
        output = network(torch.randn(1, 3, 5, 32, 32) * 100.0, DATES)
    assert 0.0 <= float(output[:, :3].min()) <= float(output[:, :3].max()) <= 10.0
    assert float(output[:, 3:].min()) >= 1e-3


@pytest.mark.parametrize("days", ["since-launch", "since-first", "of-year"])
def test_days_are_counted_as_said(days):
    masks = TemporalMasks(8, heads=2, d_model=8, days=days)
    shifted = masks.position(DATES + (0.0 if days == "since-launch" else 146_097.0))  # 400 years
    same = torch.allclose(masks.position(DATES), shifted, atol=2e-2)
    assert same
    moved = masks.position(DATES + 50.0)
    assert torch.allclose(masks.position(DATES), moved) == (days == "since-first")


def test_heads_weigh_their_own_channels():
    x = torch.arange(8.0).reshape(1, 2, 4, 1, 1)
    attention = torch.tensor([[[1.0, 0.0], [0.25, 0.75]]])[..., None, None]
    merged = weigh_dates(x, attention, torch.ones(1, 2, dtype=torch.bool), torch.nn.Identity())
    # Head 1 takes date 1 of channels 0 and 1; head 2 a quarter and three quarters of channels 2 and 3.
    assert merged.flatten().tolist() == [0.0, 1.0, 0.25 * 2 + 0.75 * 6, 0.25 * 3 + 0.75 * 7]


def test_local_norm_is_group_norm_of_single_pixels():
    x = torch.randn(2, 8, 3, 3)
    local, usual = PixelGroupNorm(4, 8), torch.nn.GroupNorm(4, 8)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 8, 1, 1)
    expected = usual(pixels).reshape(2, 3, 3, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(local(x), expected)


def test_an_untouched_pixel_is_surer_than_a_changed_one():
    network = build_network("dsen2cr", in_channels=3, n_outputs=6, width=4, blocks=1)
    seen = torch.zeros(1, 3, 32, 32)
    made = seen.clone()
    made[..., 16:, :] = 1.0
    variance = network.with_change(made, [seen])[:, 3:]
    assert float(variance[..., :10, :].max()) < float(variance[..., 20:, :].min())


def test_input_is_limited_as_published():
    """Digital numbers above 10,000 and backscatter above 0 dB are those limits."""
    network = build_network("dsen2cr", in_channels=3, n_outputs=4, targets=2, width=4, blocks=1).eval()
    x = torch.tensor([4.0, 6.0, 3.0])[None, :, None, None].expand(1, 3, 16, 16)
    limited = torch.tensor([4.0, 5.0, 2.0])[None, :, None, None].expand(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(limited))


def test_running_sums_are_means_of_squares():
    x = torch.rand(2, 3, 20, 17)
    found = torch.nn.functional.avg_pool2d(x, 7, stride=1, padding=3, count_include_pad=False)
    torch.testing.assert_close(_box_mean(x, 3), found, rtol=1e-4, atol=1e-5)


def test_blend_brings_dates_to_the_wanted_one():
    """Another date that is brighter by a constant fills a gap without that constant."""
    network = build_network("date-blend", in_channels=2, n_outputs=4, radii=[2, 8]).eval()
    network.trust.data.fill_(-9.0)
    generator = torch.Generator().manual_seed(0)
    truth = 2.0 + 0.2 * torch.randn(1, 2, 48, 48, generator=generator)
    x = torch.stack((truth, truth + 1.5), dim=1)
    valid = torch.ones(1, 2, 48, 48, dtype=torch.bool)
    valid[:, 0, 16:32, 16:32] = False
    x = torch.where(valid[:, :, None], x, 0.0)
    with torch.inference_mode():
        filled = network(x, DATES[:, :2], valid)[:, :2]
    assert float((filled - truth)[..., 16:32, 16:32].abs().max()) < 0.02


def test_blend_learns_the_light_of_a_date_from_what_both_see():
    """Another date whose bands are mixed linearly is brought back exactly, but for the ridge."""
    network = build_network("date-blend", in_channels=2, n_outputs=4, radii=[2, 8], regress=True).eval()
    generator = torch.Generator().manual_seed(0)
    truth = 2.0 + 0.5 * torch.randn(1, 2, 48, 48, generator=generator)
    mixed = torch.stack((0.6 * truth[:, 0] + 0.3 * truth[:, 1] + 0.4, 1.5 * truth[:, 1] - 0.2 * truth[:, 0]), dim=1)
    valid = torch.ones(1, 2, 48, 48, dtype=torch.bool)
    valid[:, 0, 16:32, 16:32] = False
    x = torch.where(valid[:, :, None], torch.stack((truth, mixed), dim=1), 0.0)
    with torch.inference_mode():
        filled = network(x, DATES[:, :2], valid)[:, :2]
    assert float((filled - truth)[..., 16:32, 16:32].abs().mean()) < 0.02


def test_nothing_known_has_a_wide_error_bar():
    network = build_network("date-blend", in_channels=2, n_outputs=4, radii=[2, 4]).eval()
    x = torch.rand(1, 2, 2, 24, 24)
    valid = torch.ones(1, 2, 24, 24, dtype=torch.bool)
    valid[..., :12] = False
    with torch.inference_mode():
        output = network(torch.where(valid[:, :, None], x, 0.0), DATES[:, :2], valid)
    assert torch.isfinite(output).all()
    assert float(output[:, 2:, :, :6].min()) > float(output[:, 2:, :, 14:].max())


def test_what_no_date_sees_may_be_anything():
    network = build_network("date-blend", in_channels=2, n_outputs=4, radii=[2, 4]).eval()
    x = torch.rand(1, 3, 2, 24, 24)
    valid = torch.ones(1, 3, 24, 24, dtype=torch.bool)
    valid[..., :12] = False
    with torch.inference_mode():
        variance = network(torch.where(valid[:, :, None], x, 0.0), DATES[:, :3], valid)[:, 2:]
    low, high = network.limits[:, 0, 0, 0]
    assert torch.allclose(variance[..., :12], (high - low) ** 2 / 12.0)


def test_a_date_without_data_is_no_date_wherever_it_stands():
    """Samples with few dates are filled up with dates of the wanted day on which nothing is seen."""
    network = build_network("date-blend", in_channels=2, n_outputs=4, radii=[2, 4]).eval()
    torch.nn.init.normal_(network.say.weight, std=0.3)
    x, valid = torch.rand(1, 2, 2, 24, 24), torch.ones(1, 2, 24, 24, dtype=torch.bool)
    valid[:, 0, 6:12] = False
    x, days = torch.where(valid[:, :, None], x, 0.0), torch.tensor([[17_000.0, 17_040.0]])
    padded = torch.cat((x, torch.zeros(1, 1, 2, 24, 24)), dim=1)
    unseen = torch.cat((valid, torch.zeros(1, 1, 24, 24, dtype=torch.bool)), dim=1)
    with torch.inference_mode():
        alone = network(x, days, valid)
        for day in (17_000.0, 17_300.0):
            more = network(padded, torch.cat((days, torch.tensor([[day]])), dim=1), unseen)
            torch.testing.assert_close(more, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("dsen2cr", {"in_channels": 2, "n_outputs": 6}, "restores 3 bands"),
        ("dsen2cr", {"in_channels": 5, "n_outputs": 6, "targets": 4}, "one variance or one a band"),
        ("dsen2cr", {"in_channels": 5, "n_outputs": 6, "scaling": "loud"}, "scaling is one of"),
        ("dsen2cr", {"in_channels": 5, "n_outputs": 6, "blocks": 0}, "width and blocks"),
        ("uncrtaints", {"in_channels": 5, "n_outputs": 6, "width": 18}, "multiple of 4"),
        ("uncrtaints", {"in_channels": 5, "n_outputs": 6, "heads": 5}, "multiple of the heads"),
        ("uncrtaints", {"in_channels": 5, "n_outputs": 6, "days": "moon"}, "since-launch"),
        ("cnn-3d", {"in_channels": 5, "n_outputs": 6, "dates": 1}, "two dates"),
        ("pix2pix-unet", {"in_channels": 5, "n_outputs": 6, "depth": 9}, "depth of 2 to 8"),
        ("utae-restoration", {"in_channels": 5, "n_outputs": 6, "decoder": [8, 8]}, "as many widths"),
        ("date-blend", {"in_channels": 5, "n_outputs": 6, "radii": [4, 2]}, "rising radii"),
    ],
)
def test_wrong_arguments_are_a_sentence(name, arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, **arguments)


def test_a_wrong_number_of_dates_is_a_sentence():
    network = build_network("cnn-3d", in_channels=3, n_outputs=4, width=4, blocks=1, blocks_3d=1)
    with pytest.raises(ConfigurationError, match="exactly 3 dates"):
        network(torch.rand(1, 2, 3, 16, 16), DATES[:, :2])
    with pytest.raises(ConfigurationError, match="wanted date first"):
        build_network("date-blend", in_channels=2, n_outputs=4)(torch.rand(1, 1, 2, 8, 8), DATES[:, :1])
