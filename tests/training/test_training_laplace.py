"""The Laplace approximation of the last layer against closed forms, and in a network."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.networks import build_network
from ecumene.objectives import Members, PixelRegression, Segmentation
from ecumene.samples.patches import PatchSet
from ecumene.training.laplace import best_precision, class_information, laplace_posterior
from ecumene.training.last_layer import find_last_layer, sample_last_layer

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(11)


def with_constant(features):
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def covariance_of(posterior, number=40_000):
    drawn = posterior.samples(number, seed=0).reshape(number, -1)
    return np.cov(drawn.T)


def linear_problem(n=60, noise=0.5):
    features = RNG.normal(size=(n, 3))
    phi = with_constant(features)
    y = phi @ np.array([1.0, -2.0, 0.5, 0.3]) + noise * RNG.normal(size=n)
    return features, phi, y, noise


def test_linear_regression_has_its_exact_posterior():
    features, phi, y, noise = linear_problem()
    precision = 2.0
    exact = np.linalg.inv(phi.T @ phi / noise**2 + precision * np.eye(4))
    mode = (exact @ phi.T @ y / noise**2)[None]
    information = np.full((len(y), 1, 1), 1 / noise**2)
    posterior = laplace_posterior(features, information, mode, precision=precision)
    np.testing.assert_allclose(covariance_of(posterior), exact, rtol=0.1, atol=2e-4)
    np.testing.assert_allclose(posterior.samples(8, seed=1).mean(axis=0), mode, atol=1e-12)


def test_evidence_is_that_of_linear_regression():
    """Up to a constant the exact marginal likelihood y ~ N(0, phi phi^T / precision + noise^2)."""
    features, phi, y, noise = linear_problem()
    exact, found = [], []
    for precision in (0.1, 1.0, 10.0, 100.0):
        hessian = phi.T @ phi / noise**2 + precision * np.eye(4)
        mode = np.linalg.solve(hessian, phi.T @ y / noise**2)[None]
        posterior = laplace_posterior(features, np.full((len(y), 1, 1), 1 / noise**2), mode, precision=precision)
        likelihood = -0.5 * float(((y - phi @ mode[0]) ** 2).sum()) / noise**2
        found.append(posterior.log_evidence(likelihood))
        covariance = phi @ phi.T / precision + noise**2 * np.eye(len(y))
        exact.append(-0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * y @ np.linalg.solve(covariance, y))
    np.testing.assert_allclose(np.diff(found), np.diff(exact), rtol=1e-6)


def test_best_precision_is_where_the_evidence_is_largest():
    features, phi, y, noise = linear_problem()
    mode = np.linalg.lstsq(phi, y, rcond=None)[0][None]
    posterior = laplace_posterior(features, np.full((len(y), 1, 1), 1 / noise**2), mode)
    best = best_precision(posterior, 0.0)
    value = posterior.under(best).log_evidence(0.0)
    assert all(value >= posterior.under(other).log_evidence(0.0) for other in (best / 3, best * 3))


def test_logistic_curvature_is_the_second_derivative_of_the_likelihood():
    features = RNG.normal(size=(40, 2))
    weights = torch.from_numpy(RNG.normal(size=(3, 3))).requires_grad_(True)
    phi = torch.from_numpy(with_constant(features))
    target = torch.from_numpy(RNG.integers(0, 3, 40))

    def loss(flat):
        return torch.nn.functional.cross_entropy(phi @ flat.reshape(3, 3).T, target, reduction="sum")

    hessian = torch.autograd.functional.hessian(loss, weights.detach().flatten()).numpy()
    probability = torch.softmax(phi @ weights.detach().T, dim=1).numpy()
    posterior = laplace_posterior(features, class_information(probability), weights.detach().numpy())
    rebuilt = posterior.basis @ np.diag(posterior.curvature.ravel()) @ posterior.basis.T
    np.testing.assert_allclose(rebuilt, hessian, atol=1e-8)


def test_forms_of_the_hessian_agree_where_they_must():
    features = RNG.normal(size=(200, 3))
    information = np.tile(np.diag([1.0, 4.0]), (200, 1, 1))
    mode = np.zeros((2, 4))
    full, kronecker = (laplace_posterior(features, information, mode, hessian=h) for h in ("full", "kronecker"))
    # With the same information at every pixel the Hessian is a Kronecker product.
    np.testing.assert_allclose(np.sort(full.curvature.ravel()), np.sort(kronecker.curvature.ravel()), rtol=1e-9)
    np.testing.assert_allclose(covariance_of(full), covariance_of(kronecker), atol=1e-3)
    diagonal = laplace_posterior(features, information, mode, hessian="diagonal")
    rebuilt = full.basis @ np.diag(full.curvature.ravel()) @ full.basis.T
    np.testing.assert_allclose(diagonal.curvature, np.diagonal(rebuilt).reshape(2, 4))


def test_a_strong_prior_leaves_the_mode_and_few_data_leave_the_prior():
    features, information, mode = RNG.normal(size=(20, 3)), np.full((20, 1, 1), 1.0), RNG.normal(size=(1, 4))
    posterior = laplace_posterior(features, information, mode)
    np.testing.assert_allclose(posterior.under(1e12).samples(4, 0) - mode, 0.0, atol=1e-5)
    spread = covariance_of(posterior.under(0.5, share=1e-12))
    np.testing.assert_allclose(spread, np.eye(4) / 0.5, atol=0.1)


def test_what_cannot_be_approximated_is_refused_with_a_sentence():
    with pytest.raises(LabelError, match="no labelled pixel"):
        laplace_posterior(np.empty((0, 2)), np.empty((0, 1, 1)), np.zeros((1, 3)))
    with pytest.raises(ConfigurationError, match="not finite"):
        laplace_posterior(np.full((4, 2), np.nan), np.ones((4, 1, 1)), np.zeros((1, 3)))
    with pytest.raises(ConfigurationError, match="Kronecker"):
        laplace_posterior(np.ones((2, 5000)), np.ones((2, 1, 1)), np.zeros((1, 5001)))


@pytest.mark.parametrize("name", ["mlp", "unet-small", "unet", "ltae", "mimo-unet"])
def test_the_last_layer_is_found(name):
    own = {"members": 1, "width": 4} if name == "mimo-unet" else {}
    arguments = {"in_channels": 3, "n_outputs": 4, **own}
    place = find_last_layer(name, arguments)
    state = build_network(name, **arguments).state_dict()
    assert state[place.weight].shape[0] == 4
    assert state[place.bias].shape == (4,)


@pytest.mark.parametrize(("name", "dates"), [("mlp", None), ("unet-small", None), ("ltae", 3), ("unet", None)])
def test_samples_take_the_place_of_the_last_layer(patches, inputs, objective, name, dates):
    side = 32 if name == "unet" else 16
    train, validation = patches(6, side=side, dates=dates), patches(3, side=side, dates=dates, seed=1)
    arguments = {"in_channels": 3, "n_outputs": 3} | ({"encoder": "resnet18"} if name == "unet" else {})
    torch.manual_seed(0)
    network = build_network(name, **arguments).eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    found = [
        sample_last_layer(name, arguments, state, objective, inputs, train, validation, members=4, seed=s)
        for s in (0, 0, 1)
    ]
    changed, weights, summary = found[0]
    assert changed["n_outputs"] == 12
    assert summary["validation_loss"] <= summary["validation_loss_before"] + 1e-2
    assert all(np.array_equal(weights[key], found[1][1][key]) for key in weights)
    assert any(not np.array_equal(weights[key], found[2][1][key]) for key in weights)
    sampled = build_network(name, pretrained=False, **changed).eval()
    sampled.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    shape = (2, 3, side, side) if dates is None else (2, dates, 3, side, side)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    days = None if dates is None else torch.arange(dates).float().expand(2, -1) * 30
    with torch.inference_mode():
        one, four = network(x, days), sampled(x, days)
    # Noise comes in pairs of opposite sign: the mean of the members' scores is the network's own.
    torch.testing.assert_close(four.unflatten(1, (4, 3)).mean(dim=1), one, rtol=1e-3, atol=1e-3)
    prediction = Members(objective, 4).predict(four.numpy())
    assert prediction.epistemic.max() > 0


def test_numbers_get_samples_too(patches, inputs):
    base = patches(6)
    numbers = np.where(base.mask >= 0, base.image[:, 2] * 10, np.nan).astype(np.float32)
    train = PatchSet(base.image, numbers, base.valid, base.dates, base.group, base.channels)
    objective = PixelRegression(("h",), target_mean=(1.0,), target_std=(1.0,))
    torch.manual_seed(0)
    network = build_network("mlp", in_channels=3, n_outputs=2)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    for tune in ("validation", "evidence"):
        changed, weights, summary = sample_last_layer(
            "mlp", {"in_channels": 3, "n_outputs": 2}, state, objective, inputs, train, train, members=6, tune=tune
        )
        assert changed["n_outputs"] == 12
        assert weights["head.weight"].shape == (12, 64, 1, 1)
        assert np.isfinite(summary["validation_loss"])
        assert summary["prior_precision"] > 0


def test_a_network_without_a_single_last_layer_is_refused(patches, inputs, objective):
    with pytest.raises(ConfigurationError, match="last layer"):
        find_last_layer("mimo-unet", {"in_channels": 3, "n_outputs": 6, "members": 2, "width": 4})
    assert Segmentation.name == objective.name
