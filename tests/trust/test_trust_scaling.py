import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.trust.calibration import Calibration
from ecumene.trust.likelihood import (
    by_member,
    fit_dirichlet,
    fit_vector,
    loss_and_gradient,
    pooled_log_likelihood,
    pooled_probabilities,
)
from ecumene.trust.measures import expected_calibration_error
from ecumene.trust.scaling import (
    IDENTITY,
    DirichletScaling,
    Temperature,
    VectorScaling,
    members_of,
    scaling_from_config,
)
from ecumene.trust.scaling_fit import FEWEST_BLOCKS, choose_scaling, fit_named

VECTOR = VectorScaling((0.5, 2.0, 1.0), (0.1, -0.2, 0.0))
DIRICHLET = DirichletScaling(((0.9, 0.1, 0.0), (0.0, 1.2, -0.1), (0.2, 0.0, 1.0)), (0.0, 0.3, -0.3))
ALL = [IDENTITY, Temperature(1.7), VECTOR, DIRICHLET]


def draw(generator, n, true=None, groups=None, spread=0.0, classes=3):
    """Logits, and targets drawn from softmax(true(logits)); `spread` moves the temperature of each block."""
    logits = 2.5 * generator.normal(size=(n, classes))
    mapped = logits if true is None else true.apply(logits)
    if groups is not None and spread:
        mapped = mapped / np.exp(spread * generator.normal(size=groups.max() + 1))[groups][:, None]
    return logits, (mapped + generator.gumbel(size=mapped.shape)).argmax(axis=1)


@pytest.mark.parametrize("scaling", ALL)
def test_survives_json(scaling):
    assert scaling_from_config(json.loads(json.dumps(scaling.to_config(), allow_nan=False))) == scaling
    calibration = Calibration(scaling=scaling)
    assert Calibration.from_config(json.loads(json.dumps(calibration.to_config()))) == calibration


def test_models_of_the_first_version_state_a_bare_temperature():
    assert Calibration.from_config({"temperature": 2.5}).scaling == Temperature(2.5)
    assert Calibration.from_config({"temperature": 2.5}).temperature == 2.5
    assert Calibration(scaling=VECTOR).temperature is None
    assert Calibration(scaling=IDENTITY).temperature == 1.0


