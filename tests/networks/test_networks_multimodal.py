"""Networks of radar and optical streams: counts, losses against their formulas, and the graph of dates."""

from itertools import pairwise, product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network, exact_dates, network_class  # noqa: E402
from ecumene.networks.multimodal_unet import scaled_gradient  # noqa: E402
from ecumene.networks.temporal_graph import (  # noqa: E402
    belief_propagation,
    edges_of,
    group_scores,
    joint_weights,
    most_probable_states,
    state_groups,
)
from ecumene.objectives.jaccard_losses import jaccard_loss  # noqa: E402

torch.set_num_threads(1)


def double(a, b):
    return 9 * a * b + 9 * b * b + 6 * b


def levels(widths):
    return (*widths, widths[-1])


def encoder(bands, widths):
    return double(bands, widths[0]) + sum(double(a, b) for a, b in pairwise(levels(widths)))


def decoder(widths):
    return sum(4 * w * w + w + double(2 * w, widths[max(i - 1, 0)]) for i, w in enumerate(widths))


FULL = (64, 128, 256, 512)


@pytest.mark.parametrize(
    ("name", "bands", "outputs", "derived"),
    [
        ("multimodal-unet", 12, 2, encoder(2, FULL[:2]) + encoder(10, FULL[:2]) + 2 * decoder(FULL[:2]) + 259),
        ("mmcr-change", 6, 2, encoder(2, FULL) + encoder(4, FULL) + 4 * decoder(FULL) + 2 * 129 + 2 * 65),
        ("balanced-change-unet", 6, 2, encoder(4, FULL) + encoder(8, FULL) + 2 * decoder(FULL) + 259),
        (
            "refined-series",
            3,
            7,
            encoder(3, FULL)
            + 2 * decoder(FULL)
            + 130
            + 2 * sum(4 * d * d + 2 * d * 256 + 9 * d + 256 for d in levels(FULL)),
        ),
    ],
)
def test_published_sizes(name, bands, outputs, derived):
    network = build_network(name, in_channels=bands, n_outputs=outputs)
    assert sum(weight.numel() for weight in network.parameters()) == derived
    if name != "balanced-change-unet":
        assert f"{derived:,}" in network_class(name).__doc__


def made(name, **arguments):
    torch.manual_seed(0)
    return build_network(name, **arguments)


def series(batch, dates, bands=6, side=8, seed=1):
    return torch.randn(batch, dates, bands, side, side, generator=torch.Generator().manual_seed(seed))


def labels(batch, maps, side=8, seed=2):
    return torch.randint(0, 2, (batch, maps, side, side), generator=torch.Generator().manual_seed(seed))


def test_the_loss_of_labelled_pairs_is_half_change_and_half_six_built_up_maps():
    network = made("mmcr-change", in_channels=6, n_outputs=2, widths=[4], consistency=0.0).eval()
    x, target, valid = series(2, 2), labels(2, 3), torch.ones(2, 2, 8, 8, dtype=torch.bool)
    change = jaccard_loss(network(x), target[:, 0], valid.all(1))
    built = network.built_up(x)
    assert set(built) == {"radar", "optical", "fusion"}
    six = [jaccard_loss(maps[:, t], target[:, 1 + t], valid[:, t]) for maps in built.values() for t in (0, 1)]
    torch.testing.assert_close(network.training_loss(jaccard_loss, x, target, valid), 0.5 * (change + sum(six) / 6))
    # Where only change is labelled, it is learned alone.
    torch.testing.assert_close(network.training_loss(jaccard_loss, x, target[:, 0], valid), change)


@pytest.mark.parametrize("detach", [False, True])
def test_unlabelled_pairs_teach_the_radar_what_the_optical_stream_says(detach):
    arguments = {"in_channels": 6, "n_outputs": 2, "widths": [4], "consistency": 0.3, "detach": detach}
    network = made("mmcr-change", **arguments).eval()
    x, valid = series(2, 2), torch.ones(2, 2, 8, 8, dtype=torch.bool)
    target = torch.full((2, 3, 8, 8), -1)
    built = network.built_up(x)
    p = {name: maps.softmax(dim=2)[:, :, 1] for name, maps in built.items()}
    losses = []
    for t in (0, 1):
        r, o = p["radar"][:, t], p["optical"][:, t]
        losses.append(1 - (r * o).sum() / ((r * r).sum() + (o * o).sum() - (r * o).sum() + 1e-6))
    loss = network.training_loss(jaccard_loss, x, target, valid)
    torch.testing.assert_close(loss, 0.3 * sum(losses) / 2)
    loss.backward()
    teacher = network.auxiliary["optical_head"].weight.grad
    assert network.auxiliary["radar_head"].weight.grad.abs().sum() > 0
    assert (teacher is None or not teacher.any()) == detach
    # A batch of both kinds is the sum of both parts.
    mixed = torch.cat((target[:1], labels(1, 3)))
    parts = [network.training_loss(jaccard_loss, x[i : i + 1], mixed[i : i + 1], valid[:1]) for i in (0, 1)]
    torch.testing.assert_close(network.training_loss(jaccard_loss, x, mixed, valid), sum(parts))


