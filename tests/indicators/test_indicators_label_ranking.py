"""Measures of a ranking of labels, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics

from ecumene.core.errors import LabelError
from ecumene.indicators.label_ranking import RANKING_METRICS, ranking_metrics
from ecumene.indicators.scene_accuracy import label_metrics

SHAPES = st.tuples(st.integers(1, 12), st.integers(2, 6))


@settings(deadline=None)
@given(st.data(), SHAPES)
def test_as_scikit_learn(data, shape):
    truth = data.draw(npst.arrays(np.int64, shape, elements=st.integers(0, 1)))
    score = data.draw(npst.arrays(np.float64, shape, elements=st.integers(0, 4).map(float)))
    got = ranking_metrics(truth, score)
    assert got["coverage"] == pytest.approx(metrics.coverage_error(truth, score))
    assert got["ranking_loss"] == pytest.approx(metrics.label_ranking_loss(truth, score))
    want = metrics.label_ranking_average_precision_score(truth, score)
    assert got["ranking_average_precision"] == pytest.approx(want)
    assert set(got) == set(RANKING_METRICS)


def test_by_hand():
    truth = np.array([[1, 0, 0], [0, 1, 1], [-1, 1, 1]])
    score = np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.1], [0.0, 0.0, 0.0]])
    got = ranking_metrics(truth, score)
    assert got["one_error"] == 0.5
    assert got["coverage"] == 2.0  # one rank, three ranks
    assert got["ranking_loss"] == 0.5  # none of two pairs, both of two
    assert got["ranking_average_precision"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_refuses_with_a_sentence():
    with pytest.raises(LabelError, match="same shape"):
        ranking_metrics(np.zeros((2, 3), int), np.zeros((2, 2)))
    with pytest.raises(LabelError, match="all its labels known"):
        ranking_metrics(np.full((2, 3), -1), np.zeros((2, 3)))


@settings(deadline=None)
@given(st.data(), SHAPES)
def test_micro_averages_as_scikit_learn(data, shape):
    truth = data.draw(npst.arrays(np.int64, shape, elements=st.integers(0, 1)))
    found = data.draw(npst.arrays(np.int64, shape, elements=st.integers(0, 1)))
    got = label_metrics(truth, found)
    for name, want in (
        ("f1", metrics.f1_score(truth, found, average="micro", zero_division=1.0)),
        ("f2", metrics.fbeta_score(truth, found, beta=2, average="micro", zero_division=1.0)),
        ("precision", metrics.precision_score(truth, found, average="micro", zero_division=0.0)),
        ("recall", metrics.recall_score(truth, found, average="micro", zero_division=0.0)),
    ):
        if truth.any() or found.any():
            assert got[f"micro_{name}"] == pytest.approx(want)
