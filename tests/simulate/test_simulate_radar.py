"""What Sentinel-1 sees of the town."""

from functools import cache

import numpy as np
import pytest

from ecumene.simulate import Cover, observe_sentinel1, simulate_city
from ecumene.simulate.noise import generator
from ecumene.simulate.radar import LOOK_AZIMUTH_DEG, LOOKS_ENL, speckle


@cache
def town():
    return simulate_city(3)


@cache
def seen(seed=1):
    return observe_sentinel1(town(), "2023-07-06", seed)


def pure(cover):
    return (town().land_cover(2023) == cover) & (town().purity(2023) > 0.99)


def test_plausible_decibels():
    observation = seen()
    assert observation.bands == ("VV", "VH")
    assert observation.unit == "dB"
    assert observation.image.dtype == np.float32
    assert np.isfinite(observation.image).all()
    vv, vh = observation.image
    assert observation.image.min() > -40
    assert observation.image.max() < 15
    assert vv.mean() > vh.mean() + 4
    assert np.median(vv[pure(Cover.WATER)]) < -15
    assert -11 < np.median(vv[pure(Cover.FOREST)]) < -7
    assert -17 < np.median(vh[pure(Cover.FOREST)]) < -12
    assert np.mean(vv[pure(Cover.HIGH_RISE)]) > np.mean(vv[pure(Cover.GRASS)]) + 3


@pytest.mark.parametrize("looks", [1.0, LOOKS_ENL, 12.0])
def test_speckle_has_the_stated_looks_and_mean_one(looks):
    field = speckle(generator(1), (1, 512, 512), looks)
    assert field.mean() == pytest.approx(1.0, abs=0.01)
    assert field.mean() ** 2 / field.var() == pytest.approx(looks, rel=0.05)
    skewness = ((field - field.mean()) ** 3).mean() / field.std() ** 3
    assert skewness == pytest.approx(2 / np.sqrt(looks), rel=0.08)  # of a gamma distribution


def test_speckle_is_correlated_between_neighbours_only():
    field = speckle(generator(2), (512, 512))
    near = np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]
    far = np.corrcoef(field[:, 5:].ravel(), field[:, :-5].ravel())[0, 1]
    assert 0.1 < near < 0.7
    assert abs(far) < 0.02


def test_enl_of_the_image_over_its_truth():
    observation = seen()
    bright = observation.truth > -18  # far above the noise floor
    ratio = 10 ** ((observation.image - observation.truth)[bright] / 10)
    assert ratio.mean() ** 2 / ratio.var() == pytest.approx(LOOKS_ENL, rel=0.05)


def test_another_seed_is_other_speckle_on_the_same_truth():
    assert np.array_equal(seen(1).truth, seen(2).truth)
    strong = seen(1).truth > -14  # near the noise floor both lie above the truth
    errors = [(seen(seed).image - seen(seed).truth)[strong] for seed in (1, 2)]
    assert abs(np.corrcoef(*errors)[0, 1]) < 0.02


def test_walls_that_face_the_radar_are_brighter():
    pooled = []
    for seed in (3, 4, 5, 6):
        city = simulate_city(seed)
        truth = observe_sentinel1(city, "2023-07-06").truth[0]
        travel = np.radians(LOOK_AZIMUTH_DEG - 90.0)
        turn = np.mod(travel - city.orientation[2::4, 2::4] + np.pi / 4, np.pi / 2) - np.pi / 4
        built = (city.land_cover(2023) == Cover.LOW_RISE) & (city.purity(2023) > 0.99)
        pooled.append((np.abs(np.degrees(turn[built])), truth[built]))
    angle, level = (np.concatenate(parts) for parts in zip(*pooled, strict=True))
    assert level[angle < 12].mean() > level[angle > 33].mean() + 1.5


def test_slopes_towards_the_radar_are_brighter():
    city = town()
    truth = seen().truth[1]
    rows, cols = np.gradient(city.elevation.astype(float), 10.0)
    look = np.radians(LOOK_AZIMUTH_DEG)
    rise = cols * np.sin(look) - rows * np.cos(look)
    forest = pure(Cover.FOREST)
    fore, back = forest & (rise > 0.06), forest & (rise < -0.06)
    assert fore.sum() > 50
    assert back.sum() > 50
    assert truth[fore].mean() > truth[back].mean() + 0.5
