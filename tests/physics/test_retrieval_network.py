"""The inverse network: as good as it says inside of its training, and aware of the outside."""

from __future__ import annotations

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.retrieval.forward import ForwardModel, two_way_air_mass

torch = pytest.importorskip("torch")

NOISE = 0.002


@pytest.fixture(scope="module")
def trained():
    from ecumene.training.spectral_inverse import train_inverse

    torch.set_num_threads(1)
    forward = ForwardModel(np.arange(0.86, 1.03, 0.0065), 0.009, two_way_air_mass(35.0), ("h2o",), surface_order=1)
    mean, covariance = forward.prior()
    noise = np.full(forward.bands, NOISE**2)
    model = train_inverse(forward, noise, mean, covariance, ("h2o",), samples=2048, epochs=15, members=2)
    return forward, mean, covariance, model


def _spectra(forward, states, seed):
    return forward(states)[0] + NOISE * np.random.default_rng(seed).standard_normal((len(states), forward.bands))


def test_calibrated_inside(trained):
    from ecumene.training.spectral_inverse import apply_inverse

    forward, mean, covariance, model = trained
    states = np.random.default_rng(1).multivariate_normal(mean, covariance, 4000)
    found = apply_inverse(model, _spectra(forward, states, 2))
    error = np.abs(found.value[:, 0] - states[:, 0])
    assert (error < found.standard_deviation[:, 0]).mean() == pytest.approx(0.683, abs=0.06)
    assert np.sqrt(np.mean(error**2)) < 0.4 * np.sqrt(covariance[0, 0])
    assert found.outlier.mean() < 0.03
    assert np.all(found.standard_deviation >= found.aleatoric - 1e-12)


def test_flags_outside(trained):
    from ecumene.training.spectral_inverse import INVALID, apply_inverse

    forward, mean, covariance, model = trained
    states = np.random.default_rng(3).multivariate_normal(mean, covariance, 300)
    wet = states.copy()
    wet[:, 0] = 120.0
    assert apply_inverse(model, _spectra(forward, wet, 4)).outlier.mean() > 0.9
    strange = _spectra(forward, states, 5)
    strange[:, 20:23] *= 0.8
    assert apply_inverse(model, strange).outlier.mean() > 0.9
    broken = _spectra(forward, states[:3], 6)
    broken[1, 4] = np.nan
    found = apply_inverse(model, broken)
    np.testing.assert_array_equal(found.flags == INVALID, [False, True, False])
    assert np.isnan(found.value[1]).all()


def test_bad_requests_are_one_sentence(trained):
    from ecumene.training.spectral_inverse import apply_inverse, train_inverse

    forward, mean, covariance, model = trained
    noise = np.full(forward.bands, NOISE**2)
    with pytest.raises(ContractError, match="bands"):
        apply_inverse(model, np.ones((2, 5)))
    with pytest.raises(ConfigurationError, match="no element"):
        train_inverse(forward, noise, mean, covariance, ("co2",))
    with pytest.raises(ConfigurationError, match="samples"):
        train_inverse(forward, noise, mean, covariance, ("h2o",), samples=3)
    with pytest.raises(ContractError, match="noise"):
        train_inverse(forward, noise[:-1], mean, covariance, ("h2o",))
