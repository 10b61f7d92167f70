"""Consistent class series, first built-up, gaps of daily masks, statistics over time and monotone trends."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ecumene.change.series_classes import (
    NODATA,
    consistent_classes,
    first_lasting,
    lasting_switches,
    stay_matrix,
)
from ecumene.change.series_gaps import (
    NEIGHBOURING_DAYS,
    OBSERVED,
    OTHER_SENSOR,
    SEASON,
    UNFILLED,
    count_days,
    fill_gaps,
)
from ecumene.change.series_onset_prior import OnsetPrior, estimate_onset_prior
from ecumene.change.series_statistics import temporal_statistics
from ecumene.change.series_trends import monotone_trend
from ecumene.core.errors import ConfigurationError, SceneError

YEARS = np.arange(8) * 365 + 12000


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), lasting=st.booleans())
def test_paths_and_their_probabilities_equal_enumeration(seed, lasting):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(3), 5).T[:, :, None]
    valid = rng.random((5, 1)) > 0.2
    matrix = stay_matrix(3, 0.8, (2,) if lasting else ())
    found = consistent_classes(shares, YEARS[:5], valid, transition=matrix)
    if not valid.any():
        assert (found.path == NODATA).all()
        return
    weights = {}
    for path in itertools.product(range(3), repeat=5):
        chance = np.prod([matrix[a, b] for a, b in itertools.pairwise(path)])
        chance *= np.prod([shares[k, t, 0] if valid[t, 0] else 1.0 for t, k in enumerate(path)])
        weights[path] = chance
    best = tuple(int(k) for k in found.path[:, 0])
    assert weights[best] >= max(weights.values()) * (1 - 1e-6)
    total = sum(weights.values())
    for t in range(5):
        share = sum(w for path, w in weights.items() if path[t] == best[t]) / total
        assert abs(found.probability[t, 0] - share) < 1e-4


def test_single_wrong_dates_are_corrected_and_lasting_classes_stay():
    built = np.array([0.1, 0.2, 0.7, 0.1, 0.8, 0.9, 0.3, 0.9])
    shares = np.stack([1 - built, built])[:, :, None]
    plain = consistent_classes(shares, YEARS, transition=stay_matrix(2, 0.9))
    assert plain.path[6, 0] == 1
    lasting = consistent_classes(shares, YEARS, transition=stay_matrix(2, 0.9, (1,)))
    assert (np.diff(lasting.path[:, 0].astype(int)) >= 0).all()
    onset = first_lasting(built, YEARS)
    np.testing.assert_array_equal(onset.state, lasting.path[:, 0] == 1)


def test_the_year_of_first_built_up_is_found_with_an_interval_that_holds():
    rng = np.random.default_rng(0)
    dates, pixels = 16, 8000
    days = np.arange(dates) * 365 + 12000
    never, early = rng.random(pixels) < 0.5, rng.random(pixels) < 0.5
    date = np.where(early, days[0] - 1.0, rng.uniform(days[0], days[-1], pixels))
    built = (days[:, None] >= date) & ~never
    # A classifier that knows its errors: scores of two normal distributions, and their posterior probability.
    score = rng.standard_normal((dates, pixels)) + np.where(built, 1.0, -1.0)
    share = 1 / (1 + np.exp(-2 * score))
    share[rng.random(share.shape) < 0.2] = np.nan
    found = first_lasting(share, days)
    for low, high in ((0.05, 0.5), (0.5, 0.95)):
        inside = (found.probability > low) & (found.probability <= high)
        error = 0.5 / np.sqrt(inside.sum())
        assert abs((~never)[inside].mean() - found.probability[inside].mean()) < 4 * error
    seen = (found.probability > 0.99) & ~never
    first = days[np.minimum(np.searchsorted(days, date), dates - 1)]
    held = (found.low <= first) & (first <= found.high)
    # Years are whole, so an equal-tailed interval of 90 % holds at least that.
    assert 0.89 < held[seen].mean() < 0.99
    assert (found.state[:, seen] == built[:, seen]).mean() > 0.95
    assert np.isnan(found.day[found.probability < 0.5]).all()


def test_onsets_at_the_beginning_never_and_without_any_date():
    share = np.array([[0.9, 0.1, np.nan], [0.9, 0.1, np.nan], [0.9, 0.1, np.nan], [0.95, 0.1, np.nan]])
    found = first_lasting(share, YEARS[:4])
    assert found.day[0] == YEARS[0]
    assert found.from_beginning[0] > 0.8
    assert np.isnan(found.day[1])
    assert found.probability[1] < 0.2
    assert np.isnan(found.probability[2])
    assert not found.state[:, 1:].any()


def test_switches_must_last_and_be_clear():
    forest, built = 0, 1
    shares = np.array([[0.9, 0.8, 0.3, 0.9, 0.1, 0.2, 0.1], [0.1, 0.2, 0.7, 0.1, 0.9, 0.8, 0.9]])
    found = lasting_switches(shares, YEARS[:7])
    assert [(a, b, before, after) for a, b, before, after, _ in found] == [(forest, built, YEARS[3], YEARS[4])]
    assert found[0][4] > 0.6
    assert lasting_switches(shares, YEARS[:7], margin=0.8) == []
    cloudy = shares.copy()
    cloudy[:, 4] = np.nan
    assert lasting_switches(cloudy, YEARS[:7])[0][3] == YEARS[5]
    with pytest.raises(SceneError, match="No date of the series has class probabilities"):
        lasting_switches(np.full((2, 7), np.nan), YEARS[:7])


def test_gaps_are_filled_in_the_order_of_trust_and_marked():
    days = np.arange(10) + 18000
    mask = np.array([1, 255, 255, 1, 255, 0, 255, 255, 255, 255], np.uint8)[:, None]
    other = np.full((10, 1), 255, np.uint8)
    other[1] = 0
    found = fill_gaps(mask, days, other, reach=2, fewest=99)
    np.testing.assert_array_equal(found.mask[:, 0], [1, 0, 255, 1, 255, 0, 0, 0, 255, 255])
    expected = [OBSERVED, OTHER_SENSOR, UNFILLED, OBSERVED, UNFILLED, OBSERVED, NEIGHBOURING_DAYS, NEIGHBOURING_DAYS]
    np.testing.assert_array_equal(found.step[:8, 0], expected)
    assert (found.step[8:] == UNFILLED).all()


def test_the_season_fills_what_neighbours_cannot():
    days = np.concatenate([np.arange(0, 365, 5) + year * 365 for year in range(5)]) + 14610
    truth = (np.abs((days - 14610) % 365 - 30) < 40).astype(np.uint8)[:, None].repeat(50, axis=1)
    rng = np.random.default_rng(1)
    mask = truth.copy()
    mask[rng.random(mask.shape) < 0.4] = NODATA
    mask[(days > 14610 + 730) & (days < 14610 + 830)] = NODATA  # a sensor fails for a hundred days
    found = fill_gaps(mask, days, reach=3)
    hidden = (mask == NODATA) & (found.mask != NODATA)
    season = hidden & (found.step == SEASON)
    assert season.sum() > 500
    assert (found.mask == truth)[season].mean() > 0.93
    assert (found.mask == NODATA).mean() < 0.02


def test_days_are_counted_by_the_time_that_each_date_stands_for():
    days = np.array([0, 1, 2, 5, 9]) + 18000
    mask = np.array([[0, 1, 1, 1, 0], [255, 1, 255, 0, 1], [0, 0, 0, 0, 0]], np.uint8).T
    found = fill_gaps(mask, days, reach=0, fewest=99)
    season = count_days(found, 18000, 18010)
    # Borders lie half way: 1, 2, 4, 7.5 days after the first midnight.
    np.testing.assert_allclose(season.duration, [6.5, 1.0 + 2.5, 0.0])
    np.testing.assert_allclose(season.unknown, [0.0, 1.0 + 2.0, 0.0])
    assert season.onset[0] == 18001
    assert np.isnan(season.onset[2])
    total = count_days(fill_gaps(np.ones((5, 1), np.uint8), days), 18000, 18010)
    assert total.duration[0] == 10.0
    with pytest.raises(SceneError, match="No date of the series lies in the period"):
        count_days(found, 19000, 19010)
    with pytest.raises(ConfigurationError, match="must end after"):
        count_days(found, 18010, 18000)


def test_masks_with_other_codes_or_nothing_known_are_refused():
    days = np.arange(3) + 18000
    with pytest.raises(ConfigurationError, match="select one class first"):
        fill_gaps(np.array([[0], [2], [1]], np.uint8), days)
    with pytest.raises(SceneError, match="No date of the mask series is known"):
        fill_gaps(np.full((3, 1), 255, np.uint8), days)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_statistics_equal_numpys_on_the_observed_values(seed):
    rng = np.random.default_rng(seed)
    values, days = rng.normal(size=(2, 12, 9)), np.arange(12) + 17000
    valid = rng.random((12, 9)) > 0.4
    found, seen = temporal_statistics(values, days, valid, percentiles=(5, 50, 90))
    assert list(found) == ["min", "max", "mean", "std", "mean_slope", "p5", "p50", "p90"]
    for b, p in itertools.product(range(2), range(9)):
        y = values[b, valid[:, p], p]
        assert seen[b, p] == y.size
        if not y.size:
            assert all(np.isnan(part[b, p]) for part in found.values())
            continue
        expected = [y.min(), y.max(), y.mean(), y.std()]
        expected += [np.abs(np.diff(y)).mean() if y.size > 1 else np.nan, *np.percentile(y, (5, 50, 90))]
        np.testing.assert_allclose([part[b, p] for part in found.values()], expected, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), ties=st.booleans())
def test_trends_equal_scipys_theil_sen_and_kendall(seed, ties):
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(3000, 15, replace=False)) + 10000
    y = rng.normal(size=15) + 0.3 * days / 365
    y = np.rint(y) if ties else y
    found = monotone_trend(y[None, :, None], days)
    slope = stats.theilslopes(y, days / 365.25, alpha=0.9)
    np.testing.assert_allclose(found.slope[0, 0], slope.slope, rtol=1e-4, atol=1e-5)
    s = sum(np.sign(y[j] - y[i]) for i, j in itertools.combinations(range(15), 2))
    counts = np.unique(y, return_counts=True)[1]
    variance = (15 * 14 * 35 - np.sum(counts * (counts - 1) * (2 * counts + 5))) / 18
    z = (s - np.sign(s)) / np.sqrt(variance) if variance else 0.0
    np.testing.assert_allclose(found.p_value[0, 0], 2 * stats.norm.sf(abs(z)), rtol=1e-4)
    np.testing.assert_allclose(found.tau[0, 0], s / 105, rtol=1e-4, atol=1e-6)


def test_slope_intervals_and_p_values_hold():
    rng = np.random.default_rng(3)
    days = np.arange(20) * 365 + 8000
    values = 0.05 * (days / 365.25)[:, None] + rng.standard_t(4, (20, 6000))
    found = monotone_trend(values[None], days)
    held = (found.slope_low[0] <= 0.05) & (found.slope_high[0] >= 0.05)
    assert abs(held.mean() - 0.9) < 0.025
    flat = monotone_trend(rng.standard_normal((1, 20, 6000)), days)
    assert abs((flat.p_value < 0.05).mean() - 0.05) < 0.012


def test_trends_need_three_observations():
    values = np.full((1, 5, 2), np.nan)
    values[0, :2, 0] = 1.0
    values[0, :3, 1] = [1.0, 2.0, 4.0]
    found = monotone_trend(values, YEARS[:5])
    assert np.isnan(found.slope[0, 0])
    assert found.slope[0, 1] > 0
    assert list(found.observations[0]) == [2, 3]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), ever=st.floats(0.05, 0.95), beginning=st.floats(0.05, 0.95))
def test_an_onset_has_a_day_exactly_where_the_state_is_reached(seed, ever, beginning):
    rng = np.random.default_rng(seed)
    share = rng.random((6, 30)) ** rng.uniform(0.2, 3.0)
    share[rng.random(share.shape) < 0.3] = np.nan
    days = np.sort(rng.choice(4000, 6, replace=False)) + 12000
    found = first_lasting(share, days, prior_ever=ever, prior_beginning=beginning)
    np.testing.assert_array_equal(np.isfinite(found.day), found.state.any(axis=0))
    assert (np.diff(found.state.astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize(("softness", "sharpness"), [(1.0, 1.0), (0.4, 2.5)])
def test_growth_as_a_whole_is_learned_from_the_maps(softness, sharpness):
    rng = np.random.default_rng(0)
    days = 17000 + 365 * np.arange(6)
    first = np.where(rng.random(8000) < 0.3, rng.integers(1, 6, 8000), 9)
    first[:800] = 0
    state = np.arange(6)[:, None] >= first
    chance = 1.0 / (1.0 + np.exp(-4.0 * (rng.normal(size=state.shape) + 2.0 * (2.0 * state - 1.0))))
    said = chance**softness / (chance**softness + (1.0 - chance) ** softness)
    said[rng.random(said.shape) < 0.1] = np.nan
    found = estimate_onset_prior(said, days)
    assert found.sharpness == pytest.approx(sharpness, rel=0.05)
    assert found.ever == pytest.approx((first < 6).mean(), abs=0.01)
    assert found.beginning == pytest.approx((first == 0).sum() / (first < 6).sum(), abs=0.02)
    onset = first_lasting(found.apply(said), days, prior_ever=found.ever, prior_beginning=found.beginning)
    assert np.isfinite(onset.day[first == 3]).mean() > 0.9
    assert onset.probability.mean() == pytest.approx((first < 6).mean(), abs=0.01)
    assert np.isnan(found.apply(np.array([np.nan, 0.4])))[0]


def test_a_series_without_maps_has_even_priors():
    assert estimate_onset_prior(np.full((2, 5), np.nan), [17000, 17365]) == OnsetPrior()
