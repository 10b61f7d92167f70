"""Filters: less noise, no bias, edges kept, and error bars that are true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.speckle.nonlocal_filter import likelihood_ratio_moments, nonlocal_means
from ecumene.physics.speckle.result import FEW_SAMPLES, IMPROBABLE, INVALID, POINT_TARGET
from ecumene.physics.speckle.simulate import complex_speckle, gamma_speckle, multilook_speckle
from ecumene.physics.speckle.slc import centre_spectrum, complex_share, occupied_band, spectral_centroid, sublooks
from ecumene.physics.speckle.window_filters import gamma_map, refined_lee


def _nonlocal(image, looks, **options):
    return nonlocal_means(image, looks, search=15, **options)


FILTERS = [refined_lee, gamma_map, _nonlocal]


def _step(size=96):
    truth = np.ones((size, size))
    truth[:, size // 2 :] = 6.0
    return truth


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("looks", [1.0, 4.0])
def test_homogeneous_area(method, looks):
    result = method(gamma_speckle(np.random.default_rng(0), (120, 120), looks), looks)
    inner = np.s_[10:-10, 10:-10]
    value = result.value[inner]
    assert value.mean() == pytest.approx(1.0, abs=0.04)
    assert value.mean() ** 2 / value.var() > 12 * looks
    within = np.mean(np.abs(value - 1.0) < result.standard_deviation[inner])
    assert 0.55 < within < 0.85
    assert result.outlier.mean() < 0.01


@pytest.mark.parametrize("method", FILTERS)
def test_edges_stay_and_error_bars_hold(method):
    truth = _step()
    noisy = truth * gamma_speckle(np.random.default_rng(1), truth.shape, 2.0)
    result = method(noisy, 2.0)
    middle = truth.shape[1] // 2
    left, right = result.value[:, middle - 2].mean(), result.value[:, middle + 1].mean()
    boxcar = 0.5 * (1.0 + 6.0)
    assert left < 0.6 * boxcar
    assert right > 1.3 * boxcar
    within = np.mean(np.abs(result.value - truth) < result.standard_deviation)
    assert 0.5 < within < 0.85
    rmse = np.sqrt(np.mean(np.log(result.value / truth) ** 2))
    assert rmse < 0.4 * np.sqrt(np.mean(np.log(noisy / truth) ** 2))


@pytest.mark.parametrize("method", FILTERS)
@settings(deadline=None, max_examples=6)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
def test_filters_are_scale_invariant(method, scale, seed):
    noisy = _step(40) * gamma_speckle(np.random.default_rng(seed), (40, 40), 3.0)
    first, second = method(noisy, 3.0), method(noisy * scale, 3.0)
    np.testing.assert_allclose(second.value, first.value * scale, rtol=1e-6)
    np.testing.assert_allclose(second.standard_deviation, first.standard_deviation * scale, rtol=1e-6)
    np.testing.assert_array_equal(second.flags, first.flags)


@pytest.mark.parametrize("method", FILTERS)
def test_nodata_stays_nodata_and_does_not_leak(method):
    noisy = gamma_speckle(np.random.default_rng(2), (60, 60), 4.0)
    noisy[20:30, 20:30] = np.nan
    noisy[40, 40], noisy[45, 45], noisy[50, 50] = 0.0, -1.0, np.inf
    result = method(noisy, 4.0)
    lost = np.zeros(noisy.shape, bool)
    lost[20:30, 20:30] = lost[40, 40] = lost[45, 45] = lost[50, 50] = True
    np.testing.assert_array_equal(result.flags == INVALID, lost)
    np.testing.assert_array_equal(np.isnan(result.value), lost)
    assert np.nanmax(np.abs(result.value - 1.0)) < 1.5
    assert np.nanmax(np.abs(result.value[15:35, 15:35] - 1.0)) < 1.0


def test_point_targets_are_kept_and_flagged():
    noisy = gamma_speckle(np.random.default_rng(3), (60, 60), 1.0)
    noisy[30, 30] = 3000.0
    mapped = gamma_map(noisy, 1.0)
    assert mapped.value[30, 30] == 3000.0
    assert mapped.flags[30, 30] & POINT_TARGET
    assert refined_lee(noisy, 1.0).value[30, 30] > 1500.0
    single = nonlocal_means(noisy, 1.0, search=11)
    assert single.flags[30, 30] & (FEW_SAMPLES | IMPROBABLE) or single.value[30, 30] > 1500.0


def test_gamma_map_error_agrees_with_the_exact_posterior():
    # The posterior under gamma texture is a generalised inverse Gaussian law; Laplace's error must be near its own.
    from scipy.stats import geninvgauss

    shape, mean, looks, seen = 12.0, 1.0, 4.0, 1.4
    pull = (shape - looks - 1.0) * mean
    mode = (pull + np.sqrt(pull**2 + 4 * shape * looks * mean * seen)) / (2 * shape)
    laplace = 1.0 / np.sqrt(shape / (mean * mode) + looks * seen / mode**3)
    omega = 2.0 * np.sqrt(shape / mean * looks * seen)
    exact = geninvgauss(shape - looks, omega, scale=np.sqrt(looks * seen * mean / shape))
    assert laplace == pytest.approx(exact.std(), rel=0.12)


@settings(deadline=None, max_examples=8)
@given(looks=st.floats(0.7, 12.0))
def test_likelihood_ratio_moments(looks):
    rng = np.random.default_rng(4)
    first, second = rng.gamma(looks, size=400_000), rng.gamma(looks, size=400_000)
    ratio = looks * np.log((first + second) ** 2 / (4 * first * second))
    mean, deviation = likelihood_ratio_moments(looks)
    assert ratio.mean() == pytest.approx(mean, rel=0.02)
    assert ratio.std() == pytest.approx(deviation, rel=0.04)


def test_correlated_speckle_widens_error_bars():
    noisy = multilook_speckle(np.random.default_rng(5), (100, 100), 1, bandwidth=(0.6, 0.6))
    for method in FILTERS:
        naive, aware = method(noisy, 1.0), method(noisy, 1.0, independent_share=0.36)
        inner = np.s_[10:-10, 10:-10]
        assert np.median(aware.standard_deviation[inner]) > 1.2 * np.median(naive.standard_deviation[inner])


def test_results_do_not_depend_on_repetition():
    noisy = gamma_speckle(np.random.default_rng(6), (40, 40), 1.0)
    for method in FILTERS:
        np.testing.assert_array_equal(method(noisy, 1.0).value, method(noisy, 1.0).value)


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize(
    ("image", "looks", "error"),
    [
        (np.ones((20, 20)), 0.0, ConfigurationError),
        (np.ones((20, 20)), np.nan, ConfigurationError),
        (np.full((20, 20), np.nan), 1.0, SceneError),
        (-np.ones((20, 20)), 1.0, SceneError),
        (np.ones((20, 20), complex), 1.0, SceneError),
        (np.ones((3, 20, 20)), 1.0, SceneError),
    ],
)
def test_bad_input_is_one_sentence(method, image, looks, error):
    with pytest.raises(error) as caught:
        method(image, looks)
    assert "\n" not in str(caught.value)


def test_wrong_windows_are_refused():
    image = np.ones((20, 20))
    for call in (
        lambda: refined_lee(image, 1.0, window=6),
        lambda: gamma_map(image, 1.0, window=3),
        lambda: nonlocal_means(image, 1.0, patch=4),
        lambda: nonlocal_means(image, 1.0, iterations=0),
        lambda: nonlocal_means(image, 1.0, strength=0.0),
        lambda: refined_lee(image, 1.0, independent_share=1.5),
    ):
        with pytest.raises(ConfigurationError):
            call()


def test_spectrum_is_centred_without_touching_intensities():
    rng = np.random.default_rng(7)
    field = complex_speckle(rng, (128, 120), bandwidth=(0.6, 0.6))
    moved = field * np.exp(2j * np.pi * (0.2 * np.arange(128)[:, None] - 0.13 * np.arange(120)))
    assert spectral_centroid(moved, 0) == pytest.approx(0.2, abs=0.01)
    centred = centre_spectrum(moved)
    assert abs(spectral_centroid(centred, 0)) < 0.01
    assert abs(spectral_centroid(centred, 1)) < 0.01
    np.testing.assert_allclose(np.abs(centred), np.abs(moved), rtol=1e-10)
    low, high = occupied_band(moved, 0)
    assert high - low == pytest.approx(0.6, abs=0.08)
    # real and imaginary part are independent then
    assert abs(np.corrcoef(centred.real.ravel() ** 2, centred.imag.ravel() ** 2)[0, 1]) < 0.05


def test_sublooks_share_the_scene_but_not_the_speckle():
    rng = np.random.default_rng(8)
    truth = np.repeat(np.repeat(rng.gamma(2.0, size=(8, 8)) + 0.2, 32, 0), 32, 1)
    first, second = sublooks(np.sqrt(truth) * complex_speckle(rng, truth.shape, bandwidth=(0.9, 1.0)), 0)
    assert first.shape == (128, 256)
    reference = truth[::2]
    ratio = np.corrcoef((first / reference).ravel(), (second / reference).ravel())[0, 1]
    assert abs(ratio) < 0.1
    assert np.corrcoef(first.ravel(), reference.ravel())[0, 1] > 0.4
    with pytest.raises(ConfigurationError):
        sublooks(np.ones((8, 8), complex), 2)
    with pytest.raises(SceneError, match="real"):
        sublooks(np.ones((8, 8)), 0)


@pytest.mark.parametrize("bandwidth", [(1.0, 1.0), (0.6, 0.8), (0.75, 0.75)])
def test_complex_share_ignores_texture(bandwidth):
    rng = np.random.default_rng(9)
    speckle = complex_speckle(rng, (200, 200), bandwidth=bandwidth)
    textured = speckle * np.sqrt(gamma_speckle(rng, (200, 200), 2.0, correlation_px=2.0))
    expected = bandwidth[0] * bandwidth[1]
    assert complex_share(speckle) == pytest.approx(expected, abs=0.06)
    assert complex_share(textured) == pytest.approx(expected, abs=0.1)
    with pytest.raises(SceneError, match="rows and columns"):
        complex_share(speckle[:8, :8])
