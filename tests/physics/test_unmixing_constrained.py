import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls as scipy_nnls

from ecumene.core.errors import ConfigurationError, ContractError, EcumeneError
from ecumene.physics.unmixing import (
    INVALID,
    POOR_FIT,
    estimate_residual_correlation,
    fcls,
    kkt_violation,
    nnls,
    robust_limit,
    solve_abundances,
    unmix,
)


def spectra_of(p, bands=60, seed=0):
    rng = np.random.default_rng(seed)
    return 0.3 + np.abs(np.cumsum(rng.normal(size=(bands, p)), axis=0)) / 10


def brute_force(y, e, sum_to_one=True):
    """The best of the solutions on all supports: an independent solver for few endmembers."""
    p, best, value = e.shape[1], None, np.inf
    for size in range(1, p + 1):
        for support in itertools.combinations(range(p), size):
            part = e[:, support]
            gram, right = part.T @ part, part.T @ y
            if sum_to_one:
                system = np.block([[gram, np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
                a = np.linalg.solve(system, np.append(right, 1.0))[:size]
            else:
                a = np.linalg.solve(gram, right)
            error = np.sum((y - part @ a) ** 2)
            if (a >= 0).all() and error < value:
                value, best = error, np.zeros(p)
                best[list(support)] = a
    if not sum_to_one and np.sum(y**2) < value:
        best = np.zeros(p)
    return best


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), p=st.integers(2, 14), sum_to_one=st.booleans(), noise=st.floats(0, 1.0))
def test_optimality_conditions_hold(seed, p, sum_to_one, noise):
    rng = np.random.default_rng(seed)
    e = rng.uniform(0.0, 1.0, (30, p))
    truth = rng.dirichlet(np.full(p, 0.3), 50)
    y = truth @ e.T + noise * rng.normal(size=(50, 30))
    a, converged = solve_abundances(y, e, sum_to_one=sum_to_one)
    assert converged.all()
    assert kkt_violation(y, e, a, sum_to_one=sum_to_one).max() < 1e-9


def test_kkt_violation_sees_wrong_abundances():
    e = spectra_of(3)
    y = np.array([[0.2, 0.3, 0.5]]) @ e.T
    assert kkt_violation(y, e, [[0.2, 0.3, 0.5]])[0] < 1e-12
    assert kkt_violation(y, e, [[0.3, 0.2, 0.5]])[0] > 1e-4
    assert kkt_violation(y, e, [[0.3, 0.3, 0.5]])[0] > 0.05
    assert kkt_violation(y, e, [[-0.1, 0.6, 0.5]])[0] >= 0.1


@pytest.mark.parametrize("sum_to_one", [True, False])
def test_equals_exhaustive_search(sum_to_one):
    rng = np.random.default_rng(1)
    e = rng.uniform(0, 1, (12, 4))
    y = rng.normal(0.5, 0.6, (80, 12))
    a, _ = solve_abundances(y, e, sum_to_one=sum_to_one)
    for pixel, spectrum in zip(a, y, strict=True):
        np.testing.assert_allclose(pixel, brute_force(spectrum, e, sum_to_one), atol=1e-9)


def test_equals_scipy_nnls_for_many_endmembers():
    rng = np.random.default_rng(2)
    e, y = rng.uniform(0, 1, (40, 20)), rng.normal(0.4, 0.5, (60, 40))
    expected = np.array([scipy_nnls(e, row)[0] for row in y])
    np.testing.assert_allclose(solve_abundances(y, e, sum_to_one=False)[0], expected, atol=1e-8)


@pytest.mark.parametrize("p", [3, 6, 12])
def test_noise_free_mixtures_come_back(p):
    rng = np.random.default_rng(3)
    e = spectra_of(p, 100)
    truth = rng.dirichlet(np.ones(p), 500)
    truth[:p] = np.eye(p)
    np.testing.assert_allclose(fcls(truth @ e.T, e).value, truth, atol=1e-6)


def test_threads_and_precision_do_not_change_the_result():
    rng = np.random.default_rng(4)
    e = spectra_of(4)
    y = rng.dirichlet(np.ones(4), 20_000) @ e.T + 0.05 * rng.normal(size=(20_000, 60))
    one, _ = solve_abundances(y, e, threads=1)
    many, _ = solve_abundances(y, e, threads=3)
    np.testing.assert_array_equal(one, many)
    single, _ = solve_abundances(y.astype(np.float32), e)
    np.testing.assert_allclose(single, one, atol=1e-5)


@pytest.mark.parametrize("p", [4, 12])
@pytest.mark.parametrize("options", [{}, {"noise": 0.02}, {"noise": np.full(60, 0.02)}])
def test_error_bars_cover(p, options):
    rng = np.random.default_rng(5)
    e = spectra_of(p, 60)
    truth = rng.dirichlet(np.ones(p), 4000)
    result = fcls(truth @ e.T + 0.02 * rng.normal(size=(4000, 60)), e, **options)
    error = np.abs(result.value - truth)
    # A little more than a Gaussian's share, since shares at zero are often exactly right.
    assert 0.66 < np.mean(error <= result.standard_deviation) < 0.76
    assert 0.85 < np.sqrt(np.mean(error**2) / np.mean(result.standard_deviation**2)) < 1.1


def test_a_pure_pixel_has_an_error_bar():
    e = spectra_of(3)
    result = fcls(np.tile(e[:, :1].T, (200, 1)) + 0.02 * np.random.default_rng(0).normal(size=(200, 60)), e)
    pure = result.value[:, 0] == 1.0
    assert pure.sum() > 10
    assert (result.standard_deviation[pure] > 0).all()
    error = 1.0 - result.value[:, 0]
    assert 0.3 < np.sqrt(np.mean(error**2) / np.mean(result.standard_deviation[:, 0] ** 2)) < 1.1


def test_error_bars_at_zero_are_conservative_but_not_empty():
    rng = np.random.default_rng(6)
    e = spectra_of(4)
    truth = np.zeros((4000, 4))
    truth[:, :2] = rng.dirichlet(np.ones(2), 4000)
    result = fcls(truth @ e.T + 0.02 * rng.normal(size=(4000, 60)), e)
    absent = result.standard_deviation[:, 2:]
    assert (absent > 0).all()
    assert np.mean(result.value[:, 2:] <= absent) > 0.68
    assert np.sqrt(np.mean(result.value[:, 2:] ** 2)) > 0.3 * np.sqrt(np.mean(absent**2))


def test_scaled_error_bars_and_brightness():
    rng = np.random.default_rng(7)
    e = spectra_of(3)
    truth, bright = rng.dirichlet(np.full(3, 3.0), 4000), rng.uniform(0.4, 1.3, (4000, 1))
    y = bright * truth @ e.T + 0.01 * rng.normal(size=(4000, 60))
    result = unmix(y, e, constraint="scaled")
    error = np.abs(result.value - truth)
    np.testing.assert_allclose(result.value.sum(axis=1), 1.0, atol=1e-12)
    assert abs(np.mean(error <= result.standard_deviation) - 0.6827) < 0.03
    assert np.sqrt(np.mean((fcls(y, e).value - truth) ** 2)) > 5 * np.sqrt(np.mean(error**2))


@pytest.mark.parametrize("constraint", ["scls", "ucls"])
def test_equality_constrained_have_closed_form_bounds(constraint):
    rng = np.random.default_rng(8)
    e = spectra_of(3)
    truth = rng.dirichlet(np.ones(3), 3000)
    result = unmix(truth @ e.T + 0.02 * rng.normal(size=(3000, 60)), e, constraint=constraint, noise=0.02)
    inverse = np.linalg.inv(e.T @ e) * 0.02**2
    if constraint == "scls":
        inverse = inverse - np.outer(inverse.sum(0), inverse.sum(0)) / inverse.sum()
        np.testing.assert_allclose(result.value.sum(axis=1), 1.0, atol=1e-10)
    np.testing.assert_allclose(result.standard_deviation[0], np.sqrt(np.diag(inverse)), rtol=1e-8)
    np.testing.assert_allclose((result.value - truth).std(axis=0), np.sqrt(np.diag(inverse)), rtol=0.06)


def test_correlated_residuals_widen_the_error_bars_as_much_as_needed():
    rng = np.random.default_rng(9)
    e = spectra_of(3, 60)
    lag = np.abs(np.subtract.outer(np.arange(60), np.arange(60)))
    factor = np.linalg.cholesky(np.exp(-lag / 8.0))
    truth = rng.dirichlet(np.full(3, 4.0), 6000)
    y = truth @ e.T + 0.02 * rng.normal(size=(6000, 60)) @ factor.T
    plain = nnls(y, e)
    correlation = estimate_residual_correlation(y, e)
    np.testing.assert_allclose(correlation, np.exp(-lag / 8.0), atol=0.1)
    for constraint in ("nnls", "fcls", "scls"):
        plain = unmix(y, e, constraint=constraint)
        wide = unmix(y, e, constraint=constraint, residual_correlation=correlation)
        covers = [np.mean(np.abs(r.value - truth) <= r.standard_deviation) for r in (plain, wide)]
        assert covers[0] < 0.5
        assert abs(covers[1] - 0.6827) < 0.05
    whole = nnls(y, e, noise=0.02**2 * factor @ factor.T)
    assert abs(np.mean(np.abs(whole.value - truth) <= whole.standard_deviation) - 0.6827) < 0.03


def test_flags():
    rng = np.random.default_rng(10)
    e = spectra_of(3)
    y = rng.dirichlet(np.ones(3), 2000) @ e.T + 0.01 * rng.normal(size=(2000, 60))
    y[0] = np.nan
    y[1, 10:30] += 0.3
    result = fcls(y, e, noise=0.01)
    assert result.flags[0] == INVALID
    assert np.isnan(result.value[0]).all()
    assert result.flags[1] & POOR_FIT
    assert not result.valid[0]
    assert result.outlier[1:].mean() < 0.003
    free = fcls(y, e)
    limited = fcls(y, e, residual_limit=robust_limit(free.residual_rms))
    assert limited.outlier[1]
    assert limited.outlier[2:].mean() < 0.002


@pytest.mark.parametrize(
    ("spectra", "endmembers", "options", "error", "words"),
    [
        (np.ones((2, 5)), np.column_stack([np.arange(5.0), 2 * np.arange(5.0)]), {}, ConfigurationError, "dependent"),
        (np.ones((2, 5)), np.ones((5, 9)), {}, ConfigurationError, "dependent"),
        (np.ones((2, 5)), np.full((5, 2), np.nan), {}, ConfigurationError, "not finite"),
        (np.ones((2, 5)), np.zeros((5, 1)), {}, ConfigurationError, "zero"),
        (np.ones((2, 6)), np.eye(5)[:, :2], {}, ContractError, "resample"),
        (np.ones((2, 5)), np.eye(5)[:, :2], {"noise": -1.0}, ConfigurationError, "positive"),
        (np.ones((2, 5)), np.eye(5)[:, :2], {"noise": np.ones((5, 5))}, ConfigurationError, "positive definite"),
        (np.ones((2, 5)), np.eye(5)[:, :2], {"constraint": "lasso"}, ConfigurationError, "fcls"),
        (np.ones((2, 5)), np.eye(5)[:, :2], {"noise": 1, "residual_correlation": 1}, ConfigurationError, "either"),
        (np.ones((2, 5)), np.eye(5)[:, :2], {"residual_correlation": np.eye(4)}, ConfigurationError, "5 bands"),
    ],
)
def test_bad_input_is_one_sentence(spectra, endmembers, options, error, words):
    with pytest.raises(error, match=words) as caught:
        unmix(spectra, endmembers, **options)
    assert isinstance(caught.value, EcumeneError)
    assert "\n" not in str(caught.value)


def test_a_mixture_written_with_six_digits_is_still_dependent():
    rng = np.random.default_rng(0)
    library = rng.uniform(0.05, 0.6, (80, 3))
    mixed = np.column_stack([library, 0.3 * library[:, 0] + 0.7 * library[:, 2]])
    rounded = np.array([[float(f"{value:.6g}") for value in row] for row in mixed])
    assert np.linalg.matrix_rank(rounded) == 4
    with pytest.raises(ConfigurationError, match="linearly dependent"):
        fcls(rng.uniform(0, 1, (5, 80)), rounded)
    alike = np.column_stack([library, library[:, 0] * (1 + 0.01 * rng.standard_normal(80))])
    assert np.isfinite(fcls(library.T, alike).value).all()
