"""The season-trend model against plain least squares."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.change.seasons import fit_seasons, noise_autocorrelation, season_design

RNG = np.random.default_rng(1)
DAYS = np.sort(RNG.choice(1500, 30, replace=False)) + 16000


@settings(deadline=None)
@given(order=st.integers(0, 3), trend=st.booleans(), seed=st.integers(0, 1000))
def test_fits_equal_numpys_least_squares_on_the_observed_dates(order, trend, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(5.0, 3.0, (2, 30, 7))
    valid = rng.random((2, 30, 7)) > 0.3
    found = fit_seasons(values, DAYS, valid, order=order, trend=trend)
    design = season_design(DAYS, order=order, trend=trend)
    for b in range(2):
        for p in range(7):
            seen = valid[b, :, p]
            if seen.sum() <= design.shape[1]:
                continue
            beta, squares, rank, _ = np.linalg.lstsq(design[seen], values[b, seen, p], rcond=None)
            if rank < design.shape[1] or np.linalg.cond(design[seen]) > 100:
                continue
            np.testing.assert_allclose(found.coefficients[b, :, p], beta, rtol=2e-4, atol=2e-4)
            sigma = np.sqrt(squares[0] / (seen.sum() - design.shape[1]))
            np.testing.assert_allclose(found.scale[b, p], sigma, rtol=1e-4)
            assert found.observations[b, p] == seen.sum()


def test_missing_values_of_any_size_do_not_count_and_short_series_get_nan():
    values = RNG.normal(size=(1, 30, 40)).astype(np.float32)
    valid = RNG.random((30, 40)) > 0.2
    valid[3:, 5] = False
    dirty = np.where(valid, values[0], np.where(RNG.random((30, 40)) > 0.5, 1e30, np.nan))[None].astype(np.float32)
    clean = fit_seasons(np.where(valid, values[0], np.nan)[None], DAYS)
    found = fit_seasons(dirty, DAYS, valid)
    np.testing.assert_array_equal(found.coefficients, clean.coefficients)
    assert np.isnan(found.coefficients[0, :, 5]).all()
    assert np.isnan(found.scale[0, 5])
    assert np.isfinite(np.delete(found.coefficients, 5, axis=2)).all()


def test_a_pixel_does_not_depend_on_where_it_lies_on_the_image_or_on_threads():
    values = RNG.normal(size=(1, 30, 50_000)).astype(np.float32)
    whole = fit_seasons(values, DAYS, threads=2)
    part = fit_seasons(values[:, :, 17:100], DAYS, threads=1)
    np.testing.assert_array_equal(whole.coefficients[:, :, 17:100], part.coefficients)
    rows = fit_seasons(values.reshape(1, 30, 200, 250), DAYS)
    np.testing.assert_array_equal(rows.coefficients.reshape(1, 4, -1), whole.coefficients)


def test_the_robust_fit_ignores_missed_clouds():
    truth = np.array([5.0, 0.4, 1.0, -0.5])
    values = (season_design(DAYS) @ truth)[None, :, None] + RNG.normal(0, 0.1, (1, 30, 200))
    spoilt = values.copy()
    for p in range(200):
        spoilt[0, RNG.choice(30, 3, replace=False), p] += 6.0
    plain = np.abs(fit_seasons(spoilt, DAYS).coefficients[0] - truth[:, None]).mean()
    robust = fit_seasons(spoilt, DAYS, robust=True)
    assert np.abs(robust.coefficients[0] - truth[:, None]).mean() < 0.2 * plain
    assert 0.08 < np.median(robust.scale) < 0.16
    clean = fit_seasons(values, DAYS, robust=True)
    assert np.abs(clean.coefficients[0] - truth[:, None]).mean() < 0.1


def test_predictions_continue_the_model_to_other_days():
    truth = np.array([5.0, 0.4, 1.0, -0.5])
    values = (season_design(DAYS) @ truth)[None, :, None, None] * np.ones((1, 1, 2, 3))
    fitted = fit_seasons(values, DAYS)
    later = np.array([18000, 18100])
    expected = season_design(later, middle=fitted.middle) @ truth
    np.testing.assert_allclose(
        fitted.predict(later), np.broadcast_to(expected[None, :, None, None], (1, 2, 2, 3)), 1e-4
    )


def test_the_noises_autocorrelation_is_found_without_the_bias_of_the_fit():
    days = np.arange(80) * 20 + 16000
    for phi in (0.0, 0.3, 0.6):
        noise = np.random.default_rng(4).standard_normal((80, 1500))
        for t in range(1, 80):
            noise[t] = phi * noise[t - 1] + np.sqrt(1 - phi**2) * noise[t]
        noise[40:, :300] += 5.0  # pixels that break are a minority
        assert abs(noise_autocorrelation(noise[None], days) - phi) < 0.1


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_the_robust_fit_equals_reweighted_least_squares_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    design = season_design(DAYS)
    values = design @ rng.normal(size=(4, 3)) + rng.standard_t(2, (DAYS.size, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    found = fit_seasons(values[None], DAYS, robust=True)
    for p in range(3):
        seen = ~np.isnan(values[:, p])
        x, y, w = design[seen], values[seen, p], np.ones(seen.sum())
        for _ in range(11):
            root = np.sqrt(w)
            beta = np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0]
            size = np.abs(y - x @ beta)
            scale = 1.4826 * np.median(size)
            w = np.minimum(1.0, 1.345 * scale / np.maximum(size, 1e-300))
        np.testing.assert_allclose(found.coefficients[0, :, p], beta, rtol=1e-4, atol=1e-4)
        assert abs(found.scale[0, p] / scale - 1) < 1e-4
