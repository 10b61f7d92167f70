"""Mixtures of members: the parts of their uncertainty, and what blending does to them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import (
    Members,
    MultiLabel,
    MultivariateRegression,
    PixelRegression,
    Segmentation,
    build_objective,
)

LEGEND = Legend.from_names(["water", "forest", "built"])
CLASSES = Segmentation(LEGEND)
LOGITS = hnp.arrays(np.float32, (2, 12, 3), elements=st.floats(-20, 20, width=32))


def entropy(p, axis):
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


def softmax(x):
    e = np.exp(x - x.max(axis=2, keepdims=True))
    return e / e.sum(axis=2, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(LOGITS)
def test_entropy_is_split_into_mean_entropy_and_mutual_information(output):
    prediction = Members(CLASSES, 4).predict(output)
    p = softmax(output.astype(np.float64).reshape(2, 4, 3, 3))
    total, inner = entropy(p.mean(axis=1), 1) / math.log(3), entropy(p, 2).mean(axis=1) / math.log(3)
    np.testing.assert_allclose(prediction.total, total, atol=1e-5)
    np.testing.assert_allclose(prediction.aleatoric, inner, atol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, total - inner, atol=2e-5)
    assert (prediction.epistemic >= 0).all()
    np.testing.assert_allclose(prediction.total, prediction.aleatoric + prediction.epistemic, atol=1e-6)
    pooled = p.mean(axis=1)
    chosen = np.take_along_axis(pooled, np.searchsorted(LEGEND.values, prediction.value)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(chosen, pooled.max(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "base", [CLASSES, MultiLabel(LEGEND), PixelRegression(("a", "b")), MultivariateRegression(("a", "b"))],
    ids=lambda base: base.name,
)  # fmt: skip
def test_equal_members_know_nothing_more_and_nothing_less(base):
    one = np.random.default_rng(0).normal(size=(2, base.n_outputs, 4, 4)).astype(np.float32)
    single, mixture = base.predict(one), Members(base, 5).predict(np.tile(one, (1, 5, 1, 1)))
    np.testing.assert_allclose(mixture.epistemic, 0.0, atol=2e-3)
    np.testing.assert_allclose(mixture.total, single.total, rtol=1e-4, atol=1e-5)
    for name, layer in single.layers.items():
        np.testing.assert_allclose(mixture.layers[name], layer, rtol=1e-4, atol=1e-5)


def test_members_that_are_sure_of_different_classes_differ_in_all():
    output = np.full((1, 6, 1), -40.0, np.float32)
    output[0, [0, 4], 0] = 40.0  # the first says water, the second forest
    prediction = Members(CLASSES, 2).predict(output)
    assert prediction.aleatoric[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert prediction.epistemic[0, 0] == pytest.approx(math.log(2) / math.log(3), abs=1e-6)


def test_members_that_agree_that_all_classes_are_alike_leave_nothing_to_learn():
    prediction = Members(CLASSES, 3).predict(np.zeros((1, 9, 1), np.float32))
    assert prediction.aleatoric[0, 0] == pytest.approx(1.0)
    assert prediction.epistemic[0, 0] == pytest.approx(0.0, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, (1, 8, 2), elements=st.floats(-4, 4, width=32)))
def test_numbers_obey_the_law_of_total_variance_without_bias(output):
    base = PixelRegression(("a",), target_mean=(10.0,), target_std=(3.0,))
    prediction = Members(base, 4).predict(output)
    each = [base.predict(output[:, 2 * k : 2 * k + 2]) for k in range(4)]
    means = np.stack([part.value for part in each]).astype(np.float64)
    variances = np.stack([np.square(part.total.astype(np.float64)) for part in each])
    np.testing.assert_allclose(prediction.value, means.mean(axis=0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.square(prediction.aleatoric), variances.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(np.square(prediction.epistemic), means.var(axis=0, ddof=1), rtol=1e-2, atol=1e-2)
    total = np.square(prediction.aleatoric) + np.square(prediction.epistemic)
    np.testing.assert_allclose(np.square(prediction.total), total, rtol=1e-3)


def test_moments_may_be_averaged():
    """Blending two windows of two members each is the mixture of the four."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=(1, 6, 5)).astype(np.float32) * 3 for _ in range(2))
    two, four = Members(CLASSES, 2), Members(CLASSES, 4)
    blended = 0.5 * (two.moments(first) + two.moments(second))
    np.testing.assert_allclose(blended, four.moments(np.concatenate([first, second], axis=1)), atol=1e-6)


