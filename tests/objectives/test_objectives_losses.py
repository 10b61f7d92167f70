import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from ecumene.legends import Legend  # noqa: E402
from ecumene.objectives import MultiLabel, PixelRegression, SceneClassification, Segmentation  # noqa: E402

torch.set_num_threads(1)
LEGEND = Legend.from_names(["water", "forest", "city"])
OBJECTIVES = [
    Segmentation(LEGEND),
    Segmentation(LEGEND, class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1, dice_weight=0.7),
    PixelRegression(("height",), target_mean=10.0, target_std=4.0),
    PixelRegression(("height", "volume"), target_mean=(10.0, 0.0), target_std=(4.0, 2.0), beta=0.5),
    SceneClassification(LEGEND),
    MultiLabel(LEGEND, positive_weights=[1.0, 3.0, 1.0]),
]


def batch(objective, seed=0, n=4, side=5):
    """(output, target, valid) with a third unlabelled."""
    generator = torch.Generator().manual_seed(seed)
    space = () if objective.unit_of_work == "scene" else (side, side)
    output = torch.randn(n, objective.n_outputs, *space, generator=generator)
    valid = torch.rand(n, *space, generator=generator) > 0.3
    if isinstance(objective, PixelRegression):
        channels = len(objective.targets)
        target = 10 + 4 * torch.randn(n, channels, *space, generator=generator)
        target[torch.rand(target.shape, generator=generator) < 0.3] = math.nan
        return output, target[:, 0] if channels == 1 else target, valid
    shape = (n, 3) if isinstance(objective, MultiLabel) else (n, *space)
    high = 2 if isinstance(objective, MultiLabel) else 3
    return output, torch.randint(-1, high, shape, generator=generator), valid


@pytest.fixture(params=OBJECTIVES, ids=lambda o: f"{o.name}-{OBJECTIVES.index(o)}")
def objective(request):
    return request.param


def outside(valid, like):
    """The invalid elements of an array with a channel axis."""
    return (~valid).unsqueeze(1).expand_as(like) if like.ndim == valid.ndim + 1 else ~valid


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), junk=st.sampled_from([math.nan, math.inf, -1e30, 3.0]))
@pytest.mark.parametrize("position", range(len(OBJECTIVES)))
def test_invalid_elements_do_not_matter(position, seed, junk):
    """Neither their outputs, their targets nor their gradients."""
    objective = OBJECTIVES[position]
    output, target, valid = batch(objective, seed)
    output.requires_grad_()
    loss = objective.loss(output, target, valid)
    loss.backward()
    assert torch.isfinite(loss)
    changed = output.detach().clone()
    changed[outside(valid, changed)] = junk
    other = target.clone()
    blank = outside(valid, other)
    other[blank] = torch.zeros_like(other)[blank] if not other.is_floating_point() else 1e9
    changed.requires_grad_()
    again = objective.loss(changed, other, valid)
    again.backward()
    assert torch.equal(loss, again)
    assert torch.equal(output.grad, changed.grad)
    assert not output.grad[outside(valid, output)].any()


def test_unlabelled_batch_gives_zero_with_gradient(objective):
    output, target, valid = batch(objective)
    blank = torch.full_like(target, math.nan if target.is_floating_point() else -1)
    for labels, has in ((blank, valid), (target, torch.zeros_like(valid))):
        x = output.clone()
        x[0] = math.nan
        x.requires_grad_()
        loss = objective.loss(x, labels, has)
        loss.backward()
        assert loss.item() == 0.0
        assert x.grad is not None
        assert not torch.nan_to_num(x.grad).any()


def test_series_counts_where_any_date_is_valid():
    objective = OBJECTIVES[0]
    output, target, valid = batch(objective)
    series = torch.stack([valid, torch.zeros_like(valid)], dim=1)
    assert torch.equal(objective.loss(output, target, series), objective.loss(output, target, valid))


def test_cross_entropy_by_hand():
    output, target, valid = batch(OBJECTIVES[0])
    weights = [1.0, 2.0, 0.5]
    total = weight = 0.0
    for b, y, x in np.ndindex(*target.shape):
        if valid[b, y, x] and target[b, y, x] >= 0:
            logits = output[b, :, y, x].double()
            k = int(target[b, y, x])
            total += weights[k] * float(logits.logsumexp(0) - logits[k])
            weight += weights[k]
    loss = Segmentation(LEGEND, class_weights=weights).loss(output, target, valid)
    assert loss.item() == pytest.approx(total / weight, rel=1e-5)


