"""Samples to learn from, made of a user's own clear scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecumene.core.errors import LabelError
from ecumene.samples.clouded_series import clouded_samples
from ecumene.samples.datasets.class_folders import sensor_channels
from ecumene.samples.hidden_clouds import ClearSeries, hidden_samples, hide_under_clouds
from ecumene.workflows.restoration_places import simulated_places

CHANNELS = (*sensor_channels("sentinel-2", "L1C", ("B02", "B03")), *sensor_channels("sentinel-1", "GRD", ("VV",)))


def place(name="a", dates=4, size=40, clear=True):
    rng = np.random.default_rng(len(name))
    image = rng.uniform(0.05, 0.3, (dates, 3, size, size)).astype(np.float32)
    seen = np.full((dates, size, size), clear)
    return ClearSeries(name, image, seen, 17_000.0 + 10.0 * np.arange(dates), CHANNELS, 45.0)


def white(of, bands, day, share, seed):
    covered = np.zeros(bands.shape[1:], bool)
    covered[:, : round(share * bands.shape[2])] = True
    return np.where(covered, np.float32(0.9), bands), covered


def left(shape, share, seed):
    cover = np.zeros(shape, bool)
    cover[:, : round(share * shape[1])] = True
    return cover


def test_an_image_under_clouds_has_what_it_was_as_target():
    made = clouded_samples([place()], white, 2, number=12, dates=1, series=False, side=16)
    found = made.read(range(12))
    assert found.image.shape == (12, 3, 16, 16)
    assert found.target.shape == (12, 2, 16, 16)
    for image, target, cloudy in zip(found.image, found.target, found.cloudy, strict=True):
        np.testing.assert_array_equal(image[:2, ~cloudy], target[:, ~cloudy])
        assert (image[:2, cloudy] == np.float32(0.9)).all()
    assert 0.2 < found.cloudy.mean() < 0.8
    again = made.take([3, 1]).read([1])
    np.testing.assert_array_equal(again.image, found.image[1:2])
    assert made.digest() != made.take([3, 1]).digest()


def test_a_series_never_shows_its_target_and_comes_in_order_of_time():
    where = place()
    made = clouded_samples([where], white, 2, number=10, dates=2, series=True, side=40)
    for index in range(10):
        found = made.read([index])
        assert found.image.shape == (1, 2, 3, 40, 40)
        assert (np.diff(found.dates[0]) > 0).all()
        wanted = [date for date in range(4) if np.array_equal(where.image[date, :2], found.target[0])]
        assert len(wanted) == 1
        assert int(where.days[wanted[0]]) not in found.dates[0]
        seen = [day for day in where.days.astype(int) if day in found.dates[0]]
        for frame, day in enumerate(seen):
            date = int(np.flatnonzero(where.days == day)[0])
            np.testing.assert_array_equal(found.image[0, frame, 2], where.image[date, 2])  # radar as it was


def test_what_was_not_clear_is_no_target():
    where = place()
    where.clear[:, :20] = False
    found = clouded_samples([where], white, 2, number=4, dates=1, series=False, side=40).read(range(4))
    assert np.isnan(found.target[:, :, :20]).all()
    assert found.cloudy[:, :20].all()
    assert np.isfinite(found.image).all()


def test_places_without_enough_dates_are_a_sentence():
    with pytest.raises(LabelError, match="a date that is clear somewhere"):
        clouded_samples([place(clear=False)], white, 2, number=2, dates=1, series=False, side=16)
    with pytest.raises(LabelError, match="and 4 dates in all"):
        clouded_samples([place(dates=3)], white, 2, number=2, dates=3, series=True, side=16)
    with pytest.raises(LabelError, match="two dates that are clear"):
        hidden_samples([place(dates=1)], left, number=2)


def test_hidden_samples_are_the_same_read_one_by_one():
    places = [place("a"), place("bb", dates=3)]
    whole = hide_under_clouds(places, left, number=6, side=16, seed=2)
    made = hidden_samples(places, left, number=6, side=16, seed=2)
    for index in (4, 0):
        one = made.read([index])
        np.testing.assert_array_equal(one.image[0], whole.image[index])
        np.testing.assert_array_equal(one.target[0], whole.target[index])
    np.testing.assert_array_equal(made.group, whole.group)
    assert hidden_samples(places, left, number=6, side=16, seed=3).digest() != made.digest()
    north = [replace(places[0], latitude=60.0), places[1]]
    assert hidden_samples(north, left, number=6, side=16, seed=2).digest() != made.digest()


def test_simulated_places_have_radar_where_it_is_wanted():
    found = simulated_places(CHANNELS, 1, seed=3, side=48)[0]
    bare = simulated_places(CHANNELS[:2], 1, seed=3, side=48)[0]
    assert found.image.shape[1] == 3
    np.testing.assert_array_equal(found.image[:, :2], bare.image)
    assert -30.0 < found.image[:, 2].mean() < 0.0
    assert found.image[0, 2].std() > 0.5
    for channels in (CHANNELS[::-1], (*CHANNELS[:2], replace(CHANNELS[2], unit="linear power"))):
        with pytest.raises(LabelError, match="in dB after them"):
            simulated_places(channels, 1)
