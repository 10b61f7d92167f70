"""Measures of whole images against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ecumene.core.errors import LabelError
from ecumene.indicators.scene_accuracy import CLASS_METRICS, LABEL_METRICS, class_metrics, label_metrics


def draw(seed=0, shape=(200, 6)):
    generator = np.random.default_rng(seed)
    truth = (generator.random(shape) < 0.4).astype(np.int64)
    found = np.where(generator.random(shape) < 0.8, truth, 1 - truth)
    truth[:, 0] = found[:, 0] = 1  # no image without any label
    return truth, found


def test_classes_as_in_scikit_learn():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 4, 300)
    found = np.where(generator.random(300) < 0.7, truth, generator.integers(0, 4, 300))
    figures = class_metrics(truth, found, 4)
    assert figures["overall_accuracy"] == pytest.approx(metrics.accuracy_score(truth, found))
    assert figures["average_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, found))
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(truth, found, average="macro"))
    assert figures["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, found))
    assert set(CLASS_METRICS) < set(figures)
    assert class_metrics(truth, found, 5)["per_class"]["f1"][4] is None


@pytest.mark.parametrize(("ours", "theirs"), [("example", "samples"), ("label", "macro")])
def test_several_labels_as_in_scikit_learn(ours, theirs):
    truth, found = draw()
    figures = label_metrics(truth, found)
    for name, beta in (("f1", 1), ("f2", 2)):
        wanted = metrics.fbeta_score(truth, found, beta=beta, average=theirs)
        assert figures[f"{ours}_{name}"] == pytest.approx(wanted)
    assert figures[f"{ours}_precision"] == pytest.approx(metrics.precision_score(truth, found, average=theirs))
    assert figures[f"{ours}_recall"] == pytest.approx(metrics.recall_score(truth, found, average=theirs))
    assert figures["micro_f1"] == pytest.approx(metrics.f1_score(truth, found, average="micro"))
    assert figures["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, found))
    assert figures["subset_accuracy"] == pytest.approx(metrics.accuracy_score(truth, found))
    assert set(LABEL_METRICS) < set(figures)


def test_nothing_to_find_and_nothing_found_is_right():
    truth, found = np.array([[0, 0], [1, 0]]), np.array([[0, 0], [1, 0]])
    assert label_metrics(truth, found)["example_f1"] == 1.0
    assert label_metrics(truth, np.array([[1, 0], [1, 0]]))["example_f1"] == 0.5
    assert label_metrics(truth, found)["label_f1"] == 1.0  # the label that never occurs does not count


def test_unknown_labels_count_nowhere():
    truth, found = draw()
    hidden = truth.copy()
    hidden[:, 3] = -1
    keep = [0, 1, 2, 4, 5]
    for name, value in label_metrics(truth[:, keep], found[:, keep]).items():
        if isinstance(value, float):
            assert label_metrics(hidden, found)[name] == pytest.approx(value), name
    with pytest.raises(LabelError, match="known label"):
        label_metrics(np.full((3, 2), -1), np.zeros((3, 2), int))
    with pytest.raises(LabelError, match="same shape"):
        label_metrics(truth, found[:, :2])
