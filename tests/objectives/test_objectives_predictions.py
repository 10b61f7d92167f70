import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.legends.legend import LegendClass
from ecumene.objectives import (
    JaccardSegmentation,
    Members,
    MultiLabel,
    MultivariateRegression,
    PixelRegression,
    Restoration,
    SceneClassification,
    Segmentation,
    SettlementZones,
    build_objective,
    list_objectives,
)

LEGEND = Legend(
    classes=tuple(
        LegendClass(value=value, name=name, colour="#000000")
        for value, name in ((10, "water"), (30, "forest"), (0, "city"))
    )
)
PAIR = Legend.from_names(["same", "changed"])
REGRESSION = PixelRegression(
    ("height", "age"), unit="m", target_mean=(100.0, 5.0), target_std=(20.0, 3.0), beta=0.5, variance_scale=2.25
)
OBJECTIVES = [
    Segmentation(LEGEND, class_weights=(1, 2, 3), label_smoothing=0.1, dice_weight=0.5),
    SceneClassification(LEGEND),
    MultiLabel(LEGEND, thresholds=(0.3, 0.5, 0.9)),
    REGRESSION,
    PixelRegression(("a", "b", "c"), likelihood="laplace", covariance="isotropic"),
    MultivariateRegression(("a", "b", "c"), unit="K", target_mean=(1, 2, 3), target_std=(2, 1, 0.5)),
    SettlementZones(LEGEND, extent_error=(0.05, 0.2, 0.1)),
    Members(Segmentation(LEGEND), 4),
    Members(MultiLabel(LEGEND), 3),
    Members(REGRESSION, 5),
    Members(MultivariateRegression(("a", "b")), 2),
    Segmentation(PAIR, positive="changed", threshold=0.66),
    Members(Segmentation(PAIR, positive="same", threshold=0.3), 3),
    JaccardSegmentation(PAIR, "changed", threshold=0.66, factor=2.0),
    JaccardSegmentation(LEGEND),
    Restoration(("a", "b")),
]
FLOATS = st.floats(-30, 30, width=32)


def some_output(objective, seed=0):
    space = () if objective.unit_of_work == "scene" else (4, 3)
    return np.random.default_rng(seed).normal(size=(2, objective.n_outputs, *space)).astype(np.float32) * 3


@pytest.fixture(params=OBJECTIVES, ids=lambda objective: objective.name)
def objective(request):
    return request.param


def test_configuration_survives_json(objective):
    config = json.loads(json.dumps(objective.to_config(), allow_nan=False))
    rebuilt = build_objective(config)
    assert type(rebuilt) is type(objective)
    assert rebuilt.to_config() == objective.to_config()
    output = some_output(objective)
    np.testing.assert_array_equal(rebuilt.predict(output).value, objective.predict(output).value)


def test_registry():
    assert set(list_objectives()) == {objective.name for objective in OBJECTIVES}
    minimal = build_objective({"name": "segmentation", "legend": LEGEND})
    assert minimal.n_outputs == 3


def test_numpy_and_torch_agree(objective):
    torch = pytest.importorskip("torch")
    output = some_output(objective)
    ours = objective.predict(output)
    theirs = objective.predict(torch.from_numpy(output))
    if objective.legend is not None:
        np.testing.assert_array_equal(ours.value, theirs.value.numpy())
    assert ours.layers.keys() == theirs.layers.keys()
    for name, layer in ours.layers.items():
        assert isinstance(theirs.layers[name], torch.Tensor)
        np.testing.assert_allclose(layer, theirs.layers[name].numpy(), rtol=1e-5, atol=1e-6)
        assert layer.dtype == theirs.layers[name].numpy().dtype


def test_layers_fit_their_specs(objective):
    output = some_output(objective)
    prediction = objective.predict(output)
    specs = objective.layer_specs()
    assert [spec.name for spec in specs] == list(prediction.layers)
    assert [spec.role for spec in specs[:2]] == ["value", "uncertainty"]
    for spec in specs:
        layer = prediction.layers[spec.name]
        assert layer.shape[:2] == (2, spec.count)
        if layer.ndim == 4:
            valid = np.ones(layer.shape[2:], bool)
            valid[0, 0] = False
            stored = spec.encode(layer[0], valid)
            assert stored.dtype == spec.dtype
            blank = stored[:, 0, 0]
            assert np.isnan(blank).all() if math.isnan(spec.nodata) else (blank == spec.nodata).all()
            back = stored[:, valid].astype(float) * spec.scale + spec.offset
            np.testing.assert_allclose(back, layer[0][:, valid], atol=0.5 * spec.scale + 1e-5, rtol=1e-6)


