import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.trust import measures

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)


def draw(seed, n=200, classes=3):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), n)
    return probabilities, generator.integers(0, classes, n)


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES)
def test_auroc_against_all_pairs(inside, outside):
    wanted = np.mean([[(o > i) + 0.5 * (o == i) for i in inside] for o in outside])
    assert measures.auroc(np.array(inside), np.array(outside)) == pytest.approx(wanted)


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES)
def test_fpr_against_all_thresholds(inside, outside):
    low, high = np.array(inside), np.array(outside)
    ok = [t for t in high if np.mean(high >= t) >= 0.95 - 1e-12]
    wanted = np.mean(low >= max(ok))
    assert measures.fpr_at_tpr(low, high) == pytest.approx(wanted)


def test_auroc_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    inside, outside = generator.normal(size=300).round(1), generator.normal(1, 1, 200).round(1)
    wanted = roc_auc_score(np.r_[np.zeros(300), np.ones(200)], np.r_[inside, outside])
    assert measures.auroc(inside, outside) == pytest.approx(wanted)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), bins=st.sampled_from([1, 5, 15]))
def test_calibration_errors_against_loops(seed, bins):
    probabilities, target = draw(seed, 60)

    def error(confidence, right):
        found = 0.0
        for b in range(bins):
            low, high = b / bins, (b + 1) / bins
            inside = (confidence > low) & (confidence <= high) if b else confidence <= high
            if inside.any():
                found += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        return found

    top = error(probabilities.max(axis=1), probabilities.argmax(axis=1) == target)
    assert measures.expected_calibration_error(probabilities, target, bins) == pytest.approx(top, abs=1e-9)
    classwise = np.mean([error(probabilities[:, k], target == k) for k in range(3)])
    assert measures.classwise_calibration_error(probabilities, target, bins) == pytest.approx(classwise, abs=1e-9)


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_do_not():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), 40_000)
    target = (probabilities.cumsum(axis=1) > generator.random((40_000, 1))).argmax(axis=1)
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert measures.expected_calibration_error(probabilities, target) < 0.01
    assert measures.expected_calibration_error(sharp, target) > 0.1
    assert measures.classwise_calibration_error(probabilities, target) < 0.01
    assert measures.negative_log_likelihood(probabilities, target) < measures.negative_log_likelihood(sharp, target)
    assert measures.brier_score(probabilities, target) < measures.brier_score(sharp, target)


def test_reliability_diagram():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.0, 1.0]])
    diagram = measures.reliability_diagram(probabilities, np.array([0, 1, 0, 1]), bins=2)
    assert diagram.count == (0, 4)
    assert diagram.confidence == (None, pytest.approx(0.8125))
    assert diagram.accuracy == (None, pytest.approx(0.75))
    assert diagram.error == pytest.approx(0.0625)
    assert json.loads(json.dumps(diagram.to_dict(), allow_nan=False))["count"] == [0, 4]


def test_scores_by_hand():
    probabilities, target = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]), np.array([0, 1])
    assert measures.brier_score(probabilities, target) == pytest.approx((0.09 + 0.04 + 0.01) / 2)
    assert measures.negative_log_likelihood(probabilities, target) == pytest.approx(-np.log(0.7) / 2)
    assert np.isfinite(measures.negative_log_likelihood(probabilities, np.array([0, 2])))
    assert measures.gaussian_negative_log_likelihood(np.zeros(1), np.ones(1), np.ones(1)) == pytest.approx(
        0.5 * np.log(2 * np.pi) + 0.5
    )
    sets = np.array([[True, False, True], [False, True, False]])
    assert measures.set_coverage(sets, np.array([1, 1])) == 0.5
    assert measures.mean_set_size(sets) == 1.5
    assert measures.interval_coverage(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.5


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_risk_coverage(seed):
    generator = np.random.default_rng(seed)
    loss, doubt = generator.random(40), generator.permutation(40).astype(float)
    coverage, risk = measures.risk_coverage_curve(loss, doubt)
    order = np.argsort(doubt)
    for position in (0, 7, 39):
        assert risk[position] == pytest.approx(loss[order][: position + 1].mean())
        assert coverage[position] == pytest.approx((position + 1) / 40)
    assert measures.ause(loss, loss) == pytest.approx(0.0, abs=1e-12)
    assert measures.ause(loss, doubt) >= -1e-12
    assert measures.ause(loss, -loss) >= measures.ause(loss, doubt) - 1e-12
    shuffled = generator.permutation(40)
    ties = np.round(doubt / 10)
    assert measures.area_under_risk_coverage(loss, ties) == pytest.approx(
        measures.area_under_risk_coverage(loss[shuffled], ties[shuffled])
    )


def test_refusals():
    with pytest.raises(ConfigurationError, match=r"\[N, K\]"):
        measures.brier_score(np.ones(3), np.zeros(3, int))
    with pytest.raises(ConfigurationError, match="0 to 1"):
        measures.brier_score(np.ones((3, 2)), np.array([0, 1, 2]))
    with pytest.raises(ConfigurationError, match="without NaN"):
        measures.auroc(np.array([np.nan]), np.ones(1))
    with pytest.raises(ConfigurationError, match="losses"):
        measures.ause(np.ones(3), np.ones(2))
