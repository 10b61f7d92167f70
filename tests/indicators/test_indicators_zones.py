"""Accuracy of local climate zones against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.zone_accuracy import zone_metrics


def test_by_hand() -> None:
    reference = np.array([0, 0, 5, 9, 10, 12, 16, 16, -1])
    prediction = np.array([0, 1, 5, 13, 10, 8, 16, 16, 3])
    figures = zone_metrics(reference, prediction)
    assert figures == {"oa_built": 2 / 4, "oa_natural": 3 / 4, "oa_built_or_natural": 6 / 8}


def test_weights_count_what_an_error_keeps() -> None:
    similarity = np.eye(17)
    similarity[0, 1] = 0.5
    figures = zone_metrics(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), similarity)
    assert figures["weighted_accuracy"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)


@given(st.lists(st.tuples(st.integers(0, 16), st.integers(0, 16)), min_size=1, max_size=60))
def test_limits_of_the_weights(pairs: list[tuple[int, int]]) -> None:
    reference, prediction = np.array(pairs).T
    overall = float((reference == prediction).mean())
    assert zone_metrics(reference, prediction, np.eye(17))["weighted_accuracy"] == pytest.approx(overall)
    assert zone_metrics(reference, prediction, np.ones((17, 17)))["weighted_accuracy"] == pytest.approx(1.0)
    figures = zone_metrics(reference, prediction)
    assert figures["oa_built_or_natural"] >= overall - 1e-12


def test_nothing_of_a_kind_is_none() -> None:
    figures = zone_metrics(np.array([3]), np.array([3]))
    assert figures["oa_natural"] is None
    assert figures["oa_built"] == 1.0


@pytest.mark.parametrize("similarity", [np.eye(16), np.full((17, 17), 2.0), np.zeros((17, 17))])
def test_wrong_weights_are_refused(similarity: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="17 x 17 numbers"):
        zone_metrics(np.array([3]), np.array([3]), similarity)
