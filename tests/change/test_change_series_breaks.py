"""One break: against the textbook formulas, its date's interval and its probability against simulated truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.change.breaks import BreakModel, detect_breaks
from ecumene.change.seasons import season_design


def make(rng, dates, pixels, *, phi=0.0, years=4, trimming=0.15, low=0.5, high=10.0, missing=0.2):
    """Return (values, days, dates of the breaks, sizes); dates are uniform where `trimming` allows a break."""
    days = np.sort(rng.choice(int(365.25 * years), dates, replace=False)) + 17000
    seen = rng.random((dates, pixels)) >= missing
    count = seen.cumsum(axis=0)
    least = np.maximum(3, np.ceil(trimming * count[-1] - 1e-9))
    date = rng.uniform(days[(count >= least).argmax(axis=0)], days[(count > count[-1] - least).argmax(axis=0)])
    size = rng.uniform(low, high, pixels) * rng.choice([-1, 1], pixels)
    noise = rng.standard_normal((dates, pixels))
    for t in range(1, dates):
        noise[t] = phi * noise[t - 1] + np.sqrt(1 - phi**2) * noise[t]
    values = season_design(days) @ rng.normal(0, 2, (4, pixels)) + noise + size * (days[:, None] >= date)
    values[~seen] = np.nan
    return values[None], days, date, size


def textbook(y, days, model):
    """Exhaustive search by explicit regressions on the observed dates of one pixel: (k, R_k, det C, R_0, n, D, Q)."""
    seen = ~np.isnan(y)
    y, x = y[seen], season_design(days, order=model.order, trend=model.trend)[seen]
    n, d = x.shape
    q = model.moving(d).size
    least = max(model.least, q + 1, int(np.ceil(model.trimming * n - 1e-9)))
    whole = np.sum((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)
    project = np.eye(n) - x @ np.linalg.pinv(x)
    rows = []
    for k in range(least, n - least + 1):
        z = np.where(np.arange(n)[:, None] >= k, x[:, :q], 0.0)
        both = np.hstack([x, z])
        rest = np.sum((y - both @ np.linalg.lstsq(both, y, rcond=None)[0]) ** 2)
        rows.append((k, rest, np.linalg.det(z.T @ project @ z)))
    return np.array(rows), whole, n, d, q, days[seen]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), breaking=st.sampled_from(["level", "trend", "all"]), order=st.integers(0, 1))
def test_every_number_agrees_with_explicit_regressions(seed, breaking, order):
    model = BreakModel(breaking=breaking, order=order)
    values, days, _, _ = make(np.random.default_rng(seed), 30, 1)
    found = detect_breaks(values, days, model=model, keep=True)
    rows, whole, n, d, q, seen = textbook(values[0, :, 0], days, model)
    gap = seen[rows[:, 0].astype(int)] - seen[rows[:, 0].astype(int) - 1]
    factor = (1 + n) ** ((n - d - q) / 2) * (1 + n * rows[:, 1] / whole) ** (-(n - d) / 2)
    np.testing.assert_allclose(found.log_bayes_factor[0], np.log(np.average(factor, weights=gap)), rtol=1e-4, atol=1e-4)
    f_value = (whole - rows[:, 1]) / q * (n - d - q) / rows[:, 1]
    np.testing.assert_allclose(found.largest_f[0], f_value.max(), rtol=1e-4)
    density = rows[:, 2] ** -0.5 * (rows[:, 1] / whole) ** (-(n - d - q) / 2)
    mass = density * gap / np.sum(density * gap)
    best = int(rows[np.argmax(density), 0])
    assert (found.last_before[0], found.first_after[0]) == (seen[best - 1], seen[best])
    start = np.concatenate([[0.0], np.cumsum(mass)])
    edges = np.append(seen[rows[0, 0].astype(int) - 1], seen[rows[:, 0].astype(int)])
    for share, ours in ((0.05, found.date_low[0]), (0.5, found.date[0]), (0.95, found.date_high[0])):
        assert abs(np.interp(share, start, edges) - ours) < 0.05
    low, high = found.interval(0.9)
    assert abs(low[0] - found.date_low[0]) < 0.05
    assert abs(high[0] - found.date_high[0]) < 0.05
    middle = 0.5 * (days[0] + days[-1])
    x = season_design(days, order=order)[~np.isnan(values[0, :, 0])]
    both = np.hstack([x, np.where(np.arange(n)[:, None] >= best, x[:, :q], 0.0)])
    beta = np.linalg.lstsq(both, values[0, ~np.isnan(values[0, :, 0]), 0], rcond=None)[0]
    index = np.searchsorted(days, seen[best])
    candidates = [
        beta[d] + (beta[d + 1] * (0.5 * (days[t] + days[t - 1]) - middle) / 365.25 if q > 1 else 0.0)
        for t in range(np.searchsorted(days, seen[best - 1]) + 1, index + 1)
    ]
    assert min(abs(found.magnitude[0, 0] - c) for c in candidates) < 1e-3 * (1 + abs(found.magnitude[0, 0]))


@pytest.mark.parametrize(
    ("dates", "model", "years"),
    [(24, BreakModel(), 3), (60, BreakModel(order=2), 5), (60, BreakModel(breaking="trend"), 5), (24, BreakModel(), 6)],
)
def test_ninety_per_cent_intervals_of_the_date_hold_for_ninety_per_cent(dates, model, years):
    # 12,000 independent series: the standard error of the coverage is 0.0027, so 0.88 to 0.92 leaves 7 of them.
    values, days, date, _ = make(np.random.default_rng(dates + years), dates, 12_000, years=years)
    found = detect_breaks(values, days, model=model)
    held = (found.date_low < date) & (date < found.date_high)
    assert 0.88 < held.mean() < 0.92
    detected = found.probability > 0.5
    assert 0.88 < held[detected].mean() < 0.93


def test_intervals_of_any_level_hold():
    values, days, date, _ = make(np.random.default_rng(5), 36, 12_000)
    found = detect_breaks(values, days, keep=True)
    for level in (0.5, 0.8, 0.95):
        low, high = found.interval(level)
        assert abs(((low < date) & (date < high)).mean() - level) < 0.03


def test_autocorrelated_noise_makes_intervals_too_narrow_and_the_option_widens_them():
    values, days, date, _ = make(np.random.default_rng(6), 60, 8_000, phi=0.6, years=5, high=4.0, missing=0.0)

    def coverage(model):
        found = detect_breaks(values, days, model=model)
        return ((found.date_low < date) & (date < found.date_high)).mean()

    plain, wider = coverage(BreakModel()), coverage(BreakModel(autocorrelation=0.6))
    assert plain < 0.87  # what taking correlated noise as white costs
    assert wider > plain + 0.04
    stable = make(np.random.default_rng(7), 60, 8_000, phi=0.6, years=5, low=0.0, high=1e-9, missing=0.0)
    false = (detect_breaks(stable[0], stable[1]).probability > 0.9).mean()
    corrected = (detect_breaks(stable[0], stable[1], model=BreakModel(autocorrelation=0.6)).probability > 0.9).mean()
    assert corrected < 0.5 * false


def test_probabilities_are_those_of_their_own_prior():
    # Half of the series break, at a date uniform in time, with steps drawn from the g prior: then 80 % means 80 %.
    rng = np.random.default_rng(8)
    dates, pixels = 30, 20_000
    days = np.sort(rng.choice(1200, dates, replace=False)) + 17000
    model = BreakModel()
    edge = max(3, int(np.ceil(0.15 * dates)))
    x = season_design(days)
    project = np.eye(dates) - x @ np.linalg.pinv(x)
    broken = rng.random(pixels) < 0.5
    place = np.searchsorted(days, rng.uniform(days[edge - 1], days[dates - edge], pixels))
    z = np.arange(dates)[:, None] >= place
    size = rng.standard_normal(pixels) * np.sqrt(dates / np.einsum("tp,ts,sp->p", z, project, z))
    values = rng.standard_normal((dates, pixels)) + np.where(broken, size * z, 0.0)
    found = detect_breaks(values[None], days, model=model).probability
    for low, high in ((0.02, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.98)):
        inside = (found > low) & (found <= high)
        assert inside.sum() > 300
        error = np.sqrt(0.25 / inside.sum())
        assert abs(broken[inside].mean() - found[inside].mean()) < 4 * error


def test_magnitudes_are_unbiased_and_their_deviations_right_where_the_date_is_clear():
    values, days, _, size = make(np.random.default_rng(9), 40, 6_000, low=12.0, high=20.0)
    found = detect_breaks(values, days)
    score = (found.magnitude[0] - size) / found.magnitude_deviation[0]
    assert abs(score.mean()) < 0.06
    assert 0.97 < score.std() < 1.12  # Student's t of some 25 degrees of freedom, and rarely a wrong date
    assert 0.95 < np.median(found.scale) < 1.02


def test_bands_share_the_date_and_keep_their_own_magnitudes():
    rng = np.random.default_rng(10)
    one, days, date, size = make(rng, 30, 2_000, low=1.5, high=3.0)
    step = (days[:, None] >= date) * -2.0 * size
    other = rng.standard_normal((30, 2_000)) + step
    other[np.isnan(one[0])] = np.nan
    both = detect_breaks(np.stack([one[0], other]), days)
    single = detect_breaks(one, days)
    error = np.abs(both.date - date), np.abs(single.date - date)
    assert np.median(error[0]) < 0.8 * np.median(error[1])
    held = (both.date_low < date) & (date < both.date_high)
    assert 0.87 < held.mean() < 0.94
    assert abs(np.median(both.magnitude[1] / size) + 2.0) < 0.2


def test_a_band_with_other_dates_joins_in():
    rng = np.random.default_rng(11)
    values, days, _date, size = make(rng, 60, 500, low=5, high=8, missing=0.0)
    two = np.repeat(values, 2, axis=0)
    two[0, ::2] = np.nan
    two[1, 1::2] = np.nan
    found = detect_breaks(two, days)
    assert (found.observations == 60).all()
    assert np.median(np.abs(found.magnitude - size)) < 0.6
    assert (found.first_after - found.last_before).max() <= np.diff(days).max() * 2


def test_steps_without_noise_are_dated_exactly_and_flat_series_have_none():
    days = np.arange(24) * 30 + 17000
    values = np.zeros((1, 24, 3))
    values[0, 10:, 0] = 7.0
    values[0, :, 1] = 3.0
    values[0, :, 2] = 0.0
    found = detect_breaks(values, days)
    assert (found.last_before[0], found.first_after[0]) == (days[9], days[10])
    assert days[9] <= found.date_low[0] <= found.date_high[0] <= days[10]
    assert found.probability[0] > 0.999999
    np.testing.assert_allclose(found.magnitude[0, 0], 7.0, rtol=1e-6)
    assert (found.probability[1:] < 0.5).all()


def test_pixels_without_enough_observations_are_not_valid_and_others_stay_the_same():
    values, days, _, _ = make(np.random.default_rng(12), 24, 100)
    holes = values.copy()
    holes[0, 5:, 3] = np.nan
    holes[0, :, 4] = np.nan
    found, whole = detect_breaks(holes, days), detect_breaks(values, days)
    assert not found.valid[3]
    assert not found.valid[4]
    assert found.valid.sum() == 98
    assert np.isnan(found.layers()[:, 3:5]).all()
    keep = np.delete(np.arange(100), [3, 4])
    np.testing.assert_array_equal(found.layers()[:, keep], whole.layers()[:, keep])


def test_results_do_not_depend_on_place_threads_number_type_or_level_of_the_values():
    values, days, _, _ = make(np.random.default_rng(13), 24, 40_000)
    values = values.astype(np.float32)
    whole = detect_breaks(values, days, threads=2)
    np.testing.assert_array_equal(whole.layers()[:, 333:444], detect_breaks(values[:, :, 333:444], days).layers())
    doubled = detect_breaks(values.astype(np.float64), days)
    np.testing.assert_array_equal(whole.layers(), doubled.layers())
    part = values[:, :, :500].astype(np.float64)
    moved = detect_breaks(part * 100.0 + 3000.0 + 50.0 * (days / 365.25)[:, None], days)
    np.testing.assert_allclose(moved.probability, whole.probability[:500], atol=1e-4)
    np.testing.assert_allclose(moved.date, whole.date[:500], atol=0.6)
    np.testing.assert_allclose(moved.magnitude, 100.0 * whole.magnitude[:, :500], rtol=1e-3, atol=1e-2)


def test_blocks_of_a_dask_array_give_the_same_map():
    import dask.array as da

    values, days, _, _ = make(np.random.default_rng(14), 24, 600)
    image = values.reshape(1, 24, 20, 30).astype(np.float32)
    whole = detect_breaks(image, days).layers()
    blocks = da.from_array(image, chunks=(1, 24, 7, 11)).map_blocks(
        lambda block: detect_breaks(block, days, threads=1).layers()[:, None],
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
        chunks=((5,), (1,), (7, 7, 6), (11, 11, 8)),
    )
    np.testing.assert_array_equal(blocks.compute()[:, 0], whole)


def test_the_mean_f_is_that_of_the_bands_that_have_one():
    rng = np.random.default_rng(9)
    days = np.arange(40) * 30 + 16000
    one = season_design(days) @ rng.normal(size=(4, 20)) + rng.standard_normal((40, 20))
    few = np.full_like(one, np.nan)
    few[::9] = 1.0
    alone, beside = detect_breaks(one[None], days), detect_breaks(np.stack([one, few]), days)
    np.testing.assert_allclose(beside.largest_f, alone.largest_f, rtol=1e-6)
    np.testing.assert_array_equal(beside.date, alone.date)
