"""Simulators and looks estimators against the moments that theory gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.speckle.looks import (
    HETEROGENEOUS,
    estimate_looks,
    gamma_shape,
    half_sample_mode,
    independent_share,
    scene_looks,
)
from ecumene.physics.speckle.quality import edge_preservation_ratio, held_out_deviance, ratio_statistics
from ecumene.physics.speckle.simulate import (
    complex_speckle,
    gamma_speckle,
    k_speckle,
    multilook_speckle,
    spectral_window,
)


@settings(deadline=None, max_examples=15)
@given(looks=st.floats(0.6, 30.0), seed=st.integers(0, 2**31))
def test_gamma_speckle_has_its_moments(looks, seed):
    field = gamma_speckle(np.random.default_rng(seed), (150, 150), looks)
    error = np.sqrt(1.0 / looks / field.size)
    assert abs(field.mean() - 1.0) < 5.0 * error
    assert field.var() == pytest.approx(1.0 / looks, rel=0.12 + 0.1 / looks)


def test_complex_speckle_keeps_energy_and_is_circular():
    rng = np.random.default_rng(1)
    for bandwidth in ((1.0, 1.0), (0.6, 0.9)):
        field = complex_speckle(rng, (256, 256), bandwidth=bandwidth, hamming=0.7)
        assert np.mean(np.abs(field) ** 2) == pytest.approx(1.0, abs=0.03)
        assert abs(np.mean(field**2)) < 0.03
        assert np.mean(np.abs(field) ** 4) == pytest.approx(2.0, abs=0.15)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(8, 60), cols=st.integers(8, 60), low=st.floats(0.3, 1.0), a=st.floats(0.5, 1.0))
def test_spectral_window_conserves_energy(rows, cols, low, a):
    assert np.mean(spectral_window((rows, cols), (low, 1.0), a) ** 2) == pytest.approx(1.0)


def test_oversampling_correlates_as_a_sinc():
    field = complex_speckle(np.random.default_rng(2), (512, 512), bandwidth=(0.5, 1.0))
    measured = np.vdot(field[:-1], field[1:]).real / np.vdot(field, field).real
    assert measured == pytest.approx(np.sinc(0.5), abs=0.02)
    assert abs(np.vdot(field[:, :-1], field[:, 1:]).real / np.vdot(field, field).real) < 0.02


@pytest.mark.parametrize(("looks", "order"), [(1.0, 4.0), (4.0, 10.0)])
def test_k_speckle_second_moment(looks, order):
    field = k_speckle(np.random.default_rng(3), (600, 600), looks, order)
    assert field.mean() == pytest.approx(1.0, abs=0.01)
    assert np.mean(field**2) == pytest.approx((1 + 1 / looks) * (1 + 1 / order), rel=0.03)


def test_correlated_gamma_keeps_its_marginal():
    field = gamma_speckle(np.random.default_rng(4), (500, 500), 3.0, correlation_px=1.0)
    assert field.var() == pytest.approx(1 / 3, rel=0.06)
    assert np.corrcoef(field[:-1].ravel(), field[1:].ravel())[0, 1] > 0.6


@settings(deadline=None, max_examples=30)
@given(looks=st.floats(0.05, 500.0))
def test_gamma_shape_inverts_its_equation(looks):
    from scipy.special import digamma

    assert gamma_shape(np.array([np.log(looks) - digamma(looks)]))[0] == pytest.approx(looks, rel=1e-8)


@pytest.mark.parametrize("method", ["likelihood", "moments"])
def test_standard_errors_of_looks_are_true(method):
    rng = np.random.default_rng(5)
    found = [estimate_looks(gamma_speckle(rng, (30, 30), 4.0), method=method) for _ in range(400)]
    values = np.array([item.value for item in found])
    assert values.mean() == pytest.approx(4.0, rel=0.02)
    assert values.std() == pytest.approx(np.mean([item.standard_deviation for item in found]), rel=0.15)
    assert np.mean([item.flags & HETEROGENEOUS > 0 for item in found]) < 0.05


def test_likelihood_is_the_better_estimator():
    region = gamma_speckle(np.random.default_rng(6), (60, 60), 1.0)
    exact, moments = estimate_looks(region), estimate_looks(region, method="moments")
    assert exact.standard_deviation < moments.standard_deviation


def test_a_mixture_is_flagged_heterogeneous():
    mixed = gamma_speckle(np.random.default_rng(7), (60, 60), 4.0)
    mixed[:, 30:] *= 5.0
    assert estimate_looks(mixed).flags & HETEROGENEOUS


def test_independent_share_of_white_and_oversampled_speckle():
    rng = np.random.default_rng(8)
    assert independent_share(multilook_speckle(rng, (300, 300), 1)) == pytest.approx(1.0, abs=0.05)
    # The intensity's correlation is |sinc|^2, whose sum over lags is 1 / bandwidth.
    oversampled = multilook_speckle(rng, (300, 300), 1, bandwidth=(0.6, 0.8))
    assert independent_share(oversampled) == pytest.approx(0.48, abs=0.15)


def test_structure_does_not_count_as_correlation():
    rng = np.random.default_rng(9)
    field = multilook_speckle(rng, (300, 300), 1)
    field[:, 150:] *= 10.0
    field[40:50] *= 5.0
    assert independent_share(field) > 0.85


def test_scene_looks_ignores_texture_and_edges():
    rng = np.random.default_rng(10)
    field = gamma_speckle(rng, (300, 300), 4.4)
    field[:, 200:] *= gamma_speckle(rng, (300, 100), 2.0, correlation_px=2.0)
    found = scene_looks(field)
    assert abs(found.value - 4.4) < 0.5
    assert 0.0 < found.standard_deviation < 0.5


def test_half_sample_mode_finds_the_peak():
    rng = np.random.default_rng(11)
    values = np.concatenate([rng.normal(5.0, 0.1, 300), rng.uniform(0.0, 4.0, 300)])
    assert half_sample_mode(values) == pytest.approx(5.0, abs=0.2)


def test_ratio_statistics_of_a_perfect_filter():
    truth = np.ones((200, 200))
    truth[:, 100:] = 7.0
    found = ratio_statistics(truth * gamma_speckle(np.random.default_rng(12), truth.shape, 2.0), truth)
    assert found.mean == pytest.approx(1.0, abs=4 * found.mean_error)
    assert found.looks == pytest.approx(2.0, rel=0.05)
    assert abs(found.structure) < 0.03


def test_edge_preservation_ratio_bounds():
    field = gamma_speckle(np.random.default_rng(13), (80, 80), 1.0)
    assert edge_preservation_ratio(field, field, 0) == pytest.approx(1.0)
    assert edge_preservation_ratio(field, np.ones_like(field), 1) < 0.5


def test_held_out_deviance_is_smallest_at_the_truth():
    rng = np.random.default_rng(14)
    held = gamma_speckle(rng, (300, 300), 1.0)
    best = held_out_deviance(np.ones_like(held), held, 1.0).mean()
    assert best < held_out_deviance(np.full_like(held, 1.3), held, 1.0).mean()
    assert best < held_out_deviance(np.full_like(held, 0.7), held, 1.0).mean()
    assert best == pytest.approx(2 * np.euler_gamma, rel=0.03)
    with pytest.raises(ConfigurationError, match="share a grid"):
        held_out_deviance(held, held[:10], 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: gamma_speckle(rng, (5, 5), 0.0),
        lambda rng: gamma_speckle(rng, (5, 5), float("nan")),
        lambda rng: gamma_speckle(rng, (5, 5), 1.0, correlation_px=-1.0),
        lambda rng: k_speckle(rng, (5, 5), 1.0, -2.0),
        lambda rng: multilook_speckle(rng, (5, 5), 0),
        lambda rng: complex_speckle(rng, (5, 5), bandwidth=(0.0, 1.0)),
        lambda rng: complex_speckle(rng, (5, 5), hamming=0.2),
        lambda rng: estimate_looks(np.ones((9, 9)), method="guess"),
        lambda rng: estimate_looks(np.ones((9, 9)), independent_share=0.0),
        lambda rng: scene_looks(np.ones((90, 90)), window=4),
    ],
)
def test_wrong_options_are_one_sentence(call):
    with pytest.raises(ConfigurationError) as caught:
        call(np.random.default_rng(0))
    assert str(caught.value).count(".") >= 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "region", [np.ones((20, 20)), np.full((20, 20), np.nan), np.zeros((20, 20)), np.array([1.0, 2.0])]
)
def test_unusable_regions_are_refused(region):
    with pytest.raises(SceneError):
        estimate_looks(region)
