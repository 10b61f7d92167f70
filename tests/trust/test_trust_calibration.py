import json
import math

import numpy as np
import pytest

from ecumene.core.errors import LabelError, ModelError
from ecumene.legends import Legend
from ecumene.objectives import PixelRegression, Segmentation
from ecumene.trust.calibration import Calibration, fit_variance_scale
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.intervals import ConformalIntervals
from ecumene.trust.scaling import Temperature

LEGEND = Legend.from_names(["a", "b", "c"])
SETS = ConformalSets("lac", 0.9, (0.7,), 3, 100)
INTERVALS = ConformalIntervals("normalised", 0.9, (1.7, 2.0), 100)


def test_sets_become_layers():
    calibration = Calibration(scaling=Temperature(1.5), sets=SETS, with_set_size=True)
    objective = Segmentation(LEGEND)
    output = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    prediction = objective.predict(output)
    specs = calibration.extra_layer_specs(objective)
    layers = calibration.extra_layers(prediction)
    assert [spec.name for spec in specs] == list(layers) == ["prediction_set", "set_size"]
    assert layers["prediction_set"].shape == (2, 1, 4, 5)
    assert layers["prediction_set"].dtype == np.uint32
    np.testing.assert_array_equal(layers["prediction_set"][:, 0], SETS.encode(prediction.layers["probability"]))
    size = SETS.sets(prediction.layers["probability"]).sum(axis=1)
    np.testing.assert_array_equal(layers["set_size"][:, 0], size)
    valid = np.ones((4, 5), bool)
    valid[0, 0] = False
    stored = specs[0].encode(layers["prediction_set"][0], valid)
    assert stored[0, 0, 0] == 0
    np.testing.assert_array_equal(stored[0][valid], layers["prediction_set"][0, 0][valid])
    assert (stored[0][valid] > 0).all()
    assert "bit 1: b" in specs[0].description


def test_large_bit_masks_are_stored_exactly():
    spec = Calibration(sets=ConformalSets("lac", 0.9, (0.5,), 32)).extra_layer_specs(
        Segmentation(Legend.from_names([f"c{i}" for i in range(32)]))
    )[0]
    bits = np.array([[[2**32 - 1, 2**31 + 1, 2**24 + 1]]], np.uint32)
    assert spec.encode(bits, np.ones((1, 3), bool)).tolist() == bits.tolist()


def test_tensors_give_the_same_layers():
    torch = pytest.importorskip("torch")
    objective, calibration = Segmentation(LEGEND), Calibration(sets=SETS)
    output = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    ours = calibration.extra_layers(objective.predict(output))
    theirs = calibration.extra_layers(objective.predict(torch.from_numpy(output)))
    np.testing.assert_array_equal(ours["prediction_set"], theirs["prediction_set"])


def test_intervals_become_layers():
    objective = PixelRegression(("height", "age"), unit="m", target_std=(2.0, 3.0))
    calibration = Calibration(intervals=INTERVALS, variance_scale=4.0)
    scaled = calibration.calibrated(objective)
    assert calibration.calibrated(scaled).to_config() == scaled.to_config()
    output = np.random.default_rng(0).normal(size=(1, 4, 2, 2)).astype(np.float32)
    before, after = objective.predict(output), scaled.predict(output)
    np.testing.assert_allclose(after.total, 2 * before.total, rtol=1e-5)
    specs, layers = calibration.extra_layer_specs(scaled), calibration.extra_layers(after)
    assert [spec.name for spec in specs] == list(layers) == ["lower", "upper"]
    assert specs[0].unit == "m"
    assert specs[0].band_names == ("height", "age")
    assert all(spec.role == "interval" and math.isnan(spec.nodata) for spec in specs)
    half = (layers["upper"] - layers["lower"]) / 2
    np.testing.assert_allclose(half, after.total * np.array([1.7, 2.0])[None, :, None, None], rtol=1e-4)


def test_nothing_fitted_gives_nothing():
    objective = Segmentation(LEGEND)
    empty = Calibration()
    assert empty.extra_layer_specs(objective) == ()
    assert empty.extra_layers(objective.predict(np.zeros((1, 3, 2, 2), np.float32))) == {}
    assert empty.calibrated(objective) is objective


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration(scaling=Temperature(1.25), sets=SETS, with_set_size=True),
        Calibration(intervals=INTERVALS, variance_scale=0.5),
    ],
)
def test_survives_json(calibration):
    config = json.loads(json.dumps(calibration.to_config(), allow_nan=False))
    assert Calibration.from_config(config) == calibration
    assert Calibration.from_config({}) == Calibration()


@pytest.mark.parametrize("damage", [{"temperature": 0}, {"temperature": "x"}, {"variance_scale": -1}, {"sets": {}}])
def test_damage_is_refused(damage):
    with pytest.raises(ModelError, match="damaged"):
        Calibration.from_config({**Calibration().to_config(), **damage})


def test_variance_scale_has_the_best_likelihood():
    from ecumene.trust.measures import gaussian_negative_log_likelihood

    generator = np.random.default_rng(0)
    mean, deviation = generator.normal(size=5000), generator.uniform(0.5, 2, 5000)
    target = mean + 1.5 * deviation * generator.normal(size=5000)
    target[::9] = np.nan
    scale = fit_variance_scale(mean, deviation, target)
    assert scale == pytest.approx(2.25, rel=0.08)
    known = np.isfinite(target)

    def likelihood(factor):
        return gaussian_negative_log_likelihood(mean[known], deviation[known] * math.sqrt(factor), target[known])

    assert all(likelihood(scale) <= likelihood(scale * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))
    with pytest.raises(LabelError, match="no labelled"):
        fit_variance_scale(mean, deviation, np.full(5000, np.nan))
    with pytest.raises(LabelError, match="equal"):
        fit_variance_scale(mean, deviation, mean)
