"""What members are: copies, masks, orientations, sub-networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.mc_dropout import FixedMasks  # noqa: E402
from ecumene.networks.symmetries import SYMMETRIES, apply_symmetry, undo_symmetry  # noqa: E402

BASE = {"network": "unet-small", "arguments": {"width": 8}}


def image(side=32, batch=2, bands=3):
    return torch.randn(batch, bands, side, side, generator=torch.Generator().manual_seed(0))


def build(name, members, outputs=2, **arguments):
    torch.manual_seed(0)
    return build_network(name, in_channels=3, n_outputs=members * outputs, members=members, **BASE, **arguments).eval()


def test_ensemble_puts_its_members_side_by_side():
    network, x = build("ensemble", 3), image()
    with torch.inference_mode():
        output = network(x)
        for number, base in enumerate(network.bases):
            assert torch.equal(output[:, 2 * number : 2 * number + 2], base(x))
    assert not torch.equal(output[:, :2], output[:, 2:4])


def test_symmetries_are_different_and_undone_exactly():
    x = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    seen = [apply_symmetry(x, symmetry) for symmetry in SYMMETRIES]
    assert len({tuple(part.flatten().tolist()) for part in seen}) == 8
    for part, symmetry in zip(seen, SYMMETRIES, strict=True):
        assert torch.equal(undo_symmetry(part, symmetry), x)
    wide = torch.randn(1, 2, 3, 5)
    assert all(torch.equal(undo_symmetry(apply_symmetry(wide, s), s), wide) for s in SYMMETRIES)


def test_the_mean_over_all_symmetries_turns_with_the_image():
    network, x = build("augmentation", 8), image(side=32)
    with torch.inference_mode():
        mean = network(x).unflatten(1, (8, 2)).mean(dim=1)
        for symmetry in SYMMETRIES:
            turned = network(apply_symmetry(x, symmetry)).unflatten(1, (8, 2)).mean(dim=1)
            torch.testing.assert_close(undo_symmetry(turned, symmetry), mean, rtol=1e-4, atol=1e-5)


def test_masks_are_kept_and_leave_the_mean_as_it_is():
    masks = FixedMasks(members=2000, channels=4, rate=0.25, seed=0, axis=1)
    np.testing.assert_allclose(masks.masks.unique(), [0.0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_allclose(masks.masks.mean(dim=0), 1.0, atol=0.08)
    x = torch.randn(2000 * 2, 4, 3, 3)
    again = FixedMasks(members=2000, channels=4, rate=0.25, seed=0, axis=1)
    assert torch.equal(masks(x), again(x))


def test_every_member_of_mc_dropout_is_one_fixed_network():
    """A pixel's members do not depend on where it lies in a batch or a window."""
    network, x = build("mc-dropout", 4), image(side=32, batch=3)
    with torch.inference_mode():
        together, alone = network(x), network(x[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
    members = together.unflatten(1, (4, 2))
    assert all(not torch.allclose(members[:, 0], members[:, k]) for k in range(1, 4))


def test_dropout_layers_can_be_chosen():
    last = build("mc-dropout", 2, layers=["dropout"])
    assert sorted(name for name, _ in last.named_buffers() if name.endswith("masks")) == ["bases.0.dropout.masks"]
    assert len([name for name, _ in build("mc-dropout", 2).named_buffers() if name.endswith("masks")]) == 2


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("ensemble", {"network": "ensemble"}, "is none"),
        ("ensemble", {"network": "scene-resnet"}, "is none"),
        ("ensemble", {"network": "nonsense"}, "no network"),
        ("ensemble", {"members": 0}, "1 to 64"),
        ("ensemble", {"members": 10**9}, "1 to 64"),
        ("ensemble", {"n_outputs": 7}, "cannot be shared"),
        ("ensemble", {"arguments": None}, "name and the arguments"),
        ("augmentation", {"members": 9, "n_outputs": 18}, "8 symmetries"),
        ("mc-dropout", {"arguments": {"dropout": 0.0}}, "no dropout layer"),
        ("mc-dropout", {"layers": ["nowhere"]}, "no dropout layer 'nowhere'"),
    ],
)
def test_wrong_wrappers_are_refused_with_a_sentence(name, change, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_network(name, **{"in_channels": 3, "n_outputs": 4, "members": 2, **BASE, **change})


# -- MIMO U-Net ------------------------------------------------------------------------------------


def mimo(members=2, outputs=3, **arguments):
    torch.manual_seed(0)
    return build_network("mimo-unet", in_channels=3, n_outputs=members * outputs, members=members, width=4, **arguments)


def test_sub_networks_see_their_own_images_and_share_a_core():
    network, x = mimo().eval(), image()
    with torch.inference_mode():
        own = network.forward_members(torch.stack([x, x.flip(0)], dim=1))
        same = network.forward_members(torch.stack([x, x], dim=1))
        assert torch.equal(same.flatten(1, 2), network(x))
    assert tuple(own.shape) == (2, 2, 3, 32, 32)
    # The core joins the sub-networks: what one sees moves what the other says.
    assert not torch.allclose(own[:, 0], same[:, 0])


def test_documented_shapes_of_the_core():
    network, x = mimo(members=3).eval(), image(side=32)
    shapes = {}
    for name in ("first.0", "second.1", "down.0", "down.1", "down.2", "up.0", "up.1", "up.2", "last.2"):
        network.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: shapes.__setitem__(name, (given[0].shape[1], *out.shape[1:3]))
        )
    with torch.inference_mode():
        network(x)
    f, w = 4, 12
    assert shapes == {
        "first.0": (3, f, 32), "second.1": (f, 2 * f, 16), "down.0": (2 * w, 4 * w, 8), "down.1": (4 * w, 8 * w, 4),
        "down.2": (8 * w, 8 * w, 2), "up.0": (16 * w, 4 * w, 4), "up.1": (8 * w, 2 * w, 8), "up.2": (4 * w, w, 16),
        "last.2": (w + f, f, 32),
    }  # fmt: skip


