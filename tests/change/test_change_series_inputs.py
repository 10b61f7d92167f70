"""Dates and shapes of series: what is refused, with which sentence."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ecumene.change.breaks import BreakModel, detect_breaks
from ecumene.change.breaks_monitoring import monitor_breaks
from ecumene.change.breaks_sequence import follow_changes
from ecumene.change.breaks_several import detect_several_breaks
from ecumene.change.seasons import fit_seasons, season_design
from ecumene.change.series import day_of, days_of, run_blocks
from ecumene.change.series_gaps import count_days, fill_gaps
from ecumene.change.series_trends import monotone_trend
from ecumene.core.errors import ConfigurationError, EcumeneError, SceneError

DAYS = np.arange(24) * 45 + 17000


def series(pixels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 24, pixels))


@pytest.mark.parametrize("method", [detect_breaks, detect_several_breaks, follow_changes, fit_seasons, monotone_trend])
def test_dates_that_repeat_run_backwards_or_are_too_few_get_a_sentence(method):
    twice, back = DAYS.copy(), DAYS.copy()
    twice[5] = twice[4]
    back[[5, 6]] = back[[6, 5]]
    with pytest.raises(SceneError, match=r"comes twice in the series; keep one image a date"):
        method(series(), twice)
    with pytest.raises(SceneError, match=r"run backwards at .*; sort the images by date"):
        method(series(), back)
    for few in (1, 2):
        with pytest.raises(SceneError, match=rf"series of {few} dates? is too short here; give images of at least 3"):
            method(series()[:, :few], DAYS[:few])


@pytest.mark.parametrize("method", [detect_breaks, follow_changes, fit_seasons, monotone_trend])
def test_a_series_without_any_observation_is_refused(method):
    with pytest.raises(SceneError, match="No pixel of the series has a valid observation on any date"):
        method(np.full((1, 24, 3), np.nan), DAYS)
    with pytest.raises(SceneError, match="check cloud masks and nodata"):
        method(series(), DAYS, np.zeros((24, 3), bool))


def test_too_few_dates_for_the_model_say_what_to_do():
    with pytest.raises(SceneError, match="4 dates are too few for a season-trend model of 4 coefficients"):
        detect_breaks(series()[:, :4], DAYS[:4])
    with pytest.raises(SceneError, match="too few to follow"):
        follow_changes(series()[:, :15], DAYS[:15])
    with pytest.raises(SceneError, match="The history has 4 of 24 dates"):
        monitor_breaks(series()[0], DAYS, DAYS[3])
    with pytest.raises(SceneError, match="one date after it"):
        monitor_breaks(series()[0], DAYS, DAYS[-1])


def test_wrong_options_and_shapes_get_a_sentence():
    bad = [
        lambda: BreakModel(breaking="season"),
        lambda: BreakModel(breaking="trend", trend=False),
        lambda: BreakModel(trimming=0.5),
        lambda: BreakModel(prior=1.0),
        lambda: BreakModel(autocorrelation=1.0),
        lambda: season_design(DAYS, order=4),
        lambda: detect_breaks(series()[0], DAYS),
        lambda: detect_breaks(series(), DAYS, np.ones((24, 4), bool)),
        lambda: detect_breaks(series(), np.linspace(0, 1, 24)),
        lambda: detect_breaks(series(), ["2020-01-01"] * 23 + ["soon"]),
        lambda: detect_breaks(series(), DAYS).interval(0.5),
        lambda: detect_breaks(series(), DAYS, threads=0),
        lambda: detect_several_breaks(series(), DAYS, most=0),
        lambda: follow_changes(series(), DAYS, confidence=1.0),
        lambda: monitor_breaks(series()[0], DAYS, DAYS[15], window=0.0),
        lambda: monotone_trend(series(), DAYS, level=1.0),
    ]
    for call in bad:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert str(caught.value).endswith(".")
        assert len(str(caught.value)) > 20
        assert isinstance(caught.value, EcumeneError)


def test_dates_are_read_from_texts_dates_and_numbers():
    texts = ["2020-01-01", "2020-02-01", "2021-01-01"]
    days = days_of(np.array(texts, "datetime64[s]"))
    np.testing.assert_array_equal(days_of(texts), days)
    np.testing.assert_array_equal(days_of([18262, 18293, 18628]), days)


def test_blocks_cover_every_pixel_once_for_any_number_of_threads():
    for threads in (1, 3):
        seen = np.zeros(100_000, int)

        def work(start: int, stop: int, seen: np.ndarray = seen) -> None:
            seen[start:stop] += 1

        run_blocks(work, seen.size, threads)
        assert (seen == 1).all()


def test_an_error_in_a_block_is_not_swallowed():
    def work(start: int, stop: int) -> None:
        raise SceneError("no")

    with pytest.raises(SceneError):
        run_blocks(work, 100_000, 2)


def test_the_benchmark_asks_for_its_data():
    script = Path(__file__).parents[2] / "benchmarks" / "change_series.py"
    environment = {key: value for key, value in os.environ.items() if key != "ECUMENE_DATA"}
    found = subprocess.run(
        [sys.executable, str(script), "--quick", "--only", "bolivia"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert found.returncode != 0
    assert "ECUMENE_DATA" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("when", ["soon", "2020-13-01", None, [1, 2], "NaT", float("nan")])
def test_single_dates_that_are_none_get_a_sentence(when):
    with pytest.raises(ConfigurationError, match="last date of the history"):
        monitor_breaks(series()[0], DAYS, when)
    with pytest.raises(ConfigurationError, match="limit of the period"):
        count_days(fill_gaps(np.ones((24, 1), np.uint8), DAYS), when, 18000)


@pytest.mark.parametrize("floor", [[1.0, 2.0], -1.0, float("nan"), "high"])
def test_a_smallest_scale_that_fits_no_band_gets_a_sentence(floor):
    with pytest.raises(ConfigurationError, match="smallest residual scale"):
        follow_changes(series(), DAYS, confirm=4, least=8, floor=floor)


def test_a_day_is_read_from_texts_dates_and_numbers():
    assert day_of("2020-01-02") == day_of(np.datetime64("2020-01-02T11:00")) == day_of(18263) == day_of(18263.0)
