"""Several breaks, changes found while following a series, and monitoring of a history."""

import numpy as np
import pytest
from scipy import stats

from ecumene.change.breaks import BreakModel
from ecumene.change.breaks_monitoring import monitor_breaks
from ecumene.change.breaks_sequence import follow_changes
from ecumene.change.breaks_several import detect_several_breaks
from ecumene.change.seasons import season_design

DAYS = np.arange(90) * 24 + 16000


def stable(rng, pixels, days=DAYS):
    return season_design(days) @ rng.normal(0, 2, (4, pixels)) + rng.standard_normal((days.size, pixels))


def test_two_breaks_are_found_with_their_own_dates_and_magnitudes():
    rng = np.random.default_rng(0)
    values = stable(rng, 400)
    first, second = DAYS[28] + 11, DAYS[61] + 5
    values += 8.0 * (DAYS[:, None] >= first) - 9.0 * (DAYS[:, None] >= second)
    values[rng.random(values.shape) < 0.1] = np.nan
    found = detect_several_breaks(values[None], DAYS, most=3, probability=0.95)
    right = found.count == 2
    assert right.mean() > 0.85
    for slot, truth, size in ((0, first, 8.0), (1, second, -9.0)):
        held = (found.date_low[slot] <= truth) & (truth <= found.date_high[slot])
        assert held[right].mean() > 0.85
        assert np.median(np.abs(found.date[slot] - truth)[right]) < 24
        assert abs(np.median(found.magnitude[slot, 0][right]) - size) < 0.5
    assert (np.diff(found.date[:2, right], axis=0) > 0).all()
    assert np.isnan(found.date[2, right]).all()


def test_stable_and_short_series_have_no_breaks():
    rng = np.random.default_rng(1)
    values = stable(rng, 1000)
    values[4:, 0] = np.nan
    found = detect_several_breaks(values[None], DAYS)
    assert found.count[0] == -1
    assert (found.count[1:] > 0).mean() < 0.05
    assert np.isnan(found.date[:, found.count <= 0]).all()


def test_several_breaks_do_not_depend_on_the_block():
    rng = np.random.default_rng(2)
    values = stable(rng, 300) + 6.0 * (DAYS[:, None] >= rng.uniform(DAYS[20], DAYS[70], 300))
    whole, parts = (detect_several_breaks(values[None], DAYS, block=block) for block in (1000, 37))
    np.testing.assert_array_equal(whole.date, parts.date)
    np.testing.assert_array_equal(whole.count, parts.count)


def test_one_break_at_most_is_the_most_probable_one():
    rng = np.random.default_rng(3)
    values = stable(rng, 200) + 3.0 * (DAYS[:, None] >= DAYS[25]) + 20.0 * (DAYS[:, None] >= DAYS[60])
    found = detect_several_breaks(values[None], DAYS, most=1)
    assert found.date.shape[0] == 1
    assert np.median(np.abs(found.date[0] - DAYS[60])) < 24


def test_followed_changes_lie_between_the_last_good_and_the_first_changed_observation():
    rng = np.random.default_rng(4)
    date = rng.uniform(DAYS[40], DAYS[70], 500)
    values = stable(rng, 500) + 8.0 * (DAYS[:, None] >= date)
    values[rng.random(values.shape) < 0.15] = np.nan
    found = follow_changes(values[None], DAYS, confirm=4)
    once = found.count == 1
    assert once.mean() > 0.85
    held = (found.date_low[0] <= date) & (date <= found.date_high[0])
    assert held[once].mean() > 0.9
    assert abs(np.median(found.magnitude[0, 0][once]) - 8.0) < 0.5
    assert (found.p_value[0][once] < 1e-4).all()


def test_false_alarms_of_following_keep_their_limit_even_for_short_models():
    # Each observation leaves a right model of one band with probability 0.05, whatever its degrees of freedom.
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((1, 90, 4000))
    found = follow_changes(noise, DAYS, order=0, confirm=1, confidence=0.95, most=1, least=8, span=0.0)
    # Nearly every first window of noise is stable, so date number 8 is the first one that is tested, with 6 degrees
    # of freedom; a chi-square limit would give 0.09. Standard error 0.0034.
    assert 0.035 < (found.date_high[0] == DAYS[8]).mean() < 0.062
    confirmed = follow_changes(stable(rng, 4000)[None], DAYS, confirm=6)
    assert (confirmed.count > 0).mean() < 0.01


def test_single_outliers_are_left_out_and_no_change():
    values = np.random.default_rng(6).standard_normal((1, 90, 300))
    values[:, 50] += 30.0
    values[:, 60] -= 30.0
    found = follow_changes(values, DAYS, order=0, trend=False)
    assert (found.count == 0).mean() > 0.99
    assert (found.outliers >= 2).mean() > 0.99


