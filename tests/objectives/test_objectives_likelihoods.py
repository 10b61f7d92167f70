"""Heteroscedastic likelihoods against those of other libraries, and at extremes."""

import numpy as np
import pytest
from scipy import stats

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import MultivariateRegression, PixelRegression
from ecumene.objectives.numeric import bounded, unbounded

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
VALID = torch.ones(2, 5, 5, dtype=torch.bool)


def nll(objective, output, target):
    metrics = objective.metrics()
    objective.update_metrics(metrics, output, target, VALID)
    return float(metrics.compute()["nll"])


def data(objective, scale=1.0):
    output = torch.from_numpy(scale * RNG.normal(size=(2, objective.n_outputs, 5, 5))).float()
    return output, torch.from_numpy(RNG.normal(size=(2, len(objective.targets), 5, 5))).float()


@pytest.mark.parametrize("covariance", ["diagonal", "isotropic"])
@pytest.mark.parametrize(("likelihood", "distribution"), [("gaussian", stats.norm), ("laplace", stats.laplace)])
def test_likelihoods_are_those_of_scipy(likelihood, distribution, covariance):
    objective = PixelRegression(("a", "b"), likelihood=likelihood, covariance=covariance)
    output, target = data(objective)
    prediction = objective.predict(output.numpy())
    scale = prediction.total / (np.sqrt(2.0) if likelihood == "laplace" else 1.0)
    wanted = -distribution.logpdf(target.numpy(), loc=prediction.value, scale=scale).mean()
    assert nll(objective, output, target) == pytest.approx(wanted, rel=1e-4)
    if covariance == "isotropic":
        np.testing.assert_array_equal(prediction.total[:, 0], prediction.total[:, 1])


@pytest.mark.parametrize("number", [1, 2, 5, 13])
def test_full_covariance_is_that_of_scipy(number):
    objective = MultivariateRegression([f"band {k}" for k in range(number)])
    output, target = data(objective, 0.3)  # strong couplings of many bands are beyond single precision
    prediction = objective.predict(output.numpy())
    packed = np.moveaxis(prediction.details["covariance"], 1, -1).reshape(-1, objective.n_pairs).astype(np.float64)
    mean = np.moveaxis(prediction.value, 1, -1).reshape(-1, number)
    truth = np.moveaxis(target.numpy(), 1, -1).reshape(-1, number)
    found = []
    for entries, center, y in zip(packed, mean, truth, strict=True):
        matrix = np.zeros((number, number))
        matrix[np.tril_indices(number)] = entries
        matrix = matrix + np.tril(matrix, -1).T
        found.append(-stats.multivariate_normal(center, matrix, allow_singular=False).logpdf(y))
    assert nll(objective, output, target) == pytest.approx(np.mean(found), rel=2e-3)
    np.testing.assert_allclose(prediction.total, prediction.aleatoric, rtol=1e-5)
    if number > 1:
        assert prediction.layers["correlation"].shape[1] == number * (number - 1) // 2
        assert (np.abs(prediction.layers["correlation"]) <= 1).all()


def test_full_covariance_without_coupling_is_the_diagonal_one():
    full, diagonal = MultivariateRegression(("a", "b", "c")), PixelRegression(("a", "b", "c"))
    output, target = data(diagonal)
    padded = torch.cat([output, torch.zeros(2, 3, 5, 5)], dim=1)
    assert float(full.loss(padded, target, VALID)) == pytest.approx(3 * float(diagonal.loss(output, target, VALID)))
    np.testing.assert_allclose(full.predict(padded.numpy()).total, diagonal.predict(output.numpy()).total, rtol=1e-5)


def test_blended_full_covariances_obey_total_covariance():
    objective = MultivariateRegression(("a", "b"))
    output = RNG.normal(size=(3, objective.n_outputs, 4)).astype(np.float32)
    moments = objective.moments(output)
    blended = objective.from_moments(moments.mean(axis=0, keepdims=True)).details["covariance"][0]
    single = objective.from_moments(moments)
    m = single.value.astype(np.float64)
    within = single.details["covariance"].astype(np.float64).mean(axis=0)
    for k, (i, j) in enumerate([(0, 0), (1, 0), (1, 1)]):
        between = (m[:, i] * m[:, j]).mean(axis=0) - m[:, i].mean(axis=0) * m[:, j].mean(axis=0)
        np.testing.assert_allclose(blended[k], within[k] + between, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2, 1e4])
@pytest.mark.parametrize(
    "objective",
    [
        PixelRegression(("a", "b")),
        PixelRegression(("a", "b"), likelihood="laplace"),
        PixelRegression(("a", "b"), covariance="isotropic"),
        MultivariateRegression(("a", "b", "c", "d")),
    ],
    ids=lambda objective: f"{objective.name}-{objective.n_outputs}",
)
def test_losses_and_gradients_stay_finite_at_extremes(objective, scale):
    output, target = data(objective, scale)
    output.requires_grad_(True)
    target[0, :, 0, 0] = float("nan")
    valid = VALID.clone()
    valid[1, :2] = False
    loss = objective.loss(output, target, valid)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()
    assert not output.grad[0, :, 0, 0].any()
    assert not output.grad[1, :, :2].any()


def test_fitting_finds_the_covariance_of_the_noise():
    truth = np.array([[1.0, 0.8, 0.0], [0.8, 2.0, -0.5], [0.0, -0.5, 0.5]])
    noise = RNG.multivariate_normal([1.0, -1.0, 0.0], truth, size=4000)
    target = torch.from_numpy(noise.T.reshape(1, 3, 40, 100)).float()
    objective = MultivariateRegression(("a", "b", "c"))
    raw = torch.zeros(1, objective.n_outputs, 1, 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=200, line_search_fn="strong_wolfe")
    valid = torch.ones(1, 40, 100, dtype=torch.bool)

    def closure():
        optimiser.zero_grad()
        loss = objective.loss(raw.expand(1, -1, 40, 100), target, valid)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = objective.predict(raw.detach().numpy()).details["covariance"].ravel()
    np.testing.assert_allclose(found, np.cov(noise.T)[np.tril_indices(3)], atol=0.02)


def test_bounds_are_undone():
    values = np.linspace(-9.5, 9.5, 39)
    np.testing.assert_allclose(bounded(unbounded(values)), values, atol=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [{"likelihood": "cauchy"}, {"covariance": "full"}, {"likelihood": "laplace", "beta": 0.5}, {"beta": 2.0}],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments):
    with pytest.raises(ConfigurationError):
        PixelRegression(("a",), **arguments)
