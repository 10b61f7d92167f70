"""Regression, chains, the choice of a method on hidden pixels, and the calibration of error bars."""

import numpy as np
import pytest
from restoration_series import as_sample, wandering_series

from ecumene.core.errors import LabelError
from ecumene.restoration.chain import Chain
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.holdout import calibrate, choose_method, hold_out, is_hidden, simulated_covers
from ecumene.restoration.methods import fit_method
from ecumene.restoration.radar_regression import Regression, RidgeFit
from ecumene.restoration.variance_function import fit_variance_function


def test_ridge_finds_a_linear_relation_and_its_error():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    y = x @ np.array([[0.1, 0.0], [0.0, 0.2], [0.05, 0.05]]) + 0.3 + 0.02 * rng.normal(size=(2000, 2))
    fit = RidgeFit.fit(x[:1000], y[:1000])
    mean, variance, distance = fit.predict(x[1000:])
    assert np.std(mean - y[1000:], axis=0) == pytest.approx([0.02, 0.02], rel=0.1)
    assert np.sqrt(variance.mean(axis=0)) == pytest.approx([0.02, 0.02], rel=0.1)
    assert distance.mean() == pytest.approx(1.0, rel=0.3)
    assert fit.predict(np.full((1, 3), 30.0))[2][0] > 100.0


def test_regression_learns_the_brightness_of_a_partly_clouded_date():
    """A date that is hazier than all others is filled right by what is clear of it, not by the other dates."""
    series = wandering_series([0, 10, 20, 30], sill=0.005)
    image = series.image.copy()
    image[2] = 0.8 * image[2] + 0.1
    clear = series.clear.copy()
    clear[2, :600] = False
    hazy = SeriesPixels(image, clear, series.days)
    sample = as_sample(hazy)
    truth = image[2][:, :600]
    errors = {}
    for name in ("linear", "regression"):
        filled = fit_method(name, sample).fill(hazy, Target(20.0, 2))
        errors[name] = float(np.sqrt(np.mean((filled.mean[:, :600] - truth) ** 2)))
    assert errors["regression"] < 0.012 < 0.03 < errors["linear"]


def test_radar_fills_where_there_is_no_other_date():
    series = wandering_series([0.0], radar=True, sill=0.001)
    clear = series.clear.copy()
    clear[0, :400] = False
    sample = as_sample(SeriesPixels(series.image, clear, series.days, series.radar))
    chosen = choose_method(sample, "auto")
    assert chosen is not None
    assert chosen.method.name == "sar-regression"
    filled = chosen.method.fill(sample.series, Target(0.0, 0))
    truth = series.image[0][:, :400]
    assert np.sqrt(np.mean((filled.mean[:, :400] - truth) ** 2)) < 0.5 * truth.std()
    z = (filled.mean[:, :400] - truth) / filled.deviation[:, :400]
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.15)


def test_radar_that_is_missing_leaves_pixels_to_the_other_dates():
    series = wandering_series([0, 10, 20], radar=True)
    radar = series.radar.copy()
    radar[1] = np.nan
    sample = as_sample(SeriesPixels(series.image, series.clear, series.days, radar))
    assert np.isnan(fit_method("sar-regression", sample).fill(sample.series, Target(10.0, 1)).mean).all()
    chosen = choose_method(sample, "auto")
    assert chosen is not None
    assert np.isfinite(chosen.method.fill(sample.series, Target(10.0, 1)).mean).all()


def test_a_chain_asks_the_next_one_only_for_what_is_missing():
    series = wandering_series([0, 10, 20], radar=True)
    clear = series.clear.copy()
    clear[[0, 2], :100] = False
    sample = as_sample(SeriesPixels(series.image, clear, series.days, series.radar))
    first, second = fit_method("linear", sample), fit_method("sar-regression", sample)
    target = Target(10.0, 1)
    both, one, two = (m.fill(sample.series, target).mean for m in (Chain((first, second)), first, second))
    assert np.array_equal(both[:, 100:], one[:, 100:])
    assert np.isnan(one[:, :100]).all()
    assert both[:, :100] == pytest.approx(two[:, :100], abs=1e-6)


