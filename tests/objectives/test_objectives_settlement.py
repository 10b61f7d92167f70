"""Settlement extent and zones: the joint loss by hand, the prediction, and both tasks learned at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.legends import Legend  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.objectives import SettlementZones, build_objective  # noqa: E402

torch.set_num_threads(1)
LEGEND = Legend.from_names(["compact", "open", "water"])
OBJECTIVE = SettlementZones(LEGEND)


def _batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(2, 4, 6, 6, generator=generator)
    extent = torch.rand(2, 6, 6, generator=generator)
    zone = torch.randint(0, 3, (2, 6, 6), generator=generator).float()
    extent[0, :2] = math.nan
    zone[1, 3:] = math.nan
    valid = torch.rand(2, 6, 6, generator=generator) > 0.2
    return output, torch.stack([extent, zone], dim=1), valid


def _terms(output: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> tuple[float, float]:
    """Both losses pixel by pixel, as the paper's code writes them."""
    errors, entropies = [], []
    for b, y, x in np.ndindex(2, 6, 6):
        if not valid[b, y, x]:
            continue
        if math.isfinite(float(target[b, 0, y, x])):
            truth, guess = float(target[b, 0, y, x]), 1 / (1 + math.exp(-float(output[b, 0, y, x])))
            errors.append(math.exp(truth) * abs(truth - guess))
        if math.isfinite(float(target[b, 1, y, x])):
            logits = output[b, 1:4, y, x]
            entropies.append(float(logits.logsumexp(0) - logits[int(target[b, 1, y, x])]))
    return float(np.mean(errors)), float(np.mean(entropies))


def test_joint_loss_by_hand() -> None:
    output, target, valid = _batch()
    first, second = _terms(output, target, valid)
    assert float(OBJECTIVE.loss(output, target, valid)) == pytest.approx(first + second, rel=1e-5)
    s1, s2 = -0.7, 0.4
    learned = torch.tensor([s1, s2]).reshape(1, 2, 1, 1).expand(2, 2, 6, 6)
    wanted = math.exp(-s1) / 2 * first + s1 / 2 + math.exp(-s2) * second + s2 / 2
    loss = OBJECTIVE.loss(torch.cat([output, learned], dim=1), target, valid)
    assert float(loss) == pytest.approx(wanted, rel=1e-5)


def test_learned_weights_settle_where_theory_says() -> None:
    """The minimum over s1 is exp(s1) = L1, that over s2 is exp(s2) = 2 L2."""
    output, target, valid = _batch()
    first, second = _terms(output, target, valid)
    weights = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([weights], 0.05)
    for _ in range(400):
        learned = weights.reshape(1, 2, 1, 1).expand(2, 2, 6, 6)
        loss = OBJECTIVE.loss(torch.cat([output, learned], dim=1), target, valid)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert weights.detach().exp().tolist() == pytest.approx([first, 2 * second], rel=0.02)


def test_unknown_and_invalid_pixels_do_not_matter() -> None:
    output, target, valid = _batch(3)
    output.requires_grad_()
    OBJECTIVE.loss(output, target, valid).backward()
    gradient = output.grad.clone()
    assert not gradient[(~valid)[:, None].expand_as(gradient)].any()
    assert not gradient[0, 0, :2].any()
    assert not gradient[1, 1:, 3:].any()
    other = target.clone()
    other[(~valid)[:, None].expand_as(other)] = 0.0
    assert torch.equal(OBJECTIVE.loss(output, other, valid), OBJECTIVE.loss(output, target, valid))


def test_nothing_known_gives_zero_with_gradient() -> None:
    output, target, valid = _batch()
    output.requires_grad_()
    loss = OBJECTIVE.loss(output, torch.full_like(target, math.nan), valid)
    loss.backward()
    assert loss.item() == 0.0
    assert not output.grad.any()


def test_prediction_and_error_bar() -> None:
    objective = SettlementZones(LEGEND, extent_error=(0.0, 0.2, 0.1))
    moments = np.zeros((1, 4, 1, 4), np.float32)
    moments[0, 0, 0] = [0.0, 0.25, 0.5, 0.75]
    moments[0, 1:, 0] = np.array([[1, 0, 0], [0.2, 0.5, 0.3], [1 / 3] * 3, [0, 0, 1]]).T
    prediction = objective.from_moments(moments)
    assert prediction.value[0, 0].tolist() == [1, 2, 1, 3]
    np.testing.assert_allclose(prediction.total[0, 0, [0, 2]], [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(prediction.layers["settlement_extent_error"][0, 0, 0], [0.0, 0.1, 0.2, 0.15], atol=1e-7)
    assert "settlement_extent_error" not in OBJECTIVE.from_moments(moments).layers


def test_moments_are_shares() -> None:
    moments = OBJECTIVE.moments(np.random.default_rng(0).normal(size=(2, 4, 3, 3)).astype(np.float32) * 5)
    assert (moments >= 0).all()
    assert (moments <= 1).all()
    np.testing.assert_allclose(moments[:, 1:].sum(axis=1), 1.0, atol=1e-5)


def test_metrics_count_what_is_known() -> None:
    output, target, valid = _batch()
    metrics = OBJECTIVE.metrics()
    OBJECTIVE.update_metrics(metrics, output, target, valid)
    found = {name: float(value) for name, value in metrics.compute().items()}
    known = valid & target[:, 0].isfinite()
    wanted = (output[:, 0].sigmoid() - target[:, 0]).abs()[known].mean()
    assert found["extent_mae"] == pytest.approx(float(wanted), rel=1e-5)
    zones = valid & target[:, 1].isfinite()
    right = (output[:, 1:].argmax(1) == target[:, 1])[zones].float().mean()
    assert found["overall_accuracy"] == pytest.approx(float(right))
    assert found["joint_loss"] == pytest.approx(float(OBJECTIVE.loss(output, target, valid)), rel=1e-5)


@pytest.mark.parametrize("errors", [(0.1,), (0.1, -0.1), (0.1, 2.0)])
def test_wrong_error_bars_are_refused(errors: tuple[float, ...]) -> None:
    with pytest.raises(ConfigurationError, match="extent_error"):
        SettlementZones(LEGEND, extent_error=errors)


def test_one_zone_is_no_choice() -> None:
    with pytest.raises(ConfigurationError, match="two zones"):
        SettlementZones(Legend.from_names(["all"]))


@pytest.mark.parametrize("prior", ["none", "multiply", "concatenate"])
def test_both_tasks_are_learned_and_the_weights_move(prior: str) -> None:
    generator = torch.Generator().manual_seed(0)
    zone = torch.randint(0, 3, (6, 4, 4), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    extent = torch.tensor([0.9, 0.4, 0.0])[zone]
    x = torch.stack([zone.float() - 1, extent - 0.5], dim=1) + 0.2 * torch.randn(6, 2, 32, 32, generator=generator)
    target = torch.stack([extent, zone.float()], dim=1)
    torch.manual_seed(0)
    network = build_network("settlement-lcz", in_channels=2, n_outputs=4, width=4, prior=prior).train()
    objective = build_objective(OBJECTIVE.to_config())
    optimiser = torch.optim.NAdam(network.parameters(), 5e-3)
    valid = torch.ones(6, 32, 32, dtype=torch.bool)
    for _ in range(40):
        loss = network.training_loss(objective.loss, x, target, valid)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        moments = objective.moments(network.eval()(x))
    assert (moments[:, 1:].argmax(1) == zone).float().mean() > 0.85
    assert (moments[:, 0] - extent).abs().mean() < 0.12
    assert (network.log_variances.detach() < -0.05).all()