@pytest.mark.parametrize("scaling", ALL)
def test_members_are_scaled_alike(scaling):
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(2, 6, 4, 5)).astype(np.float32)
    both = scaling.apply(maps)
    assert both.shape == maps.shape
    assert both.dtype == np.float32
    np.testing.assert_allclose(both[:, :3], scaling.apply(maps[:, :3]), rtol=1e-6)
    np.testing.assert_allclose(both[:, 3:], scaling.apply(maps[:, 3:]), rtol=1e-6)
    flat = np.moveaxis(maps[:, :3], 1, -1).reshape(-1, 3)
    np.testing.assert_allclose(
        np.moveaxis(both[:, :3], 1, -1).reshape(-1, 3), scaling.apply(flat), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize("scaling", ALL)
@pytest.mark.parametrize("shape", [(2, 3), (2, 6, 4, 5)])
def test_torch_gives_the_same(scaling, shape):
    torch = pytest.importorskip("torch")
    from ecumene.models.scaled_output import ScaledOutput

    logits = (5 * np.random.default_rng(1).normal(size=shape)).astype(np.float32)
    with torch.inference_mode():
        found = ScaledOutput(scaling)(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(found, scaling.apply(logits), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scaling", [Temperature(1.7), VECTOR, DIRICHLET])
def test_onnx_gives_the_same(scaling):
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from ecumene.models.scaled_output import ScaledOutput

    logits = np.random.default_rng(1).normal(size=(2, 6, 4, 5)).astype(np.float32)
    sizes = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.onnx.export(
        ScaledOutput(scaling).eval(), (torch.from_numpy(logits),), dynamo=True, dynamic_shapes=(sizes,), verbose=False
    )
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    other = np.random.default_rng(2).normal(size=(3, 6, 7, 2)).astype(np.float32)
    found = session.run(None, {session.get_inputs()[0].name: other})[0]
    np.testing.assert_allclose(found, scaling.apply(other), rtol=1e-4, atol=1e-5)


def test_channels_that_do_not_fit_are_refused():
    assert members_of(VECTOR, 9) == 3
    assert members_of(Temperature(2.0), 7) == 1
    with pytest.raises(ConfigurationError, match="3 classes, but the model puts out 4"):
        VECTOR.apply(np.zeros((1, 4)))


@pytest.mark.parametrize(
    "damage",
    [
        None,
        "temperature",
        {"name": "magic"},
        {"name": "temperature", "temperature": 0.0},
        {"name": "temperature", "temperature": float("nan")},
        {"name": "temperature", "temperature": True},
        {"name": "vector", "weight": [1, 2], "bias": [1]},
        {"name": "vector", "weight": [1e9, 1], "bias": [0, 0]},
        {"name": "dirichlet", "matrix": [[1, 0], [0]], "bias": [0, 0]},
        {"name": "dirichlet", "matrix": "hot", "bias": [0, 0]},
    ],
)
def test_damage_is_refused(damage):
    with pytest.raises(ModelError, match="damaged"):
        scaling_from_config(damage)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), members=st.integers(1, 3))
def test_gradient_of_the_pooled_likelihood(seed, members):
    generator = np.random.default_rng(seed)
    logits, target = generator.normal(size=(6, members, 3)), generator.integers(0, 3, 6)
    weight = generator.uniform(0.1, 1.0, 6)
    value, gradient = loss_and_gradient(logits, target, weight)
    assert value == pytest.approx(-weight @ np.log(pooled_probabilities(logits.reshape(6, -1), 3))[range(6), target])
    step = 1e-6 * generator.normal(size=logits.shape)
    change = loss_and_gradient(logits + step, target, weight)[0] - loss_and_gradient(logits - step, target, weight)[0]
    assert change / 2 == pytest.approx((gradient * step).sum(), rel=1e-3, abs=1e-12)


def test_fits_find_what_made_the_labels():
    generator = np.random.default_rng(3)
    for true, fit in ((VECTOR, fit_vector), (DIRICHLET, fit_dirichlet)):
        logits, target = draw(generator, 20_000, true)
        weight = np.full(len(target), 1 / len(target))
        found = fit(by_member(logits, 3), target, weight, 1e-7)
        fresh, _ = draw(generator, 2000)
        # A constant added to all logits changes nothing, so that probabilities are compared.
        gap = pooled_probabilities(found.apply(fresh), 3) - pooled_probabilities(true.apply(fresh), 3)
        assert np.abs(gap).mean() < 0.01


def test_regularisation_draws_towards_the_identity():
    logits, target = draw(np.random.default_rng(4), 2000, VECTOR)
    weight = np.full(len(target), 1 / len(target))
    strong = fit_vector(by_member(logits, 3), target, weight, 1e3)
    assert np.abs(np.array(strong.weight) - 1).max() < 0.01
    assert np.abs(strong.bias).max() < 0.01
    matrix = np.array(fit_dirichlet(by_member(logits, 3), target, weight, 1e3).matrix)
    assert np.abs(matrix - np.diag(np.diag(matrix))).max() < 0.01


def test_pooled_members_beat_members_scaled_by_themselves():
    """Members that are each calibrated give a pool that is too even; the pooled likelihood sharpens them."""
    generator = np.random.default_rng(5)
    truth = 2.5 * generator.normal(size=(8000, 3))
    target = (truth + generator.gumbel(size=truth.shape)).argmax(axis=1)
    outputs = np.concatenate([truth + 2.0 * generator.normal(size=truth.shape) for _ in range(5)], axis=1)
    alone = fit_named("temperature", outputs[:, :3], target)
    pooled = fit_named("temperature", outputs, target, members=5)
    assert pooled.temperature < 0.9 * alone.temperature
    likelihood = [
        pooled_log_likelihood(by_member(scaling.apply(outputs), 3), target).mean() for scaling in (alone, pooled)
    ]
    assert likelihood[1] > likelihood[0] + 0.01
    errors = [expected_calibration_error(pooled_probabilities(s.apply(outputs), 3), target) for s in (alone, pooled)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("true", [Temperature(2.5), VectorScaling((0.4, 0.4, 0.4), (1.5, -1.0, 0.0))])
def test_a_clear_gain_over_blocks_is_taken(true):
    generator = np.random.default_rng(6)
    groups = np.repeat(np.arange(20), 100)
    logits, target = draw(generator, 2000, true, groups, spread=0.1)
    choice = choose_scaling(logits, target, groups)
    assert choice.scaling.name == ("temperature" if isinstance(true, Temperature) else choice.scaling.name)
    assert choice.scaling != IDENTITY
    assert max(low for _, low in choice.gains.values()) > 0
    fresh, truth = draw(generator, 4000, true)
    before = expected_calibration_error(pooled_probabilities(fresh, 3), truth)
    after = expected_calibration_error(pooled_probabilities(choice.scaling.apply(fresh), 3), truth)
    assert after < before / 2
    json.dumps(choice.to_dict(), allow_nan=False)


def test_probabilities_that_are_honest_stay():
    """Over many small calibration sets a scaling replaces honest probabilities in about one of a hundred."""
    generator, changed = np.random.default_rng(7), 0
    for _ in range(60):
        groups = np.repeat(np.arange(5), 40)
        logits, target = draw(generator, 200, None, groups, spread=0.3)
        changed += choose_scaling(logits, target, groups).scaling != IDENTITY
    assert changed <= 3


def test_few_blocks_keep_the_model_s_own_probabilities():
    logits, target = draw(np.random.default_rng(8), 300, Temperature(3.0))
    choice = choose_scaling(logits, target, np.arange(300) % (FEWEST_BLOCKS - 1))
    assert choice.scaling is IDENTITY
    assert "3 blocks cannot show" in choice.note
    assert choose_scaling(logits, target, np.zeros(300)).scaling is IDENTITY
    assert choose_scaling(logits, np.zeros(300, int), np.arange(300)).scaling is IDENTITY


def test_a_class_without_calibration_pixels_gets_no_parameters_of_its_own():
    logits, target = draw(np.random.default_rng(9), 2000, VECTOR)
    keep = target != 2
    choice = choose_scaling(logits[keep], target[keep], np.arange(keep.sum()) // 50)
    assert choice.missing == (2,)
    assert set(choice.gains) == {"temperature"}
    with pytest.raises(LabelError, match="Class channel 2 has no calibration pixel"):
        fit_named("vector", logits[keep], target[keep])


@pytest.mark.parametrize(
    ("logits", "target", "error", "sentence"),
    [
        (np.zeros((4, 3)), [0, 1, 2, 0], ConfigurationError, "learned nothing"),
        (np.full((4, 3), np.nan), [0, 1, 2, 0], ConfigurationError, "not finite"),
        (np.eye(3), [0, 1, 3], LabelError, "0 to 2"),
        (np.empty((0, 3)), np.empty(0, int), LabelError, "no labelled pixels"),
        (np.eye(3), [0, 1], ConfigurationError, r"\[N, K\]"),
    ],
)
def test_refusals(logits, target, error, sentence):
    with pytest.raises(error, match=sentence):
        choose_scaling(logits, np.asarray(target), np.arange(len(target)))


def test_unknown_names_and_groups_are_refused():
    logits, target = draw(np.random.default_rng(0), 30)
    with pytest.raises(ConfigurationError, match="but not 'magic'"):
        fit_named("magic", logits, target)
    with pytest.raises(ConfigurationError, match="group labels"):
        choose_scaling(logits, target, np.zeros(3))