def test_too_few_pixels_teach_no_regression():
    series = wandering_series([0, 10])
    clear = np.zeros_like(series.clear)
    clear[:, :10] = True
    with pytest.raises(LabelError, match="too few"):
        Regression.fit(
            "regression",
            as_sample(SeriesPixels(series.image, clear, series.days)),
            fit_method("closest", as_sample(series)),
        )


def test_simulated_covers_are_blobs_of_the_wanted_size():
    sample = as_sample(wandering_series([0, 10, 20], side=40))
    covers = simulated_covers(sample, 3)
    assert covers.mean(axis=1) == pytest.approx(0.4, abs=0.05)
    grid = covers.reshape(3, 40, 40)
    assert np.mean(grid[:, 1:] == grid[:, :-1]) > 0.8
    assert np.array_equal(covers, simulated_covers(sample, 3))
    assert not np.array_equal(covers, simulated_covers(sample, 4))


def test_calibration_mends_error_bars_that_are_too_short():
    series = wandering_series([0, 10, 20, 35, 60], side=60)
    held = hold_out(as_sample(series, side=60), ("linear",))["linear"]
    short = type(held)(held.mean, held.deviation / 3.0, held.truth, held.group, held.surprise)
    mended = calibrate(short)
    known = short.known
    deviation = mended.apply(short.mean[:, known], short.deviation[:, known], short.surprise[known])
    error = short.truth[:, known] - short.mean[:, known]
    assert np.sqrt(np.mean((error / deviation) ** 2)) == pytest.approx(1.0, abs=0.1)
    inside = np.abs(error) <= mended.interval[:, None] * deviation
    assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_the_variance_function_finds_what_changes_more():
    rng = np.random.default_rng(1)
    mean = rng.uniform(0.0, 0.5, (2, 6000))
    true = 0.01 * np.where(mean[0] > 0.25, 3.0, 1.0)
    truth = mean + true * rng.normal(size=mean.shape)
    group = np.arange(6000) // 60
    surprise = np.full(6000, np.nan)
    function = fit_variance_function(mean, np.full_like(mean, 0.02), truth, surprise, group)
    assert function is not None
    factor = function.factor(mean, surprise)
    ratio = factor[mean[0] > 0.4].mean() / factor[mean[0] < 0.1].mean()
    assert 4.0 < ratio < 16.0
    alike = mean + 0.02 * rng.normal(size=mean.shape)
    flat = fit_variance_function(mean, np.full_like(mean, 0.02), alike, surprise, group)
    assert flat is None or np.ptp(flat.factor(mean, surprise)) < 0.5


def test_auto_says_why_and_whole_dates_are_judged_apart():
    sample = as_sample(wandering_series([0, 10, 20, 40]))
    part, whole = choose_method(sample, "auto"), choose_method(sample, "auto", whole=True)
    assert part is not None
    assert whole is not None
    assert "hidden under simulated clouds" in part.reason
    assert "dates hidden whole" in whole.reason
    assert part.method.name.split(",")[0] == min(part.scores, key=lambda name: part.scores[name].get("rmse", 9.0))
    assert is_hidden(sample, None)
    assert not is_hidden(sample, 0)


def test_nothing_clear_teaches_nothing():
    series = wandering_series([0, 10])
    empty = SeriesPixels(series.image * np.nan, np.zeros_like(series.clear), series.days)
    assert choose_method(as_sample(empty), "auto") is None
    with pytest.raises(LabelError):
        choose_method(as_sample(empty), "linear")


def test_the_same_seed_gives_the_same_choice():
    sample = as_sample(wandering_series([0, 10, 30]))
    first, second = (choose_method(sample, "auto", seed=5) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.scores == second.scores
    assert np.array_equal(first.calibration.interval, second.calibration.interval)