def test_the_settlement_loss_adds_three_heads_and_a_tenth_of_the_agreement():
    network = made("multimodal-unet", in_channels=5, n_outputs=2, widths=[4]).eval()
    assert network.consistency == 0.1
    x, valid = series(2, 1, 5)[:, 0], torch.ones(2, 8, 8, dtype=torch.bool)
    target = torch.cat((labels(1, 2), torch.full((1, 2, 8, 8), -1)))
    heads = network.outputs_by_stream(x)
    supervised = sum(jaccard_loss(heads[n][:1], target[:1, 0], valid[:1]) for n in ("fusion", "radar", "optical"))
    soft = heads["radar"][1:].softmax(dim=1)
    wanted = supervised + 0.1 * jaccard_loss(heads["optical"][1:], soft, valid[1:])
    torch.testing.assert_close(network.training_loss(jaccard_loss, x, target, valid), wanted)


def test_streams_are_chosen_by_position():
    network = made("multimodal-unet", in_channels=5, n_outputs=2, widths=[8], streams=[[4, 1], [0, 2, 3]]).eval()
    x = series(1, 1, 5)[:, 0]
    other = x.clone()
    other[:, [0, 2, 3]] += 1.0
    a, b = network.outputs_by_stream(x), network.outputs_by_stream(other)
    assert torch.equal(a["radar"], b["radar"])
    assert not torch.equal(a["optical"], b["optical"])
    assert torch.equal(a["fusion-without-optical"], b["fusion-without-optical"])
    for streams, sentence in (
        ([[], [0, 1, 2, 3, 4]], "bands of both sensors"),
        ([[0, 1, 2, 3, 4]], "bands of both sensors"),
        ([[0, 0], [1, 2, 3, 4]], "each of the 5 channels once"),
        ([[7], [0, 1, 2, 3]], "each of the 5 channels once"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            build_network("multimodal-unet", in_channels=5, n_outputs=2, streams=streams)


@pytest.mark.parametrize("balance", ["none", "modality-dropout", "gradient"])
def test_balanced_streams(balance):
    arguments = {"in_channels": 6, "n_outputs": 2, "widths": [4], "balance": balance, "dropout": 0.9}
    network = made("balanced-change-unet", **arguments).train()
    x, target, valid = series(6, 2), labels(6, 3), torch.ones(6, 2, 8, 8, dtype=torch.bool)
    torch.manual_seed(0)
    loss = network.training_loss(jaccard_loss, x, target, valid)
    loss.backward()
    assert all(weight.grad is not None for weight in network.parameters())
    plain = sum(jaccard_loss(network.outputs_by_stream(x)[n], target[:, 0], valid.all(1)) for n in ("radar", "optical"))
    fused = jaccard_loss(network(x), target[:, 0], valid.all(1))
    # Gradients are balanced without changing the loss; dropped streams change it.
    assert torch.isclose(loss, plain + fused) == (balance != "modality-dropout")


def test_the_stream_that_is_ahead_learns_less():
    x = torch.ones(2, requires_grad=True)
    y = scaled_gradient(x, torch.tensor(0.25))
    y.sum().backward()
    assert torch.equal(y, x)
    assert torch.equal(x.grad, torch.full((2,), 0.25))
    network = made("balanced-change-unet", in_channels=6, n_outputs=2, widths=[4], strength=2.0)
    maps = [torch.ones(1, 1, 1, 1, requires_grad=True) for _ in range(2)]
    for part in network._prepared(*maps, [torch.tensor(0.9), torch.tensor(0.3)]):
        part.sum().backward()
    assert maps[0].grad.item() == 1.0
    assert maps[1].grad.item() == pytest.approx(1.0 - np.tanh(2.0 * 2.0), abs=1e-6)


def brute_force(node, edge, edges):
    """Log-potentials of all states of one pixel, straight from the definition."""
    p, c = 1 / (1 + np.exp(-node)), 1 / (1 + np.exp(-edge))
    scores = {}
    for states in product((0, 1), repeat=len(node)):
        value = sum(np.log(p[t] if s else 1 - p[t]) for t, s in enumerate(states))
        value += sum(np.log(c[e] if states[i] != states[j] else 1 - c[e]) for e, (i, j) in enumerate(edges))
        scores[states] = value
    return scores


@pytest.mark.parametrize(("kind", "dates"), [("dense", 4), ("adjacent", 5), ("cyclic", 3), ("adjacent", 2)])
def test_the_graph_of_dates_against_brute_force(kind, dates):
    edges = edges_of(kind, dates)
    rng = np.random.default_rng(dates)
    node, edge = rng.normal(0, 2, (dates, 12)), rng.normal(0, 2, (len(edges), 12))
    as_maps = [torch.tensor(a).float()[None, :, None] for a in (node, edge)]
    weights = joint_weights(dates, edges)
    states = most_probable_states(*as_maps, weights)[0, :, 0].numpy()
    messages = belief_propagation(torch.tensor(node), torch.tensor(edge), edges).numpy()
    posterior = group_scores(*as_maps, weights, state_groups(dates, dates + 2)).softmax(dim=1)[0, :, 0].numpy()
    for pixel in range(12):
        scores = brute_force(node[:, pixel], edge[:, pixel], edges)
        best = max(scores, key=scores.get)
        assert tuple(states[:, pixel].astype(int)) == best
        if kind == "adjacent":
            assert tuple(messages[:, pixel].astype(int)) == best
        growing = [tuple(int(t >= start) for t in range(dates)) for start in range(1, dates)]
        single = [(0,) * dates, (1,) * dates, *growing]
        mass = [np.exp(scores[state]) for state in single]
        mass.append(np.mean([np.exp(value) for state, value in scores.items() if state not in single]))
        np.testing.assert_allclose(posterior[:, pixel], np.array(mass) / np.sum(mass), rtol=1e-3, atol=1e-6)


def test_messages_go_round_where_there_are_cycles():
    """Approximate there: with changes that mostly agree, the answer is nearly always the best one."""
    edges, generator = edges_of("dense", 5), torch.Generator().manual_seed(0)
    node, edge = torch.randn(5, 400, generator=generator) * 3, torch.randn(10, 400, generator=generator) - 2.0
    exact = most_probable_states(node.T[:, :, None, None], edge.T[:, :, None, None], joint_weights(5, edges))
    same = torch.eq(belief_propagation(node, edge, edges).T, exact[:, :, 0, 0]).all(dim=1)
    assert same.float().mean() > 0.9


def test_what_is_certain_at_each_date_becomes_the_class():
    groups, weights = state_groups(4, 6), joint_weights(4, edges_of("adjacent", 4))
    for states, wanted in (
        ((0, 0, 0, 0), 0),
        ((1, 1, 1, 1), 1),
        ((0, 1, 1, 1), 2),
        ((0, 0, 0, 1), 4),
        ((1, 0, 1, 1), 5),
    ):
        node = torch.tensor([8.0 if s else -8.0 for s in states])[None, :, None, None]
        scores = group_scores(node, torch.zeros(1, 3, 1, 1), weights, groups)
        assert int(scores.argmax()) == wanted
    blank = group_scores(torch.zeros(1, 4, 1, 1), torch.zeros(1, 3, 1, 1), weights, groups)
    torch.testing.assert_close(blank, torch.zeros_like(blank))


def test_the_series_loss_sees_dates_and_changes_of_all_edges():
    network = made("refined-series", in_channels=3, n_outputs=5, dates=3, widths=[4], hidden=8).eval()
    x, target = series(2, 3, 3), labels(2, 4)
    valid = torch.ones(2, 3, 8, 8, dtype=torch.bool)
    built, changed, _ = network._run(x)
    assert network.edges == ((0, 1), (0, 2), (1, 2))
    p, c, truth = built.sigmoid(), changed.sigmoid(), target[:, 1:].float()
    change = torch.stack([(truth[:, i] != truth[:, j]).float() for i, j in network.edges], dim=1)

    def power(a, b):
        return 1 - (a * b).sum() / ((a * a).sum() + (b * b).sum() - (a * b).sum() + 1e-6)

    torch.testing.assert_close(
        network.training_loss(jaccard_loss, x, target, valid), power(p, truth) + power(c, change)
    )
    # An unknown date takes its edges along.
    target[:, 1] = -1
    partly = network.training_loss(jaccard_loss, x, target, valid)
    torch.testing.assert_close(partly, power(p[:, 1:], truth[:, 1:]) + power(c[:, 2], change[:, 2]))
    with pytest.raises(ConfigurationError, match="sites with --data"):
        network.training_loss(jaccard_loss, x, target[:, 0], valid)
    with pytest.raises(ConfigurationError, match="made for 3 dates"):
        network(series(1, 4, 3))


def test_dates_that_a_network_needs():
    assert exact_dates({"name": "mmcr-change", "arguments": {}}) == 2
    assert exact_dates({"name": "refined-series", "arguments": {"dates": 4}}) == 4
    inner = {"network": "refined-series", "arguments": {"dates": 6}}
    assert exact_dates({"name": "mc-dropout", "arguments": inner}) == 6
    assert exact_dates({"name": "multimodal-unet", "arguments": {"dates": 3}}) is None


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("refined-series", {"dates": 9, "n_outputs": 11}, "2 to 8 dates"),
        ("refined-series", {"dates": 4, "n_outputs": 5}, "6 classes"),
        ("refined-series", {"n_outputs": 7, "edges": "star"}, "dense, adjacent or cyclic"),
        ("refined-series", {"n_outputs": 7, "widths": [5]}, "positive multiple of 2"),
        ("mmcr-change", {"n_outputs": 2, "consistency": -1.0}, "must not be negative"),
        ("mmcr-change", {"n_outputs": 2, "widths": []}, "one or more positive widths"),
        ("balanced-change-unet", {"n_outputs": 2, "balance": "luck"}, "balanced by none"),
    ],
)
def test_wrong_arguments_are_refused(name, arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, in_channels=5, **arguments)