def test_a_series_without_a_stable_start_says_so():
    rng = np.random.default_rng(7)
    values = stable(rng, 4)
    values[:, 0] = np.nan
    values[20:, 1] = np.nan
    found = follow_changes(values[None], DAYS)
    assert found.count[0] == -1
    assert (found.count[2:] >= 0).all()


def test_several_bands_are_followed_together():
    rng = np.random.default_rng(8)
    values = np.stack([stable(rng, 400), stable(rng, 400)])
    # Steps that one band alone often misses.
    values += 3.5 * (DAYS[:, None] >= DAYS[50])
    both, one = follow_changes(values, DAYS, confirm=4), follow_changes(values[:1], DAYS, confirm=4)
    assert (both.count > 0).mean() > (one.count > 0).mean() + 0.1


def test_monitoring_has_the_false_alarms_it_is_asked_for_and_sees_changes():
    rng = np.random.default_rng(9)
    days = DAYS[:36]
    values = stable(rng, 20_000, days)
    for level in (0.05, 0.2):
        quiet = monitor_breaks(values, days, days[19], false_alarms=level)
        # 20,000 pixels and a boundary from as many simulations: standard error 0.002 to 0.004.
        assert abs(np.isfinite(quiet.date).mean() - level) < 0.016
    changed = monitor_breaks(values + 10.0 * (days[:, None] >= days[25]), days, days[19])
    assert np.isfinite(changed.date).mean() > 0.99
    assert np.median(changed.date) - days[25] <= 3 * 24
    assert abs(np.median(changed.magnitude) - 10.0 * 11 / 16) < 0.5


def test_the_process_is_the_moving_sum_of_its_definition():
    rng = np.random.default_rng(10)
    days, past = DAYS[:30], 18
    values = stable(rng, 20, days)
    values[rng.random(values.shape) < 0.2] = np.nan
    found = monitor_breaks(values, days, days[past - 1], boundary=1.0)
    design = season_design(days)
    for p in range(20):
        seen = np.flatnonzero(~np.isnan(values[:, p]))
        old = seen[seen < past]
        beta = np.linalg.lstsq(design[old], values[old, p], rcond=None)[0]
        rest = values[seen, p] - design[seen] @ beta
        n = old.size
        sigma = np.sqrt(np.sum(rest[:n] ** 2) / (n - 4))
        h = int(n * 0.25)
        process = np.array([rest[k - h + 1 : k + 1].sum() for k in range(n, seen.size)]) / (sigma * np.sqrt(n))
        np.testing.assert_allclose(found.peak[p], np.abs(process).max(), rtol=1e-4)
        crossed = np.flatnonzero(np.abs(process) > 1.0)
        expected = days[seen[n + crossed[0]]] if crossed.size else np.nan
        np.testing.assert_equal(float(found.date[p]), float(expected))


def test_a_history_may_be_a_date_text():
    rng = np.random.default_rng(11)
    values = stable(rng, 5, DAYS[:30])
    text = str(np.datetime64(int(DAYS[17]), "D"))
    by_text, by_day = monitor_breaks(values, DAYS[:30], text), monitor_breaks(values, DAYS[:30], int(DAYS[17]))
    np.testing.assert_array_equal(by_text.date, by_day.date)


def test_limits_of_scores_follow_the_f_distribution():
    # What the limits rest on: t^2 of one band is F(1, freedom); kept here because a chi-square limit would be too low.
    assert stats.f.ppf(0.99, 1, 8) > 1.5 * stats.chi2.ppf(0.99, 1)


@pytest.mark.parametrize("breaking", ["level", "trend", "all"])
def test_all_kinds_of_breaks_divide_a_series(breaking):
    rng = np.random.default_rng(12)
    values = stable(rng, 100) + 10.0 * (DAYS[:, None] >= DAYS[45])
    found = detect_several_breaks(values[None], DAYS, model=BreakModel(breaking=breaking))
    assert (found.count >= 1).all()
    assert np.median(np.abs(found.date[0] - DAYS[45])) < 30


def test_series_without_noise_raise_no_alarm_and_a_step_in_them_does():
    values = np.full((DAYS.size, 4), 0.3)
    values[:, 1] = season_design(DAYS) @ np.array([3000.1, 12.3, 170.7, 33.3])
    values[:, 2] = 1e6 / 3.0
    values[60:, 3] = 0.4
    for kind in (np.float64, np.float32):
        found = monitor_breaks(values.astype(kind)[:, [0, 2, 3]], DAYS, DAYS[40])
        assert found.valid.all()
        assert np.isnan(found.date[:2]).all()
        assert found.date[2] == DAYS[60]
    exact = monitor_breaks(values, DAYS, DAYS[40])
    assert np.isnan(exact.date[:3]).all()
    assert (exact.peak[:3] == 0.0).all()