def test_layers_are_stored_as_the_uncertainty_is():
    specs = {spec.name: spec for spec in Members(CLASSES, 2).layer_specs()}
    assert list(specs) == ["value", "uncertainty", "aleatoric", "epistemic", "probability"]
    for name in ("aleatoric", "epistemic"):
        assert (specs[name].dtype, specs[name].scale) == (specs["uncertainty"].dtype, specs["uncertainty"].scale)
        assert specs[name].limits == (0.0, 1.0)
    numbers = {spec.name: spec for spec in Members(PixelRegression(("h",), unit="m"), 2).layer_specs()}
    assert list(numbers) == ["value", "uncertainty", "aleatoric", "epistemic"]
    assert {spec.unit for spec in numbers.values()} == {"m"}


def test_variance_scale_reaches_the_members_and_is_set_not_multiplied():
    mixture = Members(PixelRegression(("h",)), 2)
    output = np.random.default_rng(1).normal(size=(1, 4, 3)).astype(np.float32)
    scaled = mixture.rescaled(4.0).rescaled(4.0)
    np.testing.assert_allclose(scaled.predict(output).total, 2 * mixture.predict(output).total, rtol=1e-5)
    assert CLASSES.rescaled(4.0) is CLASSES


@pytest.mark.parametrize(
    "base", [CLASSES, PixelRegression(("a", "b")), PixelRegression(("a", "b"), covariance="isotropic"),
             MultivariateRegression(("a", "b", "c"))], ids=lambda base: f"{base.name}-{base.n_outputs}",
)  # fmt: skip
def test_metrics_judge_the_mixture(base):
    """The mixture's metrics are those of one network with the mixture's mean and variance."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    mixture = Members(base, 3)
    output = torch.from_numpy(rng.normal(size=(2, mixture.n_outputs, 4, 4)).astype(np.float32))
    if base.legend is not None:
        target = torch.from_numpy(rng.integers(0, 3, (2, 4, 4)))
    else:
        target = torch.from_numpy(rng.normal(size=(2, len(base.targets), 4, 4)).astype(np.float32))
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    metrics = mixture.metrics()
    mixture.update_metrics(metrics, output, target, valid)
    found = metrics.compute()
    prediction = mixture.predict(output.numpy())
    if base.legend is not None:
        right = (np.searchsorted(LEGEND.values, prediction.value) == target.numpy()).mean()
        assert float(found["overall_accuracy"]) == pytest.approx(right)
        return
    error = prediction.value - target.numpy()
    assert float(found["mae"]) == pytest.approx(np.abs(error).mean(), rel=1e-4)
    if getattr(base, "covariance", "") == "diagonal":
        nll = 0.5 * np.log(2 * np.pi * prediction.total**2) + 0.5 * (error / prediction.total) ** 2
        assert float(found["nll"]) == pytest.approx(nll.mean(), rel=1e-3)


def test_loss_is_the_mean_of_the_members():
    torch = pytest.importorskip("torch")
    output, target = torch.randn(2, 6, 4, 4), torch.randint(-1, 3, (2, 4, 4))
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    single = [CLASSES.loss(output[:, 3 * k : 3 * k + 3], target, valid) for k in range(2)]
    assert float(Members(CLASSES, 2).loss(output, target, valid)) == pytest.approx(float(sum(single) / 2), rel=1e-5)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"name": "members", "members": 2}, "needs the objective of one member"),
        ({"name": "members", "base": {"name": "members"}, "members": 2}, "needs the objective of one member"),
        ({"name": "members", "base": {"name": "pixel-regression"}, "members": 0}, "1 to 64"),
        ({"name": "members", "base": {"name": "pixel-regression"}, "members": 10**9}, "1 to 64"),
        ({"name": "members", "base": {"name": "pixel-regression"}}, "cannot be built"),
    ],
)
def test_wrong_configurations_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_objective(config)
