"""Weighted means of other dates: weights, error bars by the variogram, and what happens without clear dates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from restoration_series import as_sample, wandering_series

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.closest import Closest
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.interpolation import Harmonic, Linear
from ecumene.restoration.kriging import Kriging
from ecumene.restoration.least_cloudy import LeastCloudy
from ecumene.restoration.methods import METHODS, applicable, fit_method
from ecumene.restoration.mosaic import Mosaic
from ecumene.restoration.variogram import Variogram, fit_variogram, unknown_variogram
from ecumene.restoration.weighted_dates import WeightedDates, clear_patterns

DAYS = np.array([0.0, 10.0, 30.0, 45.0, 80.0])
VARIOGRAM = Variogram(np.array([1e-5, 2e-5]), np.array([4e-4, 1e-4]), 40.0)
RULES = (
    Closest(),
    Linear(),
    Harmonic(),
    Mosaic(),
    Kriging(VARIOGRAM),
    LeastCloudy(np.array([0.1, 0.9, 0.5, 0, 0.3]), DAYS),
)


@given(st.lists(st.booleans(), min_size=5, max_size=5), st.floats(-50.0, 150.0), st.sampled_from(RULES))
def test_weights_have_sum_one_on_clear_dates_only(clear, day, rule):
    pattern = np.array([clear])
    weights = rule.weights(pattern, DAYS, day)
    assert np.all(weights[~pattern] == 0.0)
    total = weights.sum()
    assert total == pytest.approx(1.0, abs=1e-6) or (total == 0.0 and (not any(clear) or rule.name == "least-cloudy"))


def test_closest_takes_the_nearest_and_the_earlier_of_two():
    weights = Closest().weights(np.array([[True, False, True, True, True]]), DAYS, 37.5)
    assert weights.tolist() == [[0.0, 0.0, 1.0, 0.0, 0.0]]


def test_linear_interpolates_between_neighbours_and_holds_the_ends():
    pattern = np.array(
        [[True, False, False, True, True], [False, False, False, True, True], [True, True, False, False, False]]
    )
    weights = Linear().weights(pattern, DAYS, 15.0)
    assert weights[0] == pytest.approx([2 / 3, 0, 0, 1 / 3, 0])
    assert weights[1] == pytest.approx([0, 0, 0, 1, 0])
    assert weights[2] == pytest.approx([0, 1, 0, 0, 0])


def test_harmonic_follows_a_season_that_many_dates_show():
    days = np.arange(0.0, 365.0, 12.0)
    season = 0.3 + 0.1 * np.sin(2 * np.pi * days / 365.2425)
    weights = Harmonic().weights(np.ones((1, len(days)), bool), days, 91.0)
    assert weights[0] @ season == pytest.approx(0.4, abs=0.003)


def test_least_cloudy_leaves_its_own_clouds_open():
    rule = LeastCloudy(np.array([0.1, 0.9, 0.5, 0.0, 0.3]), DAYS)
    weights = rule.weights(np.array([[True, True, True, False, True], [True, False, True, False, True]]), DAYS, 0.0)
    assert weights[0].tolist() == [0, 1, 0, 0, 0]
    assert weights[1].sum() == 0.0


def test_kriging_is_nowhere_worse_than_the_others():
    """By the error that the variogram itself predicts, for bands of one shape."""
    variogram = Variogram(np.array([1e-5]), np.array([4e-4]), 40.0)
    patterns = np.array([[bool(code >> k & 1) for k in range(5)] for code in range(1, 32)])
    best = variogram.error_variance(Kriging(variogram).weights(patterns, DAYS, 37.0), DAYS, 37.0)
    for rule in RULES[:4]:
        other = variogram.error_variance(rule.weights(patterns, DAYS, 37.0), DAYS, 37.0)
        assert np.all(best <= other + 1e-9)


def test_the_variogram_of_a_known_process_is_found():
    series = wandering_series([0, 5, 15, 30, 60, 100, 150], side=60, sill=0.03, noise=0.01, range_days=40.0)
    found = fit_variogram(as_sample(series, side=60))
    lags = np.array([5.0, 30.0, 100.0])
    expected = 0.01**2 + 0.03**2 * (1 - np.exp(-lags / 40.0))
    assert found(lags).mean(axis=0) == pytest.approx(expected, rel=0.15)
    assert found(np.zeros(1)) == pytest.approx(0.0)


@pytest.mark.parametrize("name", ["closest", "linear", "mosaic", "kriging", "harmonic"])
def test_error_bars_of_the_variogram_are_right(name):
    series = wandering_series([0, 10, 25, 40, 70, 100], side=60)
    method = fit_method(name, as_sample(series, side=60))
    filled = method.fill(series, Target(40.0, 3))
    z = (series.image[3] - filled.mean) / filled.deviation
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.15)


def test_a_date_is_never_filled_from_itself():
    series = wandering_series([0, 10, 25])
    marked = series.image.copy()
    marked[1] = 7.0
    filled = fit_method("closest", as_sample(series)).fill(
        SeriesPixels(marked, series.clear, series.days), Target(10.0, 1)
    )
    assert filled.mean.max() < 1.5


def test_a_day_between_dates_can_be_filled():
    series = wandering_series([0, 10])
    filled = WeightedDates(Linear(), VARIOGRAM_3).fill(series, Target(5.0))
    assert filled.mean == pytest.approx(series.image.mean(axis=0), abs=1e-5)


VARIOGRAM_3 = Variogram(np.full(3, 1e-5), np.full(3, 1e-4), 40.0)


def test_a_pixel_that_is_never_clear_stays_unknown():
    series = wandering_series([0, 10, 20])
    clear = series.clear.copy()
    clear[:, :50] = False
    hidden = SeriesPixels(np.where(clear[:, None], series.image, np.nan).astype(np.float32), clear, series.days)
    filled = fit_method("linear", as_sample(hidden)).fill(hidden, Target(10.0, 1))
    assert np.isnan(filled.mean[:, :50]).all()
    assert np.isnan(filled.deviation[:, :50]).all()
    assert np.isfinite(filled.mean[:, 50:]).all()


def test_dates_without_common_pixels_have_the_error_bar_of_the_scene():
    series = wandering_series([0, 10])
    clear = series.clear.copy()
    clear[0, ::2] = False
    clear[1, 1::2] = False
    sample = as_sample(SeriesPixels(series.image, clear, series.days))
    with pytest.raises(LabelError, match="No two dates"):
        fit_variogram(sample)
    filled = fit_method("closest", sample).fill(sample.series, Target(0.0, 0))
    spread = np.std(np.moveaxis(series.image, 1, 0)[:, clear], axis=1)
    assert np.nanmean(filled.deviation[:, ::2], axis=1) == pytest.approx(np.sqrt(2.0) * spread, rel=0.02)
    assert np.all(unknown_variogram(sample).sill == 0.0)


def test_a_change_of_the_land_is_a_surprise():
    series = wandering_series([0, 10, 20, 30])
    changed = series.image.copy()
    changed[2:, :, 5] += 0.4
    filled = fit_method("linear", as_sample(series)).fill(
        SeriesPixels(changed, series.clear, series.days), Target(15.0)
    )
    assert filled.surprise[5] > 20 * np.median(filled.surprise)


def test_patterns_are_what_occurs():
    clear = np.array([[1, 0, 1, 1], [0, 0, 1, 0]], bool)
    patterns, position = clear_patterns(clear)
    assert np.array_equal(patterns[position].T, clear)
    assert len(patterns) == 3


def test_what_does_not_belong_together_is_refused():
    series = wandering_series([0, 10])
    with pytest.raises(ConfigurationError, match="ascend"):
        SeriesPixels(series.image, series.clear, series.days[::-1])
    with pytest.raises(ConfigurationError, match="image"):
        SeriesPixels(series.image, series.clear[:, :5], series.days)
    with pytest.raises(ConfigurationError, match="choose one of"):
        fit_method("magic", as_sample(series))
    with pytest.raises(LabelError, match="--radar"):
        fit_method("sar-regression", as_sample(series))
    nothing = as_sample(SeriesPixels(series.image * np.nan, np.zeros_like(series.clear), series.days))
    assert applicable(nothing) == ()
    with pytest.raises(LabelError, match="No pixel"):
        fit_method("mosaic", nothing)
    assert set(applicable(as_sample(wandering_series([0, 10], radar=True)))) == set(METHODS)