@pytest.mark.parametrize(("repetition", "alike"), [(0.0, 0), (0.5, 8), (1.0, 16)])
def test_a_share_of_the_batch_is_alike_for_all_sub_networks(repetition, alike):
    torch.manual_seed(1)
    rows = mimo(members=3, repetition=repetition).arrange(16)
    assert tuple(rows.shape) == (3, 16)
    for row in rows:
        assert sorted(row.tolist()) == list(range(16))
    same = (rows == rows[0]).all(dim=0)
    assert same[16 - alike :].all()
    if repetition < 1.0:
        assert not same[: 16 - alike].all()


def test_batch_repetitions_show_every_sample_as_often():
    rows = mimo(batch_repetitions=3).arrange(4)
    assert all(sorted(row.tolist()) == sorted([0, 1, 2, 3] * 3) for row in rows)


def test_the_buffer_synchronises_sub_networks_that_lag_behind():
    network = mimo(temperature=0.3)
    torch.testing.assert_close(network.loss_weights(), torch.ones(2))  # it starts at zeros
    values = iter([1.0, 3.0] * 12)

    def loss(output, target, valid):
        return output.sum() * 0.0 + next(values)

    x, valid = image(side=32), torch.ones(2, 32, 32, dtype=torch.bool)
    target = torch.zeros(2, 32, 32, dtype=torch.int64)
    totals = [float(network.training_loss(loss, x, target, valid).detach()) for _ in range(12)]
    assert totals[0] == pytest.approx(2.0)  # equal weights at first
    # After ten steps the buffer holds only (1, 3): weights 2 softmax((1, 3) / 0.3).
    wanted = 2 * torch.softmax(torch.tensor([1.0, 3.0]) / 0.3, dim=0)
    torch.testing.assert_close(network.loss_weights(), wanted)
    assert totals[-1] == pytest.approx(float((wanted * torch.tensor([1.0, 3.0])).mean()))
    torch.testing.assert_close(network.recent_losses, torch.tensor([[1.0, 3.0]]).expand(10, -1))
    assert int(network.step) == 12


def test_the_buffer_forgets_after_ten_steps():
    network = mimo()
    values = iter([50.0, 0.0] + [1.0, 1.0] * 10)
    x, valid = image(side=32), torch.ones(2, 32, 32, dtype=torch.bool)
    target = torch.zeros(2, 32, 32, dtype=torch.int64)
    for number in range(11):
        network.training_loss(lambda output, t, v: output.sum() * 0.0 + next(values), x, target, valid)
        if number == 0:
            assert network.loss_weights()[0] > 1.99
    torch.testing.assert_close(network.loss_weights(), torch.ones(2))


def test_targets_follow_their_images():
    """Each sub-network is judged by the target of the image that it saw."""
    network = mimo(members=2)
    x = torch.arange(4.0)[:, None, None, None].expand(4, 3, 32, 32).contiguous()
    target = torch.arange(4)[:, None, None].expand(4, 32, 32).contiguous()
    seen = []
    forward = network.forward_members
    network.forward_members = lambda images: (seen.append(images[:, :, 0, 0, 0]), forward(images))[1]
    judged = []

    def loss(output, truth, valid):
        judged.append(truth[:, 0, 0])
        return output.square().mean()

    network.training_loss(loss, x, target, torch.ones(4, 32, 32, dtype=torch.bool))
    for member in range(2):
        assert seen[0][:, member].tolist() == judged[member].float().tolist()


@pytest.mark.parametrize(
    "change", [{"members": 0}, {"n_outputs": 5}, {"width": 1}, {"repetition": 2.0}, {"temperature": 0.0}]
)
def test_wrong_arguments_of_mimo_are_refused(change):
    with pytest.raises(ConfigurationError, match="mimo-unet needs"):
        build_network("mimo-unet", **{"in_channels": 3, "n_outputs": 4, "members": 2, "width": 4, **change})
