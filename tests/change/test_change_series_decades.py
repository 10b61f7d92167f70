"""Decades: Landsat's sensors on one scale, growth without way back, seasons and their trend, and filled gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.change.landsat_harmonisation import ETM_TO_OLI, harmonise_reflectance
from ecumene.change.series_gaps import NODATA, fill_gaps
from ecumene.change.series_growth import yearly_growth
from ecumene.change.series_seasons import filling_accuracy, yearly_seasons
from ecumene.change.series_statistics import STATISTICS, TIMESCAN_INDICES, RunningStatistics, temporal_statistics
from ecumene.change.series_steps import fit_steps
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.indices import list_indices


def test_older_sensors_are_brought_to_oli_and_oli_stays():
    values = np.array([[0.1, np.nan], [0.3, 0.2]], np.float32)
    found = harmonise_reflectance(values, ["red", "nir"], "landsat-7")
    np.testing.assert_allclose(found[:, 0], [0.9047 * 0.1 + 0.0061, 0.8462 * 0.3 + 0.0412], rtol=1e-6)
    assert np.isnan(found[0, 1])
    np.testing.assert_array_equal(harmonise_reflectance(values, ["red", "nir"], "landsat-5"), found)
    np.testing.assert_array_equal(harmonise_reflectance(values, ["red", "nir"], "landsat-8"), values)
    assert all(0.8 < line.slope < 1.0 and 0.0 <= line.intercept < 0.05 for line in ETM_TO_OLI.values())
    for call, said in (
        (lambda: harmonise_reflectance(values, ["red", "nir"], "sentinel-2"), "There is no line from"),
        (lambda: harmonise_reflectance(values, ["red", "lwir"], "landsat-7"), "cannot be harmonised"),
        (lambda: harmonise_reflectance(values, ["red"], "landsat-7"), "name each"),
        (lambda: harmonise_reflectance(values * 1e4, ["red", "nir"], "landsat-7"), "scale and offset"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            call()


def test_one_wrong_year_neither_makes_nor_breaks_built_up_land():
    maps = np.array(
        [
            [0, 0, 0, 1, 255, 0],
            [0, 1, 0, 1, 255, 0],
            [1, 0, 0, 0, 255, 255],
            [1, 0, 0, 1, 255, 1],
            [1, 0, 1, 1, 255, 1],
        ],
        np.uint8,
    )
    found = yearly_growth(maps, [2000, 2001, 2003, 2005, 2010])
    assert found.first_year.tolist() == [2003, 0, 0, 2000, -1, 2005]
    np.testing.assert_array_equal(found.area_curve(900.0), 900.0 * found.state.sum(axis=1))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_built_up_land_never_shrinks_and_the_year_says_when_it_came(seed):
    rng = np.random.default_rng(seed)
    maps = rng.choice(np.array([0, 1, 255], np.uint8), (6, 40), p=[0.5, 0.4, 0.1])
    years = np.sort(rng.choice(np.arange(1985, 2020), 6, replace=False)).tolist()
    found = yearly_growth(maps, years)
    assert (np.diff(found.state.astype(int), axis=0) >= 0).all()
    assert ((found.first_year > 0) == found.state[-1]).all()
    for t, year in enumerate(years):
        np.testing.assert_array_equal(found.state[t], (found.first_year > 0) & (found.first_year <= year))


def test_years_that_cannot_be_used_get_a_sentence():
    maps = np.zeros((3, 2), np.uint8)
    with pytest.raises(SceneError, match="repeat or run backwards at 2001"):
        yearly_growth(maps, [2001, 2002, 2001])
    with pytest.raises(SceneError, match="at least three"):
        yearly_growth(maps[:2], [2001, 2002])
    with pytest.raises(ConfigurationError, match="select the built-up classes first"):
        yearly_growth(maps + 3, [2001, 2002, 2003])


def winters(shrink):
    """Daily truth of eight winters, whose snow lasts `shrink` days less each year."""
    days = np.arange(np.datetime64("2000-09-01"), np.datetime64("2008-09-01")).astype(np.int64)
    mask = np.zeros((days.size, 3), np.uint8)
    for year in range(8):
        start = int(np.datetime64(f"{2000 + year}-11-20").astype(np.int64))
        for pixel, less in enumerate((0.0, shrink, 2 * shrink)):
            mask[(days >= start) & (days < start + 120 - less * year), pixel] = 1
    return days, mask


def test_seasons_are_counted_and_their_trend_is_found():
    days, mask = winters(5.0)
    found = yearly_seasons(fill_gaps(mask, days), begin="09-01")
    assert found.years == tuple(range(2000, 2008))
    np.testing.assert_allclose(found.duration[:, 1], 120 - 5 * np.arange(8), atol=0.6)
    np.testing.assert_allclose(found.onset[:, 0], 80, atol=1)
    np.testing.assert_allclose(found.end[0], 80 + 119, atol=1)
    np.testing.assert_allclose(found.trend.slope[0], [0.0, -5.0, -10.0], atol=0.05)
    assert found.trend.p_value[0, 0] > 0.5
    assert found.trend.p_value[0, 1] < 0.01
    assert (found.inferred == 0).all()
    gone = mask.copy()
    gone[:365, 0] = NODATA
    thin = yearly_seasons(fill_gaps(gone, days, fewest=10**6), begin="09-01")
    assert np.isnan(thin.duration[0, 0])
    assert np.isfinite(thin.duration[1:, 0]).all()


def test_filled_values_are_measured_step_by_step():
    days, mask = winters(0.0)
    rng = np.random.default_rng(0)
    cloudy = np.where(rng.random(mask.shape) < 0.3, NODATA, mask).astype(np.uint8)
    second = np.where(rng.random(mask.shape) < 0.5, NODATA, mask).astype(np.uint8)
    found = filling_accuracy(cloudy, days, second, share=0.05)
    assert set(found) == {"other sensor", "neighbouring days", "season", "unfilled"}
    assert found["other sensor"]["accuracy"] == 1.0
    assert found["neighbouring days"]["accuracy"] > 0.97
    assert found["season"]["accuracy"] > 0.9
    assert sum(part.get("values", 0.0) for part in found.values()) > 100
    assert filling_accuracy(cloudy, days, second, share=0.05) == found


def test_bad_seasons_get_a_sentence():
    days, mask = winters(0.0)
    filled = fill_gaps(mask[:800], days[:800])
    with pytest.raises(SceneError, match="2 whole seasons from 09-01; a trend needs at least three"):
        yearly_seasons(filled, begin="09-01")
    with pytest.raises(ConfigurationError, match="begins at MM-DD"):
        yearly_seasons(filled, begin="winter")
    with pytest.raises(ConfigurationError, match="share of values"):
        filling_accuracy(mask, days, share=1.0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_the_step_of_smallest_squared_error_is_found(seed):
    rng = np.random.default_rng(seed)
    p = rng.random((7, 5))
    p[rng.random(p.shape) < 0.2] = np.nan
    days = np.sort(rng.choice(900, 7, replace=False)) + 17000
    found = fit_steps(p, days)
    for k in range(5):
        seen = np.isfinite(p[:, k])
        if not seen.any():
            assert found.first[k] == -1
            assert not found.state[:, k].any()
            continue
        errors = [np.sum((p[seen, k] - (np.arange(7)[seen] >= first)) ** 2) for first in range(8)]
        assert errors[found.first[k]] == pytest.approx(min(errors))
        assert found.error[k] == pytest.approx(np.sqrt(min(errors) / seen.sum()), rel=1e-5)
        if np.isfinite(found.day[k]):
            assert found.last_before[k] < found.day[k] < found.first_after[k]
            assert found.state[np.searchsorted(days, found.first_after[k]), k]


def test_constant_probabilities_have_no_step():
    p = np.array([[0.1, 0.9, 0.2], [0.2, 0.8, 0.1], [0.1, 0.7, 0.9], [0.3, 0.9, 0.8]])
    found = fit_steps(p, [10, 20, 40, 50])
    assert found.first.tolist() == [4, 0, 2]
    assert np.isnan(found.day[:2]).all()
    assert found.day[2] == 30.0
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        fit_steps(p * 100, [10, 20, 40, 50])


def test_statistics_of_one_date_after_the_other_equal_those_of_all_at_once():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(2, 11, 4, 5)).astype(np.float32) + 1e4
    valid = rng.random((11, 4, 5)) > 0.3
    valid[:, 0, 0] = False
    days = np.arange(11) * 9 + 17000
    running = RunningStatistics(2, (4, 5))
    for t in range(11):
        running.add(values[:, t], days[t], valid[t], threads=1 + t % 2)
    found, seen = running.result()
    once, number = temporal_statistics(values, days, valid)
    assert list(found) == list(STATISTICS) == list(once)
    np.testing.assert_array_equal(seen, number)
    for name in STATISTICS:
        np.testing.assert_array_equal(found[name], once[name])
    y = np.where(valid, values, np.nan)[:, :, 1:].astype(np.float64)
    np.testing.assert_allclose(found["std"][:, 1:], np.nanstd(y, axis=1), rtol=1e-5)
    assert np.isnan(found["mean"][:, 0, 0]).all()


def test_the_six_indices_exist_and_wrong_dates_get_a_sentence():
    assert len(set(TIMESCAN_INDICES)) == 6
    assert set(TIMESCAN_INDICES) <= set(list_indices())
    running = RunningStatistics(1, (3,))
    running.add(np.zeros((1, 3)), "2020-05-01")
    with pytest.raises(SceneError, match="repeat or run backwards at 2020-05-01"):
        running.add(np.zeros((1, 3)), "2020-05-01")
    with pytest.raises(ConfigurationError, match="A date must be"):
        running.add(np.zeros((2, 3)), "2020-05-02")
    with pytest.raises(ConfigurationError, match="The mask has the shape"):
        running.add(np.zeros((1, 3)), "2020-05-02", np.ones(4, bool))
