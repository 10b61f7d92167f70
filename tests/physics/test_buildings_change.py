"""Heights of buildings and their change: honest error bars, tilt removed, volumes with their error."""

import numpy as np
import pytest
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.physics.buildings import heights as building_module
from ecumene.physics.buildings.change import changed_objects, height_change, robust_plane, volume_change
from ecumene.physics.buildings.heights import building_heights, heights_of_points


def town():
    """Labels and true surface of six blocks on sloping ground."""
    labels = np.zeros((60, 90), int)
    surface = 100.0 + np.zeros(labels.shape)
    for k, (row, col, height) in enumerate(
        [(5, 5, 10), (5, 35, 25), (5, 65, 6), (35, 5, 15), (35, 35, 8), (35, 65, 40)]
    ):
        block = np.s_[row : row + 15, col : col + 15]
        labels[block] = k + 1
        surface[block] += height
    return labels, surface, np.array([10, 25, 6, 15, 8, 40.0])


def test_heights_of_buildings_have_honest_errors():
    labels, surface, truth = town()
    scores = []
    for seed in range(80):
        noisy = surface + 1.5 * np.random.default_rng(seed).normal(size=surface.shape)
        found = building_heights(noisy, 1.5, labels)
        assert not found.outlier.any()
        scores.append((found.height_m - truth) / found.standard_deviation_m)
    scores = np.concatenate(scores)
    assert abs(scores.mean()) < 0.1
    assert scores.std() == pytest.approx(1.0, abs=0.08)
    assert list(found.labels) == [1, 2, 3, 4, 5, 6]
    assert np.allclose(found.ground_m, 100, atol=1)


def test_terrain_model_takes_the_place_of_the_ring():
    labels, surface, truth = town()
    found = building_heights(surface, 0.5, labels, ground_m=np.full(surface.shape, 98.0), ground_deviation_m=0.3)
    assert np.allclose(found.height_m, truth + 2)


def test_correlated_noise_widens_the_error():
    labels, surface, _ = town()
    alone = building_heights(surface, 1.0, labels)
    shared = building_heights(surface, 1.0, labels, correlated_pixels=25)
    assert np.allclose(shared.standard_deviation_m, 5 * alone.standard_deviation_m)


def test_buildings_without_data_or_height_are_flagged():
    labels, surface, _ = town()
    surface[labels == 2] = np.nan
    surface[labels == 3] = 100.0
    labels[labels == 4] = 0
    labels[40, 10] = 4
    found = building_heights(surface, 1.0, labels)
    flags = dict(zip(found.labels, found.flags, strict=True))
    assert flags[2] == building_module.INVALID
    assert flags[3] & building_module.NOT_HIGHER
    assert flags[4] & building_module.FEW_SAMPLES
    assert list(found.valid) == [True, False, True, True, True, True]
    assert np.isnan(found.height_m[1])


def test_points_give_heights_too():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 200)
    heights = np.repeat([50.0, 62.0, 75.0], 200) + rng.normal(size=600)
    heights[5] = np.nan
    found = heights_of_points(heights, 1.0, labels, [1, 2, 9], 50.0, 0.1)
    assert np.allclose(found.height_m[:2], [12, 25], atol=0.4)
    assert list(found.samples) == [200, 200, 0]
    assert found.flags[2] == building_module.INVALID


def test_plane_is_found_in_spite_of_new_buildings():
    rng = np.random.default_rng(2)
    rows, cols = np.indices((80, 100))
    tilt = 0.8 + 0.02 * rows - 0.015 * cols
    values = tilt + 0.3 * rng.normal(size=tilt.shape)
    values[20:40, 20:60] += 12
    plane, residual = robust_plane(values, np.ones(values.shape, bool))
    assert np.abs(plane - tilt).max() < 0.06
    assert residual.size == values.size