def test_dice_is_zero_for_a_perfect_and_one_for_a_wrong_answer():
    target = torch.tensor([[[0, 1], [1, 0]]])
    valid = torch.ones_like(target, dtype=torch.bool)
    hot = torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    plain, dice = Segmentation(LEGEND), Segmentation(LEGEND, dice_weight=1.0)
    right, wrong = 50 * hot, 50 * hot.roll(1, 1)
    wrong = 50 * torch.nn.functional.one_hot(torch.full_like(target, 2), 3).movedim(-1, 1).float()
    for output, expected in ((right, 0.0), (wrong, 1.0)):
        difference = dice.loss(output, target, valid) - plain.loss(output, target, valid)
        assert difference.item() == pytest.approx(expected, abs=1e-4)


def test_gaussian_loss_is_the_likelihood():
    objective = PixelRegression(("height",), target_mean=10.0, target_std=4.0)
    output, target, valid = batch(objective)
    prediction = objective.predict(output.double())
    usable = valid & target.isfinite()
    normal = torch.distributions.Normal(prediction.value[:, 0][usable], prediction.total[:, 0][usable])
    wanted = -normal.log_prob(target.double()[usable]).mean() - 0.5 * math.log(2 * math.pi) - math.log(4.0)
    assert objective.loss(output, target, valid).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_beta_one_gives_the_gradient_of_squared_error():
    """Seitzer et al. 2022: with beta = 1 the gradient of the mean is the residual, whatever the variance."""
    objective = PixelRegression(("a",), beta=1.0)
    output, target, valid = batch(objective)
    output.requires_grad_()
    objective.loss(output, target, valid).backward()
    usable = valid & target.isfinite()
    residual = (output[:, 0] - target)[usable] / usable.sum()
    torch.testing.assert_close(output.grad[:, 0][usable], residual.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("raw", [-1e6, -50.0, 50.0, 1e6])
def test_extreme_log_variances_stay_finite(raw):
    objective = PixelRegression(("a",))
    output = torch.tensor([[[[0.5]], [[raw]]]], requires_grad=True)
    loss = objective.loss(output, torch.tensor([[[100.0]]]), torch.ones(1, 1, 1, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()
    prediction = objective.predict(output.detach().numpy())
    assert math.exp(-5) - 1e-6 <= float(prediction.total[0, 0, 0, 0]) <= math.exp(5) * (1 + 1e-5)


def test_metrics_count_valid_labelled_elements_only(objective):
    output, target, valid = batch(objective)
    noisy = output.clone()
    noisy[outside(valid, noisy)] = 9.0
    results = []
    for values in (output, noisy):
        metrics = objective.metrics()
        objective.update_metrics(metrics, values, target, valid)
        objective.update_metrics(metrics, values, target, torch.zeros_like(valid))
        results.append({key: float(value) for key, value in metrics.compute().items()})
    assert results[0] == pytest.approx(results[1])
    key, direction = objective.monitor
    assert key in results[0]
    assert direction in ("min", "max")


def test_metrics_by_hand():
    objective = Segmentation(LEGEND)
    truth = torch.tensor([[[0, 0, 1, 1, -1]]])
    answer = torch.tensor([[[0, 1, 1, 1, 0]]])
    output = 5 * torch.nn.functional.one_hot(answer, 3).movedim(-1, 1).float()
    metrics = objective.metrics()
    objective.update_metrics(metrics, output, truth, torch.ones_like(truth, dtype=torch.bool))
    found = {key: float(value) for key, value in metrics.compute().items()}
    assert found["overall_accuracy"] == pytest.approx(3 / 4)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_regression_metrics_by_hand():
    objective = PixelRegression(("a",), target_mean=10.0, target_std=4.0)
    metrics = objective.metrics()
    pieces = [batch(objective, seed) for seed in (0, 1)]
    for piece in pieces:
        objective.update_metrics(metrics, *piece)
    residuals, likelihoods = [], []
    for output, target, valid in pieces:
        prediction = objective.predict(output)
        usable = valid & target.isfinite()
        m, s, y = prediction.value[:, 0][usable], prediction.total[:, 0][usable], target[usable]
        residuals.append(m - y)
        likelihoods.append(-torch.distributions.Normal(m / 4, s / 4).log_prob(y / 4))
    residual = torch.cat(residuals)
    found = metrics.compute()
    assert float(found["rmse"]) == pytest.approx(float(residual.square().mean().sqrt()), rel=1e-4)
    assert float(found["mae"]) == pytest.approx(float(residual.abs().mean()), rel=1e-4)
    assert float(found["nll"]) == pytest.approx(float(torch.cat(likelihoods).mean()), rel=1e-4)


def test_multi_label_ignores_unknown_labels():
    objective = MultiLabel(LEGEND)
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[1, 0, -1]] * 5)
    loss = objective.loss(output, target, torch.ones(5, dtype=torch.bool))
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(output[:, :2], target[:, :2].float())
    assert loss.item() == pytest.approx(wanted.item())
    # A scene counts as valid where any of its pixels is.
    pixels = torch.zeros(5, 4, 4, dtype=torch.bool)
    pixels[:, 1, 1] = True
    assert objective.loss(output, target, pixels).item() == pytest.approx(loss.item())
