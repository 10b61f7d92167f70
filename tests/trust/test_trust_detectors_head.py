"""ViM, GradNorm, ReAct and ODIN against their formulas and on cases with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.trust.measures import auroc
from ecumene.trust.outlier import (
    GradNormDetector,
    OdinDetector,
    ReactDetector,
    VimDetector,
    build_detector,
)

CLASSES, HIDDEN = 3, 8


def plane(seed, n=400, off=0.0):
    """Activations in a plane of 8 dimensions (plus `off` out of it), and the logits of a linear head."""
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(HIDDEN, HIDDEN)))[0]
    hidden = 3.0 * generator.normal(size=(n, 2)) @ basis[:, :2].T + 0.05 * generator.normal(size=(n, HIDDEN))
    hidden = hidden + off * basis[:, 5]
    weight = np.random.default_rng(2).normal(size=(CLASSES, HIDDEN))
    bias = np.array([0.3, -0.2, 0.1])
    return np.concatenate([hidden @ weight.T + bias, hidden], axis=1), weight, bias


def test_vim_sees_what_leaves_the_plane():
    values, weight, bias = plane(0)
    detector = VimDetector.fit(values, n_logits=CLASSES, weight=weight, bias=bias, dimension=2)
    assert auroc(detector.score(plane(3)[0]), detector.score(plane(4, off=3.0)[0])) > 0.99
    inside = detector.score(plane(3)[0])
    energy = -np.log(np.exp(plane(3)[0][:, :CLASSES]).sum(axis=1))
    # In the plane the virtual logit is small beside the mean largest logit, to which alpha ties it.
    assert np.abs(inside - energy).mean() < 2.0 * values[:, :CLASSES].max(axis=1).mean()


def test_vim_by_hand():
    values, weight, bias = plane(0)
    detector = VimDetector.fit(values, n_logits=CLASSES, weight=weight, bias=bias, dimension=5)
    logits, hidden = values[:, :CLASSES], values[:, CLASSES:]
    origin = -np.linalg.pinv(weight) @ bias
    np.testing.assert_allclose(weight @ origin + bias, 0.0, atol=1e-9)
    shifted = hidden - origin
    directions = np.linalg.svd(shifted, full_matrices=False)[2]
    residual = np.linalg.norm(shifted - shifted @ directions[:5].T @ directions[:5], axis=1)
    alpha = logits.max(axis=1).mean() / residual.mean()
    wanted = alpha * residual - np.log(np.exp(logits).sum(axis=1))
    np.testing.assert_allclose(detector.score(values), wanted, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 1000))
def test_vim_does_not_depend_on_the_axes(seed):
    values, weight, bias = plane(0, 100)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(HIDDEN, HIDDEN)))[0]
    turned = np.concatenate([values[:, :CLASSES], values[:, CLASSES:] @ turn], axis=1)
    first = VimDetector.fit(values, n_logits=CLASSES, weight=weight, bias=bias, dimension=2)
    second = VimDetector.fit(turned, n_logits=CLASSES, weight=weight @ turn, bias=bias, dimension=2)
    np.testing.assert_allclose(first.score(values), second.score(turned), rtol=1e-3, atol=1e-3)


def test_vim_without_a_head_and_with_dead_units():
    values, _, _ = plane(0)
    assert np.isfinite(VimDetector.fit(values, n_logits=CLASSES).score(values)).all()
    values[:, CLASSES:] = 1.0
    assert np.isfinite(VimDetector.fit(values, n_logits=CLASSES).score(values)).all()


def test_gradnorm_is_the_norm_of_the_gradient():
    torch = pytest.importorskip("torch")
    values, weight, bias = plane(0, 20)
    scores = GradNormDetector.fit(values, n_logits=CLASSES).score(values)
    for position in range(20):
        matrix = torch.tensor(weight, requires_grad=True)
        logits = matrix @ torch.tensor(values[position, CLASSES:]) + torch.tensor(bias)
        # KL(u || softmax) up to a constant
        (-logits.log_softmax(0).mean()).backward()
        assert scores[position] == pytest.approx(-float(matrix.grad.abs().sum()), rel=1e-6)


def test_react_equals_energy_where_nothing_is_clipped():
    values, weight, bias = plane(0)
    hidden = values[:, CLASSES:]
    whole = ReactDetector.fit(hidden, weight=weight, bias=bias, percentile=100.0)
    np.testing.assert_allclose(
        whole.score(hidden), -np.log(np.exp(values[:, :CLASSES]).sum(axis=1)), rtol=1e-4, atol=1e-4
    )
    clipped = ReactDetector.fit(hidden, weight=weight, bias=bias)
    strong = hidden.copy()
    strong[:, 0] = 1e6
    stronger = strong.copy()
    stronger[:, 0] = 2e6
    np.testing.assert_array_equal(clipped.score(strong), clipped.score(stronger))


def test_odin_orders_as_its_probability_does():
    logits = np.random.default_rng(0).normal(size=(200, CLASSES)) * 4
    for temperature in (1.0, 10.0, 1000.0):
        scaled = np.exp(logits / temperature)
        probability = (scaled / scaled.sum(axis=1, keepdims=True)).max(axis=1)
        scores = OdinDetector.fit(logits, temperature=temperature).score(logits)
        np.testing.assert_allclose(scores, -temperature * np.log(probability * CLASSES), atol=1e-9)
    moved = OdinDetector.fit(logits).score(logits + 5.0)
    np.testing.assert_allclose(moved, OdinDetector.fit(logits).score(logits), atol=1e-6)


def test_maps_and_lists_get_the_same_scores():
    torch = pytest.importorskip("torch")
    values, weight, bias = plane(0, 40)
    hidden = values[:, CLASSES:]
    cases = [
        (VimDetector.fit(values, n_logits=CLASSES, weight=weight, bias=bias), values),
        (GradNormDetector.fit(values, n_logits=CLASSES), values),
        (ReactDetector.fit(hidden, weight=weight, bias=bias), hidden),
        (OdinDetector.fit(values[:, :CLASSES]), values[:, :CLASSES]),
    ]
    for detector, features in cases:
        maps = torch.from_numpy(features.astype(np.float32).T.reshape(1, -1, 5, 8).copy())
        with torch.inference_mode():
            mapped = detector.score_map(maps)
        np.testing.assert_allclose(mapped.numpy().ravel(), detector.score(features), rtol=2e-3, atol=2e-3)


def test_refusals():
    values, weight, bias = plane(0, 50)
    hidden = values[:, CLASSES:]
    with pytest.raises(ConfigurationError, match="n_logits is 0"):
        VimDetector.fit(values)
    with pytest.raises(ConfigurationError, match="1 to 7 dimensions"):
        VimDetector.fit(values, n_logits=CLASSES, dimension=8)
    with pytest.raises(ConfigurationError, match="The head has weights"):
        VimDetector.fit(values, n_logits=CLASSES, weight=weight[:, :2], bias=bias)
    with pytest.raises(ConfigurationError, match="needs the weight"):
        ReactDetector.fit(hidden)
    with pytest.raises(ConfigurationError, match="percentile"):
        ReactDetector.fit(hidden, weight=weight, bias=bias, percentile=20.0)
    with pytest.raises(ConfigurationError, match="temperature"):
        OdinDetector.fit(values, temperature=0.1)
    for broken in (np.nan, np.inf):
        with pytest.raises(ConfigurationError, match="not finite"):
            VimDetector.fit(np.full((50, 6), broken), n_logits=2)


def test_hostile_parts_are_refused():
    values, weight, bias = plane(0, 50)
    detector = VimDetector.fit(values, n_logits=CLASSES, weight=weight, bias=bias)
    config, arrays = detector.to_config(), detector.to_arrays()
    for options in ({}, {"n_logits": 0}, {"n_logits": "3"}, {"n_logits": 99}):
        with pytest.raises(ModelError, match="damaged"):
            build_detector({**config, "options": options}, arrays)
    for reads in ({"parts": []}, {"parts": "bands", "radius": 0, "pooling": "mean"}, [], "bands"):
        with pytest.raises(ModelError, match="damaged"):
            build_detector({**config, "reads": reads}, arrays)
    for entry in ({"radius": 99}, {"radius": True}, {"pooling": "sum"}, {"parts": ["a", "a"]}, {"parts": [1]}):
        with pytest.raises(ModelError, match="damaged"):
            build_detector({**config, "reads": {**config["reads"], **entry}}, arrays)
    odin = OdinDetector.fit(values[:, :CLASSES])
    with pytest.raises(ModelError, match="damaged"):
        build_detector({**odin.to_config(), "options": {"temperature": -1}}, {})
