"""Dates brought to one brightness and contrast by their own pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes import standardised
from ecumene.scenes.contract import Block, Channel
from ecumene.scenes.standardised import DateSums, StandardisedStack, standardise_dates

OPTICAL = tuple(Channel("sentinel-2", "L2A", name, "reflectance") for name in ("B02", "B03"))
BOTH = (OPTICAL[0], Channel("sentinel-1", "GRD", "VV", "dB"))


class Held:
    """A stack that holds its image `[T, C, H, W]`."""

    sources = ()
    times = (np.datetime64("2020-01-01"), np.datetime64("2021-01-01"))

    def __init__(self, image, channels=OPTICAL):
        self.channels = channels
        self.image = np.asarray(image, np.float32)
        self.geobox = GeoBox.from_bbox((0, 0, image.shape[-1], image.shape[-2]), "EPSG:32633", resolution=1)
        self.windows = []

    def read(self, window):
        self.windows.append(window)
        image = self.image[..., window.row : window.row_stop, window.col : window.col_stop]
        return Block(image, np.isfinite(image).all(axis=1), np.array([0, 366], np.int32))

    def read_intact(self, window):
        return self.read(window), (window,)

    def select(self, channels):
        chosen = [position for position, channel in enumerate(self.channels) if channel.key in channels]
        return Held(self.image[:, chosen], tuple(self.channels[position] for position in chosen))


def image(rows=40, cols=30, seed=0):
    found = np.random.default_rng(seed).normal(0.2, 0.05, (2, 2, rows, cols)).astype(np.float32)
    found[:, 1] += 0.1
    found[0, :, 3, 4] = np.nan
    return found


def test_every_date_has_mean_0_and_deviation_1_its_bands_together():
    found = standardise_dates(image(), OPTICAL)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.nanmean(found, axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(found, axis=(1, 2, 3)), 1, atol=1e-5)
    assert (np.nanmean(found, axis=(2, 3))[:, 1] > 0.5).all()  # the brighter band stays the brighter one
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image()))


def test_a_sensor_is_not_measured_by_another():
    found = standardise_dates(image(), BOTH)
    np.testing.assert_allclose(np.nanmean(found, axis=(2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(found, axis=(2, 3)), 1, atol=1e-5)


@given(gain=st.floats(0.01, 1e4), offset=st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_gain_and_offset_of_a_date_make_no_difference(gain, offset):
    changed = image().astype(np.float64)
    changed[1] = changed[1] * gain + offset * gain * 0.01
    np.testing.assert_allclose(
        standardise_dates(changed.astype(np.float32), OPTICAL), standardise_dates(image(), OPTICAL), atol=2e-2
    )


def test_a_band_of_one_value_or_of_none_becomes_0_or_stays_without():
    flat = image()
    flat[0, 1], flat[1, 0] = 0.3, np.nan
    found = standardise_dates(flat, BOTH)
    assert (found[0, 1] == 0).all()
    assert np.isnan(found[1, 0]).all()


def test_windows_of_a_stack_are_parts_of_the_standardised_image():
    held = Held(image())
    stack = StandardisedStack(held)
    np.testing.assert_allclose(
        stack.read(Window(5, 6, 9, 7)).image, standardise_dates(image(), OPTICAL)[..., 5:14, 6:13], 1e-4
    )
    block, damaged = stack.read_intact(Window(0, 0, 4, 4))
    assert block.valid.all()
    assert damaged == (Window(0, 0, 4, 4),)
    assert (stack.times, stack.channels, stack.sources, stack.geobox) == (Held.times, OPTICAL, (), held.geobox)
    green = stack.select([OPTICAL[1].key]).read(Window(0, 0, 40, 30)).image
    np.testing.assert_allclose(green, standardise_dates(image()[:, 1:], OPTICAL[1:]), 1e-4)


def test_a_large_stack_is_looked_at_in_few_windows_that_reach_its_borders(monkeypatch):
    monkeypatch.setattr(standardised, "SIDE", 4)
    monkeypatch.setattr(standardised, "MOST", 3)
    held = Held(image(41, 10))
    StandardisedStack(held).read(Window(0, 0, 1, 1))
    seen = held.windows[1:]
    assert sorted({window.row for window in seen}) == [0, 18, 37]
    assert sorted({(window.col, window.width) for window in seen}) == [(0, 4), (4, 4), (8, 2)]
    stack = StandardisedStack(held)
    stack.read(Window(0, 0, 1, 1))
    before = len(held.windows)
    stack.read(Window(0, 0, 1, 1))
    assert len(held.windows) == before + 1  # the statistics are computed once


def test_sums_of_parts_are_those_of_the_whole():
    whole = DateSums.of(image())
    parts = DateSums.of(image()[..., :13]) + DateSums.of(image()[..., 13:])
    for one, other in zip(whole.mean_and_std(BOTH), parts.mean_and_std(BOTH), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert whole.mean_and_std(BOTH)[0][0, 0] == pytest.approx(np.nanmean(image()[0, 0].astype(float)), rel=1e-6)
