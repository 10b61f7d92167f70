"""The power Jaccard loss: its formula, its limits, soft targets, several maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from ecumene.legends import Legend, LegendClass  # noqa: E402
from ecumene.objectives import JaccardSegmentation, build_objective  # noqa: E402
from ecumene.objectives.jaccard_losses import jaccard_loss, power_jaccard  # noqa: E402

torch.set_num_threads(1)


def legend(count=2):
    classes = [LegendClass(value=v, name=f"c{v}", colour=f"#0000{v:02x}") for v in range(count)]
    return Legend(name="test", classes=tuple(classes), source="test")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_it_is_the_published_formula_and_lies_between_0_and_1(seed, size):
    rng = np.random.default_rng(seed)
    p, t = rng.random(size), (rng.random(size) > 0.5).astype(float)
    wanted = 1 - (p * t).sum() / ((p**2).sum() + (t**2).sum() - (p * t).sum() + 1e-6)
    found = float(power_jaccard(torch.tensor(p), torch.tensor(t)))
    assert found == pytest.approx(wanted, abs=1e-9)
    assert -1e-9 <= found <= 1 + 1e-9


def test_right_answers_cost_nothing_and_wrong_ones_everything():
    t = torch.tensor([0.0, 1.0, 1.0])
    assert float(power_jaccard(t, t)) == pytest.approx(0.0, abs=1e-5)
    assert float(power_jaccard(1 - t, t)) == pytest.approx(1.0)


def test_only_valid_labelled_pixels_count():
    objective = JaccardSegmentation(legend())
    output = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.randint(0, 2, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[0, 0], target[1, 1] = False, -1
    usable = valid & (target >= 0)
    p = output.softmax(1)[:, 1][usable]
    torch.testing.assert_close(objective.loss(output, target, valid), power_jaccard(p, target[usable].float()))
    nothing = objective.loss(output, torch.full_like(target, -1), valid)
    nothing.backward()
    assert nothing.item() == 0.0
    # Several maps: the first one is the answer.
    several = torch.stack((target, 1 - target), dim=1)
    assert torch.equal(objective.loss(output, several, valid), objective.loss(output, target, valid))


def test_soft_targets_are_probabilities_of_all_classes():
    output = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    soft = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    found = jaccard_loss(output, soft, torch.ones(1, 3, 3, dtype=torch.bool))
    torch.testing.assert_close(found, power_jaccard(output.softmax(1)[:, 1].flatten(), soft[:, 1].flatten()))


def test_of_several_classes_those_that_occur_count():
    output = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 0, 2], [2, 0, 0], [2, 2, 2]]])
    p = output.softmax(1)
    wanted = sum(power_jaccard(p[:, k].flatten(), (target == k).float().flatten()) for k in (0, 2)) / 2
    torch.testing.assert_close(jaccard_loss(output, target, torch.ones(1, 3, 3, dtype=torch.bool)), wanted)


def test_metrics_monitor_and_configuration():
    objective = JaccardSegmentation(legend())
    metrics = objective.metrics()
    output = torch.zeros(1, 2, 2, 2)
    output[:, 1, 0] = 5.0
    target = torch.tensor([[[1, 0], [0, 1]]])
    objective.update_metrics(
        metrics, output, torch.stack((target, target), dim=1), torch.ones(1, 2, 2, dtype=torch.bool)
    )
    assert float(metrics.compute()["positive_f1"]) == pytest.approx(0.5)
    assert objective.monitor == ("positive_f1", "max")
    assert JaccardSegmentation(legend(3)).monitor == ("macro_f1", "max")
    assert build_objective(objective.to_config()).to_config() == objective.to_config()
