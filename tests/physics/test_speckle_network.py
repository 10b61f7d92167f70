"""The self-supervised network: its loss, its learning on one scene, and its file."""

from __future__ import annotations

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ModelError, SceneError
from ecumene.physics.speckle.simulate import complex_speckle

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def trained():
    from ecumene.training.merlin import train_merlin

    truth = np.ones((96, 96))
    truth[:, 48:] = 8.0
    slc = np.sqrt(truth) * complex_speckle(np.random.default_rng(0), truth.shape)
    model = train_merlin(slc, steps=60, crop=32, batch=4, width=8, learning_rate=5e-3)
    return truth, slc, model


def test_loss_is_smallest_at_the_reflectivity():
    from ecumene.networks.merlin import merlin_loss

    rng = np.random.default_rng(1)
    part = torch.from_numpy(rng.standard_normal((1, 1, 300, 300)) * np.sqrt(3.0 / 2.0))
    valid = torch.ones_like(part, dtype=torch.bool)
    losses = [float(merlin_loss(torch.full_like(part, np.log(level)), part, valid)) for level in (2.4, 3.0, 3.8)]
    assert losses[1] < losses[0]
    assert losses[1] < losses[2]
    half = valid.clone()
    half[..., 150:] = False
    spoiled = part.clone()
    spoiled[..., 150:] = 1e6
    assert float(merlin_loss(torch.zeros_like(part), spoiled, half)) < 10.0


def test_network_keeps_its_contract():
    from ecumene.networks.contract import Network
    from ecumene.networks.merlin import MerlinUNet

    network = MerlinUNet(1, 1, width=8).eval()
    assert isinstance(network, Network)
    w = 8
    block = lambda a, b: 9 * a * b + 9 * b * b + 2 * b  # noqa: E731
    expected = block(1, w) + block(w, 2 * w) + block(2 * w, 2 * w) + block(4 * w, 2 * w) + block(3 * w, w) + w * 1 + 1
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == expected
    output, features = network.forward_features(torch.zeros(2, 1, 16, 20))
    assert output.shape == (2, 1, 16, 20)
    assert features.shape == (2, network.feature_channels, 16, 20)
    with pytest.raises(ConfigurationError):
        MerlinUNet(width=2)


def test_it_learns_without_truth(trained):
    from ecumene.training.merlin import apply_merlin

    truth, slc, model = trained
    assert model.losses[-1] < model.losses[0]
    result = apply_merlin(model, slc)
    before = np.sqrt(np.mean(np.log(np.abs(slc) ** 2 / truth) ** 2))
    after = np.sqrt(np.mean(np.log(result.value / truth) ** 2))
    assert after < 0.4 * before
    assert result.value[:, 60:].mean() / result.value[:, :36].mean() > 4.0
    assert np.all(result.standard_deviation > 0.0)


def test_nodata_and_windows(trained, monkeypatch):
    import ecumene.training.merlin as merlin

    _, slc, model = trained
    holed = slc.copy()
    holed[10:20, 10:20] = 0.0
    result = merlin.apply_merlin(model, holed)
    assert np.isnan(result.value[10:20, 10:20]).all()
    assert np.isfinite(result.value[30:, 30:]).all()
    whole = merlin.apply_merlin(model, slc)
    monkeypatch.setattr(merlin, "_WINDOW", 40)
    np.testing.assert_allclose(merlin.apply_merlin(model, slc).value, whole.value, rtol=0.02)


def test_training_is_deterministic():
    from ecumene.training.merlin import train_merlin

    slc = complex_speckle(np.random.default_rng(2), (32, 32))
    first, second = (train_merlin(slc, steps=3, crop=16, batch=2, width=4, seed=5) for _ in range(2))
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_file_round_trip_and_hostile_files(trained, tmp_path):
    from safetensors.numpy import save_file

    from ecumene.training.merlin import apply_merlin, load_merlin, save_merlin

    _, slc, model = trained
    save_merlin(tmp_path / "n.safetensors", model)
    again = load_merlin(tmp_path / "n.safetensors")
    np.testing.assert_allclose(apply_merlin(again, slc).value, apply_merlin(model, slc).value)
    (tmp_path / "bad.safetensors").write_bytes(b"no such thing")
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    save_file(
        {"x": np.zeros(3)},
        tmp_path / "liar.safetensors",
        metadata={"format": "ecumene-merlin-1", "about": '{"mean": 0, "std": 1, "reference": 1, "width": 8}'},
    )
    for name in ("bad", "other", "liar", "absent"):
        with pytest.raises(ModelError):
            load_merlin(tmp_path / f"{name}.safetensors")


def test_bad_scenes_are_refused():
    from ecumene.training.merlin import train_merlin

    with pytest.raises(SceneError, match="real"):
        train_merlin(np.ones((64, 64)))
    with pytest.raises(SceneError, match="smaller"):
        train_merlin(np.ones((20, 64), complex))
    with pytest.raises(SceneError, match="zeros"):
        train_merlin(np.zeros((64, 64), complex))
    with pytest.raises(ConfigurationError):
        train_merlin(np.ones((64, 64), complex), crop=30)
