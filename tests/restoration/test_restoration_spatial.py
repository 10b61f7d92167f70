"""Filling from the clear surroundings of one date."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.spatial import CELL, REACH, SpatialFill, cells_of, fill_cells, interpolate
from ecumene.simulate.noise import fractal_field


def scene(seed=0, size=96):
    field = fractal_field(np.random.default_rng(seed), (size, size), longest=40.0, exponent=3.0)
    return np.stack([0.2 + 0.03 * field, 0.3 + 0.05 * field]).astype(np.float32)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_interpolation_keeps_what_is_known_and_stays_in_its_range(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.1, 0.6, (2, height, width)).astype(np.float32)
    known = rng.random((height, width)) < 0.3
    known.flat[0] = True
    result = interpolate(image, known)
    assert np.allclose(result[:, known], image[:, known], atol=1e-6)
    for band in range(2):
        assert result[band].min() >= image[band][known].min() - 1e-5
        assert result[band].max() <= image[band][known].max() + 1e-5


def test_errors_grow_with_the_distance_as_predicted():
    image = scene()
    method = SpatialFill.fit(image, np.ones(image.shape[1:], bool))
    known = ~cover_field(image.shape[1:], 0.4, 99, longest=30.0)
    mean, deviation = method.fill(image, known)
    z = (mean - image)[:, ~known] / deviation[:, ~known]
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.3)
    assert method.error(np.array([1.0]))[0] < method.error(np.array([20.0]))[0]


def test_nothing_clear_is_nothing_known():
    image = scene()
    method = SpatialFill.fit(image, np.ones(image.shape[1:], bool))
    mean, _ = method.fill(image, np.zeros(image.shape[1:], bool))
    assert np.isnan(mean).all()
    with pytest.raises(LabelError, match="Too little"):
        SpatialFill.fit(image, np.zeros(image.shape[1:], bool))
    with pytest.raises(ConfigurationError, match="no known pixel"):
        interpolate(image, np.zeros(image.shape[1:], bool))


def test_parts_of_a_scene_give_what_the_whole_gives():
    image = scene(size=331)[:, :, :300]
    clear = ~cover_field(image.shape[1:], 0.7, 3, longest=90.0)
    method = SpatialFill.fit(image, clear)
    mean, deviation = method.fill(image, clear)
    coarse = fill_cells(*cells_of(image, clear))
    for top, left, bottom, right in ((0, 0, 224, 192), (96, 96, 331, 300), (0, 128, 331, 300)):
        part = (slice(None), slice(top, bottom), slice(left, right))
        cells = coarse[:, top // CELL : -(-bottom // CELL), left // CELL : -(-right // CELL)]
        found = method.fill(image[part], clear[part[1:]], cells)
        inner = [slice(REACH if first else 0, -REACH if last else None)
                 for first, last in ((top > 0, bottom < 331), (left > 0, right < 300))]  # fmt: skip
        for whole, own in zip((mean, deviation), found, strict=True):
            assert np.array_equal(whole[part][:, *inner], own[:, *inner], equal_nan=True)


def test_what_is_out_of_reach_stays_unknown():
    image = scene(size=400)
    clear = np.zeros((400, 400), bool)
    clear[:, :100] = True
    mean, deviation = SpatialFill.fit(image[:, :, :100], clear[:, :100]).fill(image, clear)
    assert np.isfinite(mean[:, :, : 100 + REACH - 1]).all()
    assert np.isnan(mean[:, :, 100 + REACH :]).all()
    assert np.isnan(deviation[:, :, 100 + REACH :]).all()
