import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from ecumene.core.errors import ConfigurationError
from ecumene.trust.shift import LEVELS, band_quantiles, band_shift, quantile_distance, stability_index


def normal(seed, n=20_000):
    return np.random.default_rng(seed).normal(size=n)


@given(offset=st.floats(-5.0, 5.0), scale=st.floats(0.1, 10.0))
def test_a_translation_is_its_own_distance(offset, scale):
    values = scale * normal(0, 500)
    shift = band_shift(values + offset * scale, values.mean(), values.std(), quantiles=band_quantiles(values))
    wanted = offset * scale / values.std()
    assert shift.mean_difference == pytest.approx(wanted, abs=1e-6)
    assert shift.wasserstein == pytest.approx(abs(wanted), abs=1e-6)
    assert shift.spread_ratio == pytest.approx(1.0)


def test_distance_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for other in (normal(1) + 0.7, 2.0 * normal(2), rng.uniform(-1, 1, 20_000)):
        first = normal(3)
        assert quantile_distance(other, band_quantiles(first)) == pytest.approx(
            wasserstein_distance(first, other), rel=0.03
        )


def test_equal_distributions_are_stable():
    assert stability_index(normal(0), band_quantiles(normal(1))) < 0.01
    assert stability_index(normal(0) + 0.5, band_quantiles(normal(1))) > 0.2
    assert stability_index(normal(0) + 9.0, band_quantiles(normal(1))) > 5.0


def test_stability_index_by_hand():
    """Half of the values below the training median, half above the 90 % quantile."""
    quantiles = list(LEVELS)
    values = np.r_[np.full(50, 0.05), np.full(50, 0.95)]
    empty = (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert stability_index(values, quantiles) == pytest.approx(2 * 0.4 * np.log(5.0) + 8 * empty)


def test_a_band_that_is_mostly_zero():
    values = np.r_[np.zeros(700), np.linspace(0.1, 1.0, 300)]
    assert stability_index(values, band_quantiles(values)) < 0.02
    assert stability_index(np.zeros(100), band_quantiles(np.zeros(50))) == pytest.approx(0.0, abs=1e-3)
    assert stability_index(np.ones(100), band_quantiles(np.zeros(50))) > 5.0


def test_outside_of_the_limits():
    shift = band_shift(np.array([0.0, 1.0, 2.0, np.nan]), 1.0, 0.5, limits=(0.5, 1.5))
    assert shift.outside == pytest.approx(2 / 3)
    assert shift.wasserstein is None
    assert shift.stability_index is None


def test_refusals():
    with pytest.raises(ConfigurationError, match="no valid pixel"):
        band_shift(np.array([np.nan]), 0.0, 1.0)
    with pytest.raises(ConfigurationError, match="not usable"):
        band_shift(np.ones(3), 0.0, 0.0)
    with pytest.raises(ConfigurationError, match="leave that band out"):
        band_quantiles(np.array([np.inf]))
    for damaged in ([1.0, 2.0], list(range(len(LEVELS), 0, -1)), [np.nan] * len(LEVELS)):
        with pytest.raises(ConfigurationError, match="damaged"):
            band_shift(np.ones(3), 0.0, 1.0, quantiles=damaged)
