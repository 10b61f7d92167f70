import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.trust.temperature import fit_temperature, negative_log_likelihood_of


def draw(seed, temperature, n=4000, classes=4):
    """Logits whose targets are drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 3
    noise = generator.gumbel(size=logits.shape)
    return logits, (logits / temperature + noise).argmax(axis=1)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.4, 1.0, 2.5, 5.0]))
def test_finds_the_temperature_that_made_the_labels(seed, temperature):
    logits, target = draw(seed, temperature)
    assert fit_temperature(logits, target) == pytest.approx(temperature, rel=0.15)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000))
def test_no_other_temperature_is_better(seed):
    logits, target = draw(seed, 1.7, n=200)
    found = fit_temperature(logits, target)
    best = negative_log_likelihood_of(logits, target, found)
    for other in np.geomspace(0.1, 10, 60):
        assert best <= negative_log_likelihood_of(logits, target, other) + 1e-9


def test_shift_and_precision_do_not_matter():
    logits, target = draw(0, 2.0)
    found = fit_temperature(logits, target)
    shifted = logits + np.random.default_rng(1).normal(size=(len(logits), 1)) * 50
    assert fit_temperature(shifted, target) == pytest.approx(found, rel=1e-5)
    assert fit_temperature(logits.astype(np.float32), target.astype(np.uint8)) == pytest.approx(found, rel=1e-5)


def test_a_missing_class_is_fine_and_a_perfect_network_stays_bounded():
    logits, target = draw(0, 2.0)
    keep = target != 3
    assert fit_temperature(logits[keep], target[keep]) > 0
    perfect = np.eye(3)[[0, 1, 2, 0]] * 4
    assert 0.1 <= fit_temperature(perfect, np.array([0, 1, 2, 0])) < 0.12


@pytest.mark.parametrize(
    ("logits", "target", "error", "sentence"),
    [
        (np.zeros((4, 3)), [0, 1, 2, 0], ConfigurationError, "learned nothing"),
        (np.full((4, 3), np.nan), [0, 1, 2, 0], ConfigurationError, "not finite"),
        (np.eye(3), [1, 1, 1], LabelError, "at least two classes"),
        (np.eye(3), [0, 1, 3], LabelError, "0 to 2"),
        (np.eye(3), [0, 1, -1], LabelError, "0 to 2"),
        (np.eye(3), [0.0, 1.0, 2.0], LabelError, "class indices"),
        (np.empty((0, 3)), np.empty(0, int), LabelError, "no labelled pixels"),
        (np.eye(3), [0, 1], ConfigurationError, r"\[N, K\]"),
        (np.zeros((3, 1)), [0, 0, 0], ConfigurationError, r"\[N, K\]"),
    ],
)
def test_refusals(logits, target, error, sentence):
    with pytest.raises(error, match=sentence):
        fit_temperature(logits, np.asarray(target))
