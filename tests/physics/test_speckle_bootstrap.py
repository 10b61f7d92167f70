"""Error bars enlarged by repeating a filter over its own result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.physics.speckle.bootstrap import _correlation, error_bar_factor
from ecumene.physics.speckle.looks import independent_share
from ecumene.physics.speckle.nonlocal_filter import nonlocal_means
from ecumene.physics.speckle.result import INVALID, Despeckled
from ecumene.physics.speckle.simulate import gamma_speckle

SHAPE = (120, 120)


def boxcar(understated):
    """Means of 5 x 5 separate cells, whose error is known exactly, stated too small by a factor."""

    def run(image):
        cells = image.reshape(24, 5, 24, 5)
        mean = np.repeat(np.repeat(np.nanmean(cells, axis=(1, 3)), 5, 0), 5, 1)
        flags = np.where(np.isfinite(image), 0, INVALID).astype(np.uint8)
        return Despeckled(mean, mean / 5.0 / understated, np.full(image.shape, 25.0), flags)

    return run


@pytest.mark.parametrize("understated", [1.0, 1.6, 0.5])
def test_the_factor_is_what_the_error_bars_lack(understated):
    rng = np.random.default_rng(0)
    run = boxcar(understated)
    result = run(0.2 * gamma_speckle(rng, SHAPE, 1.0))
    # The result itself is taken as the truth: constant over each cell, so that its cell means are exact.
    factor = error_bar_factor(run, result, 1.0)
    assert factor == pytest.approx(max(1.0, understated), rel=0.12)


def test_error_bars_of_the_nonlocal_filter_cover_more():
    rng = np.random.default_rng(1)
    truth = np.full(SHAPE, 0.1)
    truth[:, 60:] = 0.5
    image = truth * gamma_speckle(rng, SHAPE, 1.0)

    def run(values):
        return nonlocal_means(values, 1.0, search=15)

    result = run(image)
    factor = error_bar_factor(run, result, 1.0)
    assert error_bar_factor(run, result, 1.0) == factor
    assert 1.0 < factor < 2.5
    error = np.abs(result.value - truth)
    before, after = (np.mean(error < f * result.standard_deviation) for f in (1.0, factor))
    assert before < 0.68  # weights that have seen the speckle: too small
    assert before < after < 0.8


def test_too_little_data_leave_the_error_bars_alone():
    blank = np.full((40, 40), np.nan)
    blank[:5, :5] = 1.0
    flags = np.where(np.isfinite(blank), 0, INVALID).astype(np.uint8)
    assert error_bar_factor(boxcar(2.0), Despeckled(blank, blank, blank, flags), 1.0) == 1.0


@settings(max_examples=6, deadline=None)
@given(st.floats(0.15, 0.8))
def test_simulated_speckle_has_the_share_that_is_asked_for(share):
    image = gamma_speckle(np.random.default_rng(3), (210, 210), 4.0, correlation_px=_correlation(share))
    assert independent_share(image) == pytest.approx(share, abs=0.13)