def test_values_are_legend_codes():
    output = np.zeros((1, 3, 1, 3), np.float32)
    output[0, [0, 1, 2], 0, [0, 1, 2]] = 9
    prediction = OBJECTIVES[0].predict(output)
    assert prediction.value.tolist() == [[[10, 30, 0]]]
    assert prediction.value.dtype == np.uint8
    assert OBJECTIVES[0].layer_specs()[2].band_names == ("water", "forest", "city")


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float32, (2, 3, 2, 2), elements=FLOATS))
def test_probabilities_and_entropy(logits):
    prediction = OBJECTIVES[0].predict(logits)
    probability = prediction.layers["probability"]
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-5)
    p = probability.astype(np.float64)
    wanted = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / math.log(3)
    np.testing.assert_allclose(prediction.total, wanted, atol=1e-5)
    assert ((prediction.total >= 0) & (prediction.total <= 1)).all()


def test_entropy_ends():
    prediction = OBJECTIVES[0].predict(np.array([[[[0.0, 500.0]], [[0.0, 0.0]], [[0.0, -500.0]]]], np.float32))
    np.testing.assert_allclose(prediction.total[0, 0], [1.0, 0.0], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-8, 8, width=32)))
def test_blended_regression_moments_obey_total_variance(output):
    """Averaging moments of three windows equals the mixture of their Gaussians."""
    moments = REGRESSION.moments(output)
    assert moments.shape == (3, REGRESSION.n_moments, 2)
    blended = REGRESSION.from_moments(moments.mean(axis=0, keepdims=True))
    single = REGRESSION.from_moments(moments)
    scale = 2.25
    variance = np.square(single.total.astype(np.float64)) / scale
    mean = single.value.astype(np.float64)
    mixture = variance.mean(axis=0) + mean.var(axis=0)
    np.testing.assert_allclose(blended.value[0], mean.mean(axis=0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.square(blended.total[0]) / scale, mixture, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(
        np.square(blended.total), np.square(blended.aleatoric) + np.square(blended.epistemic), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(single.epistemic, 0.0, atol=0.2)


def test_regression_units():
    output = np.zeros((1, 4, 1, 1), np.float32)
    output[0, 0] = 2.0
    prediction = REGRESSION.predict(output)
    assert prediction.value[0, :, 0, 0] == pytest.approx([140.0, 5.0])
    assert prediction.total[0, :, 0, 0] == pytest.approx([20.0 * 1.5, 3.0 * 1.5], rel=1e-3)
    assert [spec.unit for spec in REGRESSION.layer_specs()] == ["m", "m"]
    assert all(math.isnan(spec.nodata) for spec in REGRESSION.layer_specs())


def test_multi_label_thresholds_and_entropy():
    objective = OBJECTIVES[2]
    prediction = objective.from_moments(np.array([[0.4, 0.5, 0.8]]))
    assert prediction.value.tolist() == [[1, 1, 0]]
    assert prediction.total[0, 1] == pytest.approx(1.0)
    assert prediction.total[0, 2] == pytest.approx(0.7219, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"name": "magic"}, "no objective 'magic'"),
        ({}, "no objective None"),
        ({"name": "segmentation"}, "cannot be built"),
        ({"name": "segmentation", "legend": LEGEND, "colour": 1}, "cannot be built"),
        ({"name": "segmentation", "legend": {"classes": [{"value": 999}]}}, "legend"),
        ({"name": "segmentation", "legend": Legend.from_names(["a"])}, "at least two classes"),
        ({"name": "segmentation", "legend": LEGEND, "class_weights": [1, 2]}, "class_weights"),
        ({"name": "segmentation", "legend": LEGEND, "class_weights": [1, 2, 0]}, "class_weights"),
        ({"name": "segmentation", "legend": LEGEND, "label_smoothing": 1.0}, "label_smoothing"),
        ({"name": "multi-label", "legend": LEGEND, "thresholds": [0.5]}, "thresholds"),
        ({"name": "multi-label", "legend": LEGEND, "positive_weights": [1, 1, -1]}, "positive_weights"),
        ({"name": "pixel-regression", "targets": []}, "target names"),
        ({"name": "pixel-regression", "target_std": 0.0}, "constant"),
        ({"name": "pixel-regression", "target_std": [1.0, 2.0]}, "one a target"),
        ({"name": "pixel-regression", "beta": 2.0}, "beta"),
        ({"name": "pixel-regression", "variance_scale": 0.0}, "variance_scale"),
    ],
)
def test_wrong_configurations_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        build_objective(config)
