import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.indicators.accuracy import (
    accuracy_measures,
    accuracy_report,
    accuracy_table,
    block_bootstrap,
    confusion_matrix,
    wilson_interval,
)
from ecumene.indicators.regression import regression_report

pairs = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=2, max_size=60)
    )
)


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_measures_equal_scikit_learn(data):
    from sklearn import metrics

    k, listed = data
    truth, guess = (np.array(column) for column in zip(*listed, strict=True))
    matrix = confusion_matrix(truth, guess, k)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, guess, labels=np.arange(k)))
    got = accuracy_measures(matrix)
    assert got["overall_accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro", zero_division=0))
    assert got["mean_iou"] == pytest.approx(metrics.jaccard_score(truth, guess, average="macro", zero_division=0))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, guess, labels=np.arange(k), zero_division=np.nan
    )
    np.testing.assert_allclose(got["users_accuracy"], precision)
    np.testing.assert_allclose(got["producers_accuracy"], recall)
    seen = np.isin(np.arange(k), truth) | np.isin(np.arange(k), guess)
    np.testing.assert_allclose(got["f1"][seen], np.nan_to_num(f1)[seen])
    assume(len(set(truth.tolist()) | set(guess.tolist())) > 1)
    assert got["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, guess), abs=1e-12)


def test_rows_are_the_reference():
    matrix = confusion_matrix([0, 0, 1, -1, 1], [1, 1, 1, 0, -1], 2)
    assert matrix.tolist() == [[0, 2], [0, 1]]
    with pytest.raises(ConfigurationError, match="there are 2 classes"):
        confusion_matrix([0, 2], [0, 0], 2)
    with pytest.raises(ConfigurationError, match="same number"):
        confusion_matrix([0, 1], [0], 2)


def test_wilson_against_published_values_and_coverage():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81/263 and 0/20.
    low, high = wilson_interval([81, 0], [263, 20])
    np.testing.assert_allclose(low, [0.2553, 0.0], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1611], atol=5e-5)
    k = np.arange(101)
    low, high = wilson_interval(k, 100)
    for p in (0.1, 0.5, 0.9):
        assert 0.93 < binom.pmf(k, 100, p)[(low <= p) & (p <= high)].sum() < 0.97
    assert np.isnan(wilson_interval(0, 0)[0])


def test_block_bootstrap_is_wider_than_wilson_for_dependent_pixels():
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(40), 50)
    truth = rng.integers(0, 2, 40).repeat(50)
    wrong = (rng.random(40) < 0.2).repeat(50)  # whole blocks are wrong
    guess = np.where(wrong, 1 - truth, truth)
    report = accuracy_report(truth, guess, ["a", "b"], blocks=blocks, seed=1)
    wilson = np.diff(report.wilson["overall_accuracy"])[0]
    block = np.diff(report.bootstrap["overall_accuracy"])[0]
    # 50 equal pixels a block: the standard error is sqrt(50) times larger.
    assert block / wilson == pytest.approx(np.sqrt(50), rel=0.25)
    assert report.n_blocks == 40


def test_block_bootstrap_standard_error_for_independent_elements():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 2000)
    guess = np.where(rng.random(2000) < 0.9, truth, 1 - truth)
    low, high = block_bootstrap(truth, guess, np.arange(2000), 2, seed=3)["overall_accuracy"]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(0.9 * 0.1 / 2000), rel=0.12)
    again = block_bootstrap(truth, guess, np.arange(2000), 2, seed=3)["overall_accuracy"]
    assert (low, high) == again
    single = block_bootstrap(truth, guess, np.zeros(2000), 2)["overall_accuracy"]
    assert np.isnan(single).all()


def test_report_frames_and_json():
    report = accuracy_report([0, 0, 1, 1], [0, 1, 1, 1], ["a", "b", "never"], blocks=[0, 0, 1, 1])
    frame = report.to_frame()
    assert frame.loc["a", "producers_accuracy"] == 0.5
    assert frame.loc["b", "users_accuracy"] == pytest.approx(2 / 3)
    assert np.isnan(frame.loc["never", "f1"])
    assert report.matrix_frame().loc["a", "b"] == 1
    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert stored["overall"]["overall_accuracy"]["value"] == 0.75
    assert stored["classes"]["never"]["iou"] is None
    table = accuracy_table(report.matrix, report.class_names)
    assert table["overall_accuracy"] == 0.75
    assert table["per_class"]["b"] == {
        "reference_pixels": 2, "producers_accuracy": 1.0, "users_accuracy": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8), "iou": pytest.approx(2 / 3),
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 200))
def test_regression_equals_scikit_learn(seed, n):
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    truth = rng.normal(300, 5, n)
    guess = truth + rng.normal(0.5, 2, n)
    report = regression_report(np.append(truth, np.nan), np.append(guess, 1.0))
    assert report.count == n
    assert report.rmse == pytest.approx(metrics.root_mean_squared_error(truth, guess))
    assert report.mae == pytest.approx(metrics.mean_absolute_error(truth, guess))
    assert report.r2 == pytest.approx(metrics.r2_score(truth, guess), abs=1e-9)
    assert report.bias == pytest.approx((guess - truth).mean())


def test_regression_intervals_and_errors():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 3000)
    guess = truth + rng.normal(0, 0.5, 3000)
    report = regression_report(truth, guess, blocks=np.arange(3000))
    low, high = report.intervals["bias"]
    assert (high - low) / 3.92 == pytest.approx(0.5 / np.sqrt(3000), rel=0.12)
    assert report.intervals["r2"][0] < report.r2 < report.intervals["r2"][1]
    json.dumps(report.to_dict(), allow_nan=False)
    with pytest.raises(LabelError, match="no place"):
        regression_report([np.nan], [1.0])
