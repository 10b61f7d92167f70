"""Forward model, Jacobians and optimal estimation against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.retrieval.bands import AbsorptionBand, Gas
from ecumene.physics.retrieval.estimation import (
    FAR_FROM_PRIOR,
    INVALID,
    POOR_FIT,
    parameter_error,
    retrieve,
)
from ecumene.physics.retrieval.forward import ForwardModel, two_way_air_mass
from ecumene.physics.retrieval.sampling import sobol_states
from ecumene.physics.retrieval.solar import radiance_to_reflectance, solar_irradiance

CENTER = np.arange(0.86, 1.03, 0.0065)
NOISE = 0.002


@pytest.fixture(scope="module")
def model():
    return ForwardModel(CENTER, 0.009, two_way_air_mass(35.0), ("h2o",))


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    gases=st.sampled_from([("h2o",), ("h2o", "o2"), ("co2", "ch4", "h2o"), ("o3",)]),
    shift=st.booleans(),
    path=st.booleans(),
)
def test_jacobian_agrees_with_differences(seed, gases, shift, path):
    forward = ForwardModel(np.arange(0.5, 2.4, 0.03), 0.02, 2.4, gases, shift=shift, path=path)
    mean, covariance = forward.prior()
    state = np.random.default_rng(seed).multivariate_normal(mean, covariance)
    _, analytic = forward(state[None])
    for k in range(mean.size):
        step = 1e-4 * np.sqrt(covariance[k, k])
        ends = np.stack([state, state])
        ends[0, k] += step
        ends[1, k] -= step
        high, low = forward(ends)[0]
        numeric = (high - low) / (2 * step)
        scale = max(np.abs(analytic[0, :, k]).max(), 1e-9)
        assert np.abs(numeric - analytic[0, :, k]).max() < 1e-5 * scale, forward.names[k]


def test_absorption_follows_its_limits():
    weak = Gas("x", "1", 1e-3, 1e-3, 0.3, (AbsorptionBand(1.0, 0.2, 1.0),))
    forward = ForwardModel(np.array([0.99, 1.0, 1.01]), 0.005, 2.0, (weak,), surface_order=0, path=False)
    column = np.array([1e-5, 50.0, 200.0])
    depth = -np.log(forward(np.stack([column, np.ones(3)], axis=1))[0][:, 1])
    assert depth[0] == pytest.approx(2e-5, rel=1e-3)  # linear
    # square root: c (sqrt(1 + 2 u / c) - 1)
    assert depth[1:] == pytest.approx(0.3 * (np.sqrt(1 + 4 * column[1:] / 0.3) - 1), rel=1e-3)


def test_energy_is_conserved_and_absorption_only_darkens(model):
    mean, _ = model.prior()
    clear = mean.copy()
    clear[0] = 0.0
    bright, _ = model(clear[None])
    dark, _ = model(mean[None])
    assert np.all(dark <= bright + 1e-12)
    surface = clear.copy()
    surface[2:] = 0.0
    flat, _ = model(surface[None])
    np.testing.assert_allclose(flat, surface[1], rtol=1e-9)


def test_shift_moves_the_spectrum():
    still = ForwardModel(CENTER, 0.009, 2.2, ("h2o",))
    moved = ForwardModel(CENTER + 0.0005, 0.009, 2.2, ("h2o",))
    taylor = ForwardModel(CENTER, 0.009, 2.2, ("h2o",), surface_order=0, path=False, shift=True)
    state = np.array([[20.0, 0.3]])
    direct = ForwardModel(CENTER + 0.0005, 0.009, 2.2, ("h2o",), surface_order=0, path=False)(state)[0]
    base = ForwardModel(CENTER, 0.009, 2.2, ("h2o",), surface_order=0, path=False)(state)[0]
    shifted = taylor(np.array([[20.0, 0.3, 0.5]]))[0]
    assert np.abs(shifted - direct).max() < 0.05 * np.abs(direct - base).max()
    assert still.bands == moved.bands


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 5), extra=st.integers(0, 6))
def test_linear_problem_has_the_textbook_solution(seed, n, extra):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n + extra, n))
    noise = rng.uniform(0.1, 2.0, n + extra)
    root = rng.standard_normal((n, n))
    prior_covariance = root @ root.T + 0.2 * np.eye(n)
    prior = rng.standard_normal(n)
    spectra = rng.standard_normal((4, n + extra))

    def forward(x):
        return x @ matrix.T, np.broadcast_to(matrix, (len(x), *matrix.shape))

    found = retrieve(forward, spectra, noise, prior, prior_covariance, tolerance=1e-12, iterations=60)
    weight, precision = np.diag(1 / noise), np.linalg.inv(prior_covariance)
    posterior = np.linalg.inv(matrix.T @ weight @ matrix + precision)
    gain = posterior @ matrix.T @ weight
    np.testing.assert_allclose(found.value, prior + (spectra - prior @ matrix.T) @ gain.T, atol=1e-5)
    np.testing.assert_allclose(found.covariance[0], posterior, atol=1e-8)
    np.testing.assert_allclose(found.averaging_kernel[0], gain @ matrix, atol=1e-8)
    # S = (I - A) Sa, and noise and smoothing parts add up to S (Rodgers 2000, chapter 3)
    rest = np.eye(n) - found.averaging_kernel[0]
    np.testing.assert_allclose(rest @ prior_covariance, posterior, atol=1e-6)
    np.testing.assert_allclose(found.noise_covariance[0] + found.smoothing_covariance[0], posterior, atol=1e-6)
    values = np.linalg.eigvals(found.averaging_kernel[0]).real
    assert values.min() > -1e-8
    assert values.max() < 1 + 1e-8
    assert 0 <= found.degrees_of_freedom[0] <= n + 1e-9
    assert found.information_bits[0] >= -1e-9


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 5), weak=st.floats(1e4, 1e8))
def test_rows_of_the_averaging_kernel_sum_to_one_without_a_prior(seed, n, weak):
    """With m >= n good measurements and a prior that says nothing, what is true is retrieved whole."""
    rng = np.random.default_rng(seed)
    matrix = np.linalg.qr(rng.standard_normal((n + 3, n)))[0] * rng.uniform(1.0, 3.0, n)

    def forward(x):
        return x @ matrix.T, np.broadcast_to(matrix, (len(x), *matrix.shape))

    noise, spectra = np.full(n + 3, 0.1), rng.standard_normal((2, n + 3))
    strong = retrieve(forward, spectra, noise, np.zeros(n), np.full(n, 1.0)).averaging_kernel[0].sum(axis=1)
    found = retrieve(forward, spectra, noise, np.zeros(n), np.full(n, weak)).averaging_kernel[0].sum(axis=1)
    np.testing.assert_allclose(found, 1.0, atol=n * 0.2 / weak)
    assert np.abs(found - 1).max() <= np.abs(strong - 1).max() + 1e-12


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_row_sums_are_the_response_to_a_change_of_all_elements(seed):
    forward = ForwardModel(CENTER, 0.009, two_way_air_mass(35.0), ("h2o",))
    mean, covariance = forward.prior()
    unit = np.sqrt(np.diag(covariance))
    state = mean + 0.5 * unit * np.random.default_rng(seed).uniform(-1, 1, mean.size)
    step = 1e-3 * unit
    pair, _ = forward(np.stack([state - step, state + step]))
    noise = np.full(forward.bands, NOISE**2)
    # The prior lies at the truth: elsewhere the residual's curvature, which A leaves out, would count too.
    found = retrieve(forward, pair, noise, state, covariance, tolerance=1e-14, iterations=200)
    response = (found.value[1] - found.value[0]) / (2.0 * step)
    scaled = found.averaging_kernel.mean(axis=0) * unit[None, :] / unit[:, None]
    np.testing.assert_allclose(response, scaled.sum(axis=1), atol=2e-3)


def test_averaging_kernel_rows_sum_to_one_without_a_prior(model):
    # A profile-like state of one kind: where the prior says nothing, the retrieval follows the truth.
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((30, 4))

    def forward(x):
        return x @ matrix.T, np.broadcast_to(matrix, (len(x), 30, 4))

    free = retrieve(forward, rng.standard_normal((3, 30)), np.full(30, 0.01), np.zeros(4), np.full(4, 1e8))
    np.testing.assert_allclose(free.averaging_kernel.sum(axis=2), 1.0, atol=1e-6)
    tied = retrieve(forward, rng.standard_normal((3, 30)), np.full(30, 1e8), np.zeros(4), np.full(4, 0.01))
    np.testing.assert_allclose(tied.averaging_kernel.sum(axis=2), 0.0, atol=1e-6)


def test_posterior_covers_what_it_says(model):
    rng = np.random.default_rng(2)
    mean, covariance = model.prior()
    states = rng.multivariate_normal(mean, covariance, 3000)
    spectra = model(states)[0] + NOISE * rng.standard_normal((3000, model.bands))
    found = retrieve(model, spectra, np.full(model.bands, NOISE**2), mean, covariance, linear=model.linear)
    within = (np.abs(found.value - states) < found.standard_deviation).mean(axis=0)
    assert np.all(np.abs(within - 0.683) < 0.035), within
    assert found.outlier.mean() < 0.02
    assert found.standard_deviation[:, 0].mean() < 0.3 * np.sqrt(covariance[0, 0])


def test_strange_spectra_are_flagged(model):
    mean, covariance = model.prior()
    spectra = np.tile(model(mean[None])[0], (4, 1))
    spectra[0, 3] = np.nan
    spectra[1, 10:14] += 0.1
    spectra[2] *= 4.0
    found = retrieve(model, spectra, np.full(model.bands, NOISE**2), mean, covariance, linear=model.linear)
    assert found.flags[0] == INVALID
    assert np.isnan(found.value[0]).all()
    assert found.flags[1] & POOR_FIT
    assert found.flags[2] & FAR_FROM_PRIOR
    assert found.flags[3] == 0


def test_parameter_error_is_what_a_wrong_parameter_does(model):
    mean, covariance = model.prior()
    noise = np.full(model.bands, NOISE**2)
    spectrum, _ = model(mean[None])
    bump = 1e-4 * np.exp(-0.5 * ((CENTER - 0.93) / 0.02) ** 2)[None]
    base = retrieve(model, spectrum, noise, mean, covariance, tolerance=1e-10)
    moved = retrieve(model, spectrum + bump, noise, mean, covariance, tolerance=1e-10)
    stated = np.sqrt(np.diag(parameter_error(base, model, noise, bump, 1.0)[0]))
    np.testing.assert_allclose(stated, np.abs(moved.value - base.value)[0], rtol=0.05, atol=1e-9)


def test_sobol_states_follow_the_prior():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    states = sobol_states(np.array([1.0, -2.0]), covariance, 4096)
    np.testing.assert_allclose(states.mean(axis=0), [1.0, -2.0], atol=0.02)
    np.testing.assert_allclose(np.cov(states.T), covariance, atol=0.1)
    np.testing.assert_array_equal(states, sobol_states(np.array([1.0, -2.0]), covariance, 4096))


def test_sunlight():
    wave = np.arange(0.1, 60.0, 0.002)
    assert np.trapezoid(solar_irradiance(wave), wave) == pytest.approx(1361.0, rel=0.003)
    level = solar_irradiance([0.9])
    np.testing.assert_allclose(radiance_to_reflectance(level / np.pi * np.cos(np.radians(60)), [0.9], 60.0), 1.0)
    with pytest.raises(ConfigurationError):
        radiance_to_reflectance(level, [0.9], 95.0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ForwardModel([0.9, 1.0], 0.01, 2.2), ContractError),
        (lambda: ForwardModel([0.9, 1.0, 1.1], [0.01, 0.02], 2.2), ContractError),
        (lambda: ForwardModel([0.9, 1.0, np.nan], 0.01, 2.2), ContractError),
        (lambda: ForwardModel(CENTER, 0.01, 1.0), ConfigurationError),
        (lambda: ForwardModel(CENTER, 0.01, 2.2, ("phlogiston",)), ConfigurationError),
        (lambda: ForwardModel(CENTER, 0.01, 2.2, ("h2o", "h2o")), ConfigurationError),
        (lambda: ForwardModel(CENTER, 0.01, 2.2, ()), ConfigurationError),
        (lambda: two_way_air_mass(85.0), ConfigurationError),
        (lambda: sobol_states(np.zeros(2), -np.ones(2), 8), ConfigurationError),
        (lambda: sobol_states(np.zeros(2), np.ones(3), 8), ContractError),
    ],
)
def test_bad_models_are_one_sentence(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_bad_retrievals_are_one_sentence(model):
    mean, covariance = model.prior()
    spectra, noise = np.ones((2, model.bands)), np.full(model.bands, 1e-4)
    for call, error in (
        (lambda: retrieve(model, spectra, -noise, mean, covariance), ConfigurationError),
        (lambda: retrieve(model, spectra, noise, mean, -covariance), ConfigurationError),
        (lambda: retrieve(model, spectra, noise[:-1], mean, covariance), ContractError),
        (lambda: retrieve(model, spectra[:, :-1], noise[:-1], mean, covariance), ContractError),
        (lambda: retrieve(model, spectra, noise, mean[:-1], covariance[:-1, :-1]), ContractError),
        (lambda: retrieve(model, spectra, noise, mean, covariance, iterations=0), ConfigurationError),
        (lambda: retrieve(model, spectra, noise, mean * np.nan, covariance), ContractError),
    ):
        with pytest.raises(error) as caught:
            call()
        assert "\n" not in str(caught.value)
