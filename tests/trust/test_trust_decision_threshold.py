"""The threshold of the largest F1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.trust.decision_threshold import threshold_of_largest_f1


def f1_at(said, truth, threshold):
    called = said > threshold
    return 2 * (called & truth).sum() / max((called.sum() + truth.sum()), 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(np.linspace(0, 1, 21).tolist()), st.booleans()), min_size=1, max_size=40))
def test_no_other_threshold_is_better(pixels):
    said, truth = np.array([p for p, _ in pixels]), np.array([t for _, t in pixels])
    if not truth.any():
        with pytest.raises(ConfigurationError, match="No pixel is of the class"):
            threshold_of_largest_f1(said, truth)
        return
    found = threshold_of_largest_f1(said, truth)
    best = max(f1_at(said, truth, t) for t in np.linspace(0.01, 0.99, 99))
    assert found.f1 == pytest.approx(f1_at(said, truth, found.value))
    assert found.f1 >= best - 1e-12
    assert 0.001 <= found.value <= 0.999
    assert found.pixels == len(said)


def test_figures_are_those_at_the_threshold():
    found = threshold_of_largest_f1(np.array([0.9, 0.8, 0.4, 0.3, 0.2]), np.array([True, True, False, False, True]))
    assert found.value == pytest.approx(0.5)
    assert (found.precision, found.recall) == (1.0, pytest.approx(2 / 3))


def test_a_threshold_lies_half_way_where_a_half_is_worse():
    found = threshold_of_largest_f1(np.array([0.95, 0.9, 0.8, 0.7]), np.array([True, True, False, False]))
    assert found.value == pytest.approx(0.85)
    assert found.f1 == 1.0
