import math

import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402

torch.set_num_threads(1)
DAYS = torch.tensor([[16627.0, 16647.0, 16667.0, 16677.0]])


def make(**arguments):
    torch.manual_seed(0)
    network = build_network("ltae", in_channels=3, n_outputs=2, d_model=32, n_heads=4, **arguments).eval()
    for weight in network.parameters():  # no bias may hide behind its initial zero
        weight.data += 0.05 * torch.randn_like(weight)
    return network


def series(seed=1, dates=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, dates, 3, 4, 4, generator=generator)


def test_masked_dates_do_not_matter():
    network, x = make(), series()
    valid = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    valid[:, 2] = False
    changed = x.clone()
    changed[:, 2] = 1e3
    with torch.inference_mode():
        a, b = network(x, DAYS, valid), network(changed, DAYS, valid)
        without = network(x[:, [0, 1, 3]], DAYS[:, [0, 1, 3]], valid[:, [0, 1, 3]])
    assert torch.equal(a, b)
    torch.testing.assert_close(a, without)


def test_pixel_without_any_date_is_finite_and_attention_is_zero():
    network, x = make(), series()
    valid = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    valid[:, :, 0, 0] = False
    output = network(x * valid[:, :, None], DAYS, valid)
    assert torch.isfinite(output).all()
    output.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None)
    pixels = x.permute(0, 3, 4, 1, 2).flatten(1, 2)
    present = valid.permute(0, 2, 3, 1).flatten(1, 2)
    with torch.inference_mode():
        attention = network.attend(pixels, network.position(DAYS)[:, None], present)[1]
    assert tuple(attention.shape) == (1, 16, 4, 4)
    assert not attention[:, 0].any()
    torch.testing.assert_close(attention[:, 1:].sum(dim=3), torch.ones(1, 15, 4))


def test_order_of_dates_does_not_matter_but_days_do():
    network, x = make(), series()
    turned = [3, 1, 0, 2]
    with torch.inference_mode():
        a, b = network(x, DAYS), network(x[:, turned], DAYS[:, turned])
        other_season = network(x, DAYS + 120)
    torch.testing.assert_close(a, b)
    assert (a - other_season).abs().max() > 1e-3


def test_attention_equals_the_paper_with_explicit_keys():
    """Scores from stored keys, as in the paper, against the product of query and key weights used here."""
    network, x = make(), series()
    pixels = x.permute(0, 3, 4, 1, 2).flatten(1, 2)
    present = torch.ones(1, 16, 4, dtype=torch.bool)
    with torch.inference_mode():
        position = network.position(DAYS)[:, None]
        encoded = network.norm(network.spectral(pixels)) + position
        keys = network.key(encoded).unflatten(-1, (4, 8))
        scores = (keys * network.query).sum(-1) / math.sqrt(8)
        weights = scores.softmax(dim=2)
        pooled = torch.cat(
            [(weights[..., h, None] * encoded[..., 8 * h : 8 * (h + 1)]).sum(dim=2) for h in range(4)], dim=-1
        )
        wanted = network.decoder(network.mlp(pooled))
        hidden, attention = network.attend(pixels, position, present)
    torch.testing.assert_close(attention, weights.transpose(2, 3))
    torch.testing.assert_close(hidden, wanted)


def test_positions_of_another_year_and_another_first_date():
    by_year, by_first = make(), make(dates_as="days-since-first")
    with torch.inference_mode():
        year = by_year.position(DAYS + 4 * 365.2425)
        torch.testing.assert_close(year, by_year.position(DAYS), atol=2e-2, rtol=0)
        torch.testing.assert_close(by_first.position(DAYS + 777), by_first.position(DAYS))
        assert (by_year.position(DAYS + 90) - by_year.position(DAYS)).abs().max() > 0.5
        first = by_first.position(DAYS)[0, 0]
    assert torch.equal(first, torch.cat((torch.zeros(16), torch.ones(16))))


def test_chunks_change_nothing():
    x = series()
    with torch.inference_mode():
        torch.testing.assert_close(make(chunk=3)(x, DAYS), make()(x, DAYS))


def test_any_number_of_dates():
    network = make()
    with torch.inference_mode():
        for dates in (1, 2, 7):
            days = 16627.0 + 10 * torch.arange(dates)[None].float()
            assert torch.isfinite(network(series(dates=dates), days)).all()


def test_dates_are_needed():
    with pytest.raises(ConfigurationError, match="dates"):
        make()(series())


def test_learns_when_the_season_decides():
    """The class is the season in which the one bright date lies; without dates it cannot be told."""
    generator = torch.Generator().manual_seed(0)
    n, dates = 256, 6
    late = torch.randint(0, 2, (n,), generator=generator)
    days = torch.rand(n, dates, generator=generator) * 360
    bright = (days > 180) == late.bool()[:, None]
    x = 0.3 * torch.randn(n, dates, 1, 1, 1, generator=generator) + 2.0 * bright[:, :, None, None, None]
    torch.manual_seed(0)
    network = build_network("ltae", in_channels=1, n_outputs=2, d_model=32, n_heads=4, dropout=0.0).train()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network(x, days + 17000 - 17000 % 365.2425)[:, :, 0, 0], late)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2
