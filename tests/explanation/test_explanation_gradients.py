"""Integrated gradients add up, and are exact for linear models."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from explanation_models import make_network

from ecumene.core.errors import ConfigurationError, MissingDependencyError
from ecumene.explanation.gradients import integrated_gradients
from ecumene.explanation.scores import Scores


@pytest.mark.parametrize("name", ["unet", "regressor"])
def test_attributions_add_up_to_the_difference_from_the_mean_image(request, image, name):
    model = request.getfixturevalue(name)
    found = integrated_gradients(model, image, None, (10, 12), 0, steps=96)
    assert found.values.shape == image.shape
    assert found.score == pytest.approx(float(Scores(model)(image)[0, 0, 10, 12]), abs=1e-5)
    size = max(abs(found.score - found.reference), 1e-3)
    assert abs(found.error) < 0.03 * size
    assert found.values.sum() == pytest.approx(found.score - found.reference - found.error, abs=1e-4)


def test_a_pixel_network_attributes_to_its_own_pixel_only(regressor, image):
    found = integrated_gradients(regressor, image, None, (4, 5), 0)
    others = found.values.copy()
    others[..., 4, 5] = 0
    assert not others.any()
    assert found.values[..., 4, 5].any()


def test_series_and_missing_dates(series, image):
    stack = np.concatenate([image[..., :2, :3], 1.5 * image[..., :2, :3], np.full((1, 4, 2, 3), np.nan, np.float32)])
    found = integrated_gradients(series, stack, np.array([18000, 18100, 18200], np.float32), (1, 1), 2)
    assert found.values.shape == stack.shape
    assert np.isfinite(found.values).all()
    assert not found.values[2].any()
    assert abs(found.error) < 0.03 * max(abs(found.score - found.reference), 1e-3)


def test_the_same_twice(unet, image):
    first, again = (integrated_gradients(unet, image, None, (3, 3), 1, steps=8).values for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_what_is_not_possible_says_so(forest, image, monkeypatch):
    with pytest.raises(ConfigurationError, match="needs a network, but the model test-forest is made of trees"):
        integrated_gradients(forest, image, None, (0, 0), 0)
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingDependencyError, match=r"ecumene\[explain\]"):
        integrated_gradients(make_network("mlp"), image, None, (0, 0), 0)
