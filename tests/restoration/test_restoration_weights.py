"""Filled pixels count by how sure they are when trees learn from them."""

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble
from ecumene.restoration.weights import reliability_weights
from ecumene.training.fit_trees import fit_boosting, fit_forest


def test_sure_pixels_count_fully_and_unknown_ones_not_at_all():
    weights = reliability_weights(np.array([[0.0, 0.1, np.nan], [0.0, 0.2, 0.1]]), np.array([0.1, 0.2]))
    assert weights == pytest.approx([1.0, 0.5, 0.0])
    with pytest.raises(ConfigurationError, match="positive spread"):
        reliability_weights(np.zeros((2, 3)), np.zeros(2))


def test_a_forest_believes_sure_pixels():
    """Two answers to the same features: the weighty one wins."""
    x = np.zeros((200, 1), np.float32)
    y = np.repeat([0, 1], 100)
    for heavy in (0, 1):
        weight = np.where(y == heavy, 1.0, 0.1)
        arrays = fit_forest(x, y, n_classes=2, n_trees=10, n_jobs=1, sample_weight=weight)
        assert TreeWalker(TreeEnsemble.from_arrays(arrays))(x[:1])[0, heavy] > 0.8


@pytest.mark.parametrize("fit", [fit_forest, fit_boosting])
def test_weights_of_the_wrong_shape_are_refused(fit):
    x, y = np.zeros((20, 1), np.float32), np.repeat([0, 1], 10)
    for weight in (np.ones(3), -np.ones(20), np.zeros(20), np.full(20, np.nan)):
        with pytest.raises(ConfigurationError, match="not all 0"):
            fit(x, y, n_classes=2, n_trees=2, n_jobs=1, sample_weight=weight)
