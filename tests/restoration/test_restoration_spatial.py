"""Filling from the clear surroundings of one date."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.spatial import SpatialFill, interpolate
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
