"""Precision and recall of generated images, in cases whose answer is known."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.restoration.generative import image_features, precision_recall


def test_cases_whose_answer_is_known():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, real + 100.0) == (0.0, 0.0)
    precision, recall = precision_recall(real, rng.normal(size=(300, 4)))
    assert min(precision, recall) > 0.7
    # Every made image is good, and all are alike: precise and without diversity.
    alike = real[:1] + 1e-3 * rng.normal(size=(50, 4))
    precision, recall = precision_recall(real, alike)
    assert precision > 0.9
    assert recall < 0.1
    # All of the real ones and as much nonsense again: half as precise.
    mixed = np.concatenate((real, 50.0 + 9.0 * rng.normal(size=(300, 4))))
    precision, recall = precision_recall(real, mixed)
    assert precision == pytest.approx(0.5, abs=0.02)
    assert recall == 1.0


def test_features_tell_blurred_images_from_sharp_ones():
    rng = np.random.default_rng(1)
    sharp = rng.uniform(size=(40, 2, 16, 16))
    blurred = (sharp + np.roll(sharp, 1, 2) + np.roll(sharp, 1, 3) + np.roll(sharp, (1, 1), (2, 3))) / 4
    features = image_features(sharp)
    assert features.shape == (40, 16 * 6 * 2)
    same, _ = precision_recall(features, image_features(rng.uniform(size=(40, 2, 16, 16))))
    other, _ = precision_recall(features, image_features(blurred))
    assert same > other


def test_too_few_images_are_a_sentence():
    with pytest.raises(ConfigurationError, match="more than 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ConfigurationError, match="rows and columns"):
        image_features(np.zeros((2, 1, 4, 4)))
    with pytest.raises(ConfigurationError, match="without data"):
        image_features(np.full((2, 1, 16, 16), np.nan))
