import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.composites import (
    best_pixel_composite,
    geomedian_composite,
    geometric_median,
    median_composite,
)


def series(seed=0, shape=(8, 4, 6, 7), gaps=0.3):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.01, 0.6, shape).astype(np.float32)
    cloudy = rng.random((shape[0], *shape[2:])) < gaps
    image[np.broadcast_to(cloudy[:, None], shape)] = np.nan
    return image


def test_median_and_its_deviation_ignore_gaps():
    image = series()
    image[:, :, 0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = median_composite(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(result.image, np.nanmedian(image, axis=0), rtol=1e-6)
        mad = np.nanmedian(np.abs(image - np.nanmedian(image, axis=0)), axis=0)
        np.testing.assert_allclose(result.mad, mad, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(result.count, np.isfinite(image).sum(axis=0))
    assert np.isnan(result.image[:, 0, 0]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), dates=st.integers(3, 9), bands=st.integers(2, 5))
def test_geometric_median_minimises_the_summed_distance(seed, dates, bands):
    points = np.random.default_rng(seed).uniform(0, 1, (1, dates, bands))
    found = geometric_median(points, tolerance=1e-9, iterations=2000)[0]

    def cost(y):
        return np.linalg.norm(points[0] - y, axis=1).sum()

    best = min(
        [minimize(cost, points[0].mean(axis=0), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun]
        + [cost(point) for point in points[0]]
    )
    assert cost(found) <= best + 1e-5


def test_geometric_median_does_not_stick_to_a_data_point():
    # the mean of these is a data point that is not the median
    points = np.array([[[0.0, 0.0], [1.0, 0.3], [1.2, -0.3], [0.8, 0.0], [-3.0, 0.0]]])
    found = geometric_median(points, tolerance=1e-10, iterations=5000)[0]
    start = points[0].mean(axis=0)
    np.testing.assert_allclose(start, points[0, 0], atol=1e-12)
    cost = [np.linalg.norm(points[0] - y, axis=1).sum() for y in (found, start)]
    assert cost[0] < cost[1] - 1e-4
    # and it stays on a data point that is the median
    heavy = np.array([[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [5.0, 0.0], [0.0, 7.0]]])
    np.testing.assert_allclose(geometric_median(heavy)[0], [1.0, 1.0], atol=1e-4)


def test_geometric_median_of_few_observations():
    points = np.full((3, 4, 2), np.nan)
    points[1, 2] = [0.3, 0.4]
    points[2, 0], points[2, 3] = [0.2, 0.2], [0.4, 0.4]
    found = geometric_median(points)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [0.3, 0.4])
    np.testing.assert_allclose(found[2], [0.3, 0.3])


def test_geomedian_resists_clouds_that_the_mask_missed():
    rng = np.random.default_rng(1)
    surface = np.array([0.05, 0.08, 0.06, 0.3], np.float32)
    image = (surface[:, None, None] + rng.normal(0, 0.005, (9, 4, 10, 10))).astype(np.float32)
    image[:3] = 0.6 + rng.normal(0, 0.05, (3, 4, 10, 10))
    result = geomedian_composite(image)
    assert np.abs(result.image - surface[:, None, None]).max() < 0.03
    assert np.abs(np.nanmean(image, axis=0) - surface[:, None, None]).mean() > 0.1
    assert result.smad is not None
    assert result.smad.shape == (10, 10)
    quiet = geomedian_composite(image[3:])
    assert quiet.smad is not None
    assert quiet.smad.mean() < result.smad.mean()
    assert quiet.mad.mean() == pytest.approx(0.005 * 0.6745, rel=0.25)
    np.testing.assert_array_equal(result.count, 9)


def test_geomedian_drops_incomplete_observations():
    image = series(3)
    image[2, 1] = np.nan
    result = geomedian_composite(image)
    np.testing.assert_array_equal(result.count[0], np.isfinite(image).all(axis=1).sum(axis=0))
    without = geomedian_composite(np.delete(image, 2, axis=0))
    np.testing.assert_allclose(result.image, without.image, rtol=1e-5, equal_nan=True)


def test_best_pixel_is_an_observation():
    image = series(5)
    image[:, :, 1, 1] = np.nan
    dates = np.arange(8) * 10
    results = {
        "medoid": best_pixel_composite(image, "medoid"),
        "closest": best_pixel_composite(image, "closest", dates=dates, target=34),
        "clearest": best_pixel_composite(image, "clearest"),
    }
    for result in results.values():
        assert result.index is not None
        assert result.index[1, 1] == -1
        for row, col in np.ndindex(6, 7):
            if result.index[row, col] >= 0:
                np.testing.assert_array_equal(result.image[:, row, col], image[result.index[row, col], :, row, col])
    whole = np.isfinite(image).all(axis=1)
    expected = np.argmin(np.where(whole, np.abs(dates - 34)[:, None, None], 999), axis=0)
    np.testing.assert_array_equal(results["closest"].index, np.where(whole.any(axis=0), expected, -1))
    shares = np.array([0, 0, 0, 1, 0, 0, 0, 0.5])
    given_shares = best_pixel_composite(image, "clearest", clear_fractions=shares)
    assert given_shares.index is not None
    assert (given_shares.index[whole[3]] == 3).all()
    for row, col in np.ndindex(6, 7):  # the medoid by its definition
        spectra = image[whole[:, row, col], :, row, col]
        if len(spectra):
            costs = [np.linalg.norm(spectra - spectrum, axis=1).sum() for spectrum in spectra]
            np.testing.assert_array_equal(results["medoid"].image[:, row, col], spectra[int(np.argmin(costs))])


def test_wrong_arguments_are_sentences():
    with pytest.raises(ConfigurationError, match=r"\[T, C, H, W\]"):
        median_composite(np.zeros((3, 4, 5)))
    with pytest.raises(ConfigurationError, match="needs the dates"):
        best_pixel_composite(series(), "closest")
    with pytest.raises(ConfigurationError, match="one clear fraction"):
        best_pixel_composite(series(), "clearest", clear_fractions=np.zeros(3))
