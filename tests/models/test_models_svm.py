"""Support vector machines as arrays: equal to the library that fitted them, and harmless whatever the arrays say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.models.svm import UNSEEN, SupportVectorMachine, machine_from_sklearn, votes
from ecumene.objectives import Segmentation
from ecumene.training.fit_svm import fit_svm

BANDS = 5


def cloud(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(0, 2, (classes, BANDS))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    return (100 * (centres[y] + rng.normal(0, 1, (count, BANDS))) + 1000).astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_pairs_and_classes_are_those_of_sklearn(classes):
    x, y = cloud(150, classes)
    mean, std = x.mean(axis=0), x.std(axis=0)
    fitted = SVC(C=10, gamma=0.3, decision_function_shape="ovo").fit((x - mean) / std, y)
    machine = machine_from_sklearn(fitted, mean, std, 1.0, classes)
    new, _ = cloud(500, classes, seed=1)
    z = ((new - mean) / std).astype(np.float32)
    distance = ((z[:, None] - machine.support) ** 2).sum(axis=2)
    values = np.exp(-0.3 * distance) @ machine.pairs + machine.bias
    expected = fitted.decision_function(z)
    # For two classes the library's value speaks for the second one.
    expected = -expected[:, None] if classes == 2 else expected
    assert np.abs(values - expected).max() < 1e-4
    clear = np.abs(expected).min(axis=1) > 1e-3
    tie = np.sort(votes(expected, classes), axis=1)
    clear &= tie[:, -1] - tie[:, -2] > 0.5
    assert clear.mean() > 0.8
    assert np.array_equal(machine(new).argmax(axis=1)[clear], fitted.predict(z)[clear])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_votes_add_up_and_sums_only_break_ties(learned, seed):
    values = np.random.default_rng(seed).normal(0, 3, (20, learned * (learned - 1) // 2))
    scores = votes(values, learned)
    rounded = np.round(scores)
    assert np.abs(scores - rounded).max() < 1 / 3
    assert (rounded.sum(axis=1) == values.shape[1]).all()
    assert ((rounded >= 0) & (rounded <= learned - 1)).all()


def test_a_grid_search_learns_and_its_probabilities_are_no_boast():
    x, y = cloud(200, 3)
    new, truth = cloud(2000, 3, seed=2)
    machine = SupportVectorMachine.from_arrays(fit_svm(x, y, n_classes=3))
    logits = machine(new)
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    right = probability.argmax(axis=1) == truth
    assert right.mean() > 0.72
    assert probability.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.08)


def test_the_same_rows_give_the_same_arrays_and_limits_hold():
    x, y = cloud(300, 3)
    one, other = (fit_svm(x, y, n_classes=3, seed=4, limit=60, search_limit=30) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len(one["support"]) <= 60


def test_classes_unseen_in_training_come_last():
    x, y = cloud(60, 2)
    machine = SupportVectorMachine.from_arrays(fit_svm(x, 2 * y, n_classes=4, cost=(1.0,), gamma=(1.0,)))
    logits = machine(x)
    assert (logits[:, [1, 3]] == UNSEEN).all()
    assert logits[:, [0, 2]].min() > UNSEEN


def test_missing_values_count_as_the_mean():
    x, y = cloud(60, 2)
    x[::3, 1] = np.nan
    arrays = fit_svm(x, y, n_classes=2, cost=(1.0,), gamma=(1.0,))
    assert arrays["mean"][1] == pytest.approx(np.nanmean(x[:, 1]), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"y": np.zeros(30, int)}, LabelError, "at least two classes"),
        ({"x": np.full((30, BANDS), np.nan)}, LabelError, "no value in any training pixel"),
        ({"folds": 1}, ConfigurationError, "two folds"),
        ({"gamma": (-1.0,)}, ConfigurationError, "positive cost and gamma"),
    ],
)
def test_what_cannot_be_learned_gets_a_sentence(change, error, sentence):
    x, y = cloud(30, 2)
    with pytest.raises(error, match=sentence):
        fit_svm(**({"x": x, "y": y, "n_classes": 2} | change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("support", np.zeros((3, BANDS), np.float32)),
        ("pairs", np.zeros((1, 1), np.float32)),
        ("classes", np.array([0, 9], np.int32)),
        ("classes", np.array([1, 0], np.int32)),
        ("classes", np.array([0], np.int32)),
        ("std", np.zeros(BANDS, np.float32)),
        ("kernel", np.array([np.inf, 1.0])),
        ("kernel", np.array([1.0])),
        ("bias", np.array([0.0])),
        ("n_classes", np.array([1], np.int32)),
    ],
)
def test_arrays_from_a_stranger_are_proved(name, value):
    x, y = cloud(40, 2)
    arrays = fit_svm(x, y, n_classes=2, cost=(1.0,), gamma=(1.0,))
    assert SupportVectorMachine.from_arrays(arrays).n_features == BANDS
    with pytest.raises(ModelError):
        SupportVectorMachine.from_arrays({**arrays, name: value})
    with pytest.raises(ModelError, match="lacks"):
        SupportVectorMachine.from_arrays({key: item for key, item in arrays.items() if key != name})


def test_a_bundle_is_read_back_and_tells_misfits(tmp_path):
    x, y = cloud(80, 3)
    arrays = fit_svm(x, y, n_classes=3, cost=(10.0,), gamma=(1.0,))
    bands = tuple(
        InputBand(
            sensor="rosis", level="DN", band=f"B{number:03d}", unit="DN", mean=float(x[:, number].mean()), std=100.0
        )
        for number in range(BANDS)
    )
    spec = ModelSpec(
        name="machine",
        created="2026-01-01T00:00:00+00:00",
        kind="svm",
        architecture={"name": "hsi-svm", "arguments": {"n_features": BANDS, "n_dates": 1}},
        objective=Segmentation(Legend.from_names(["a", "b", "c"])).to_config(),
        inputs=bands,
        temporal=False,
        resolution_m=1.3,
    )
    model = Model(spec=spec, weights=arrays)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    image = x[:24].T.reshape(1, BANDS, 4, 6).copy()
    image[0, 2, 1, 1] = np.nan
    output, score = loaded.executor().run(image)
    assert np.array_equal(output, model.executor("onnx").run(image)[0])
    expected = SupportVectorMachine.from_arrays(arrays)(x[:24]).reshape(4, 6, 3)
    there = np.isfinite(image[0, 2])
    assert np.allclose(np.moveaxis(output[0], 0, -1)[there], expected[there], atol=1e-5)
    assert not output[0, :, 1, 1].any()
    assert score.shape == (1, 4, 6)
    assert loaded.detector_features(image).shape == (1, BANDS, 4, 6)
    with pytest.raises(ConfigurationError, match="fp32"):
        loaded.executor(precision="bf16")
    fewer = spec.model_copy(update={"inputs": bands[:-1]})
    with pytest.raises(ModelError, match="5 features"):
        Model(spec=fewer, weights=arrays).executor()