def test_no_change_is_seldom_significant_and_a_new_house_always():
    _, surface, _ = town()
    rng = np.random.default_rng(3)
    second = surface + 1.0 + 0.02 * np.indices(surface.shape)[1]  # a shift and a tilt that are no change
    second[50:58, 20:34] += 9.0
    first = surface + 0.8 * rng.normal(size=surface.shape)
    second = second + 1.2 * rng.normal(size=surface.shape)
    found = height_change(first, second, 0.8, 1.2, least_m=0.0)
    new = np.zeros(surface.shape, bool)
    new[50:58, 20:34] = True
    assert found.significant[new].mean() > 0.95
    assert found.significant[~new].mean() == pytest.approx(0.0027, abs=0.003)
    assert found.error_scale == pytest.approx(1.0, abs=0.05)
    assert np.median(found.standard_deviation_m) == pytest.approx(np.hypot(0.8, 1.2), rel=0.05)
    # p-values of unchanged ground are uniform
    assert np.mean(found.probability[~new] < 0.1) == pytest.approx(0.1, abs=0.015)
    objects = changed_objects(found, 4.0, least_area_m2=100.0)
    assert len(objects.area_m2) == 1
    assert objects.area_m2[0] == pytest.approx(new.sum() * 4.0, rel=0.05)
    assert objects.mean_change_m[0] == pytest.approx(9.0, abs=0.4)
    assert objects.probability[0] < 1e-10
    assert np.array_equal(np.unique(objects.labels), [0, 1])


def test_optimistic_errors_are_enlarged_by_what_stable_ground_shows():
    rng = np.random.default_rng(4)
    first, second = 3.0 * rng.normal(size=(2, 60, 60))
    found = height_change(first, second, 1.0, 1.0)
    assert found.error_scale == pytest.approx(3.0, rel=0.05)
    assert found.significant.mean() < 0.01


@pytest.mark.parametrize("kernel", [1, 5])
def test_volume_errors_hold_with_correlated_noise(kernel):
    labels, surface, _ = town()
    grown = np.where(labels == 3, 4.0, 0.0)
    scores = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(2, *surface.shape))
        if kernel > 1:
            noise = ndimage.uniform_filter(noise, (0, kernel, kernel), mode="wrap") * kernel
        change = height_change(
            surface + noise[0], surface + grown + noise[1], 1.0, 1.0, remove_tilt=False, k=2.0, least_m=0.0
        )
        volume = volume_change(change, 2.0, labels, correlation_pixels=kernel**2)
        scores.append(
            (volume.volume_m3 - np.where(np.arange(1, 7) == 3, 4.0 * 225 * 2, 0)) / volume.volume_deviation_m3
        )
    # a boxcar of k x k shares its error with k^2 pixels; at the rim of an object with fewer
    assert np.std(scores) == pytest.approx(1.0 if kernel == 1 else 0.85, abs=0.07)


def test_shared_shift_cannot_be_averaged_away():
    change = height_change(np.zeros((10, 10)), np.ones((10, 10)), 0.1, 0.1, remove_tilt=False)
    volume = volume_change(change, 1.0, np.ones((10, 10), int), shared_deviation_m=0.5)
    assert volume.volume_deviation_m3[0] == pytest.approx(np.hypot(50.0, np.sqrt(100 * 0.02)), rel=1e-6)


def test_bad_heights_are_refused_in_a_sentence():
    flat = np.zeros((6, 6))
    with pytest.raises(ContractError, match="one grid"):
        height_change(flat, np.zeros((5, 6)), 1.0, 1.0)
    with pytest.raises(ContractError, match="negative"):
        height_change(flat, flat, -1.0, 1.0)
    with pytest.raises(ContractError, match="both dates"):
        height_change(flat * np.nan, flat, 1.0, 1.0)
    with pytest.raises(ContractError, match="stable pixels"):
        height_change(flat, flat, 1.0, 1.0, stable=np.zeros(flat.shape, bool))
    with pytest.raises(ConfigurationError, match="significance"):
        height_change(flat, flat, 1.0, 1.0, k=0.0)
    change = height_change(flat, flat, 1.0, 1.0)
    with pytest.raises(ConfigurationError, match="Pixel area"):
        volume_change(change, 0.0, np.ones(flat.shape, int))
    with pytest.raises(ContractError, match="objects have the shape"):
        volume_change(change, 1.0, np.ones((2, 2), int))
    with pytest.raises(ContractError, match="no building"):
        building_heights(flat, 1.0, flat.astype(int))
    with pytest.raises(ContractError, match="shape"):
        building_heights(flat, 1.0, np.ones((2, 2), int))
    with pytest.raises(ConfigurationError, match="quantile"):
        building_heights(flat, 1.0, np.ones(flat.shape, int), quantile=1.0)
    with pytest.raises(ContractError, match="one label a point"):
        heights_of_points(np.zeros(3), 1.0, np.zeros(2), [1], 0.0)
