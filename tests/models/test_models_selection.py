"""What `auto` chooses, with executors whose speed and results are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ModelError
from ecumene.legends import Legend
from ecumene.models import selection
from ecumene.models.agreement import compare
from ecumene.models.candidates import Candidate, list_candidates, reference_candidate
from ecumene.models.selection import Probe, choose_execution, restore_execution
from ecumene.objectives import PixelRegression, Segmentation

LEGEND = Legend.from_names(["water", "forest", "built"])
PIXELS = 10**9
REFERENCE = Candidate("torch", "fp32", 0.0)


class Clock:
    """Time that passes only where a test lets it."""

    now = 0.0

    def __call__(self):
        return Clock.now


class Timed:
    """Answers after some time, with some error."""

    def __init__(self, backend, precision, seconds, error, calls):
        self.backend, self.precision = backend, precision
        self.seconds, self.error, self.calls = seconds, error, calls

    def run(self, image, dates=None):
        self.calls.append((self.backend, self.precision))
        Clock.now += self.seconds
        output = image[:, :3] + self.error * np.array([1, -1, 1], np.float32)[:, None, None]
        return np.nan_to_num(output), np.zeros(output[:, 0].shape, np.float32)


@dataclass
class Model:
    """As much of a bundle as choosing needs."""

    ways: dict
    objective: object = field(default_factory=lambda: Segmentation(LEGEND))
    detector: object = None
    outlier_threshold: float | None = None
    onnx: bytes | None = b""
    calls: list = field(default_factory=list)

    def executor(self, backend, precision, threads=None):
        way = self.ways[backend, precision]
        if isinstance(way, Exception):
            raise way
        return Timed(backend, "fp32" if precision == "auto" else precision, *way, self.calls)


def probe(pixels):
    image = np.random.default_rng(0).standard_normal((1, 4, 40, 40)).astype(np.float32)
    image[:, :, :5] = np.nan
    return Probe(image, None, real=True)


@pytest.fixture
def choose(monkeypatch):
    """Choose among `ways`, each (seconds of a run, error), with set-up costs."""

    def run(ways, setup=None, pixels=PIXELS, way_probe=probe, **asked):
        model = Model({("torch", "fp32"): (0.02, 0.0), **ways})
        offered = tuple(Candidate(*name, (setup or {}).get(name, 0.0)) for name in ways if name != ("torch", "fp32"))
        monkeypatch.setattr(selection, "reference_candidate", lambda _: REFERENCE)
        monkeypatch.setattr(selection, "list_candidates", lambda _: offered)
        monkeypatch.setattr(selection, "perf_counter", Clock())
        return choose_execution(model, way_probe, pixels, threads=1, **asked), model

    return run


def reasons(chosen):
    return {(trial.backend, trial.precision): trial.reason for trial in chosen.choice.trials}


def test_the_fastest_that_agrees_is_chosen_and_everything_is_recorded(choose):
    ways = {("openvino", "bf16"): (0.002, 1e-4), ("torch", "bf16"): (0.008, 1e-4), ("onnx", "fp32"): (0.012, 0.0)}
    chosen, _ = choose(ways)
    assert (chosen.choice.backend, chosen.choice.precision) == ("openvino", "bf16")
    assert (chosen.executor.backend, chosen.executor.precision) == ("openvino", "bf16")
    assert chosen.choice.probe == "scene"
    assert [trial.chosen for trial in chosen.choice.trials] == [False, True, False, False]
    first, fast, *_ = chosen.choice.trials
    assert first.times_reference == 1.0
    assert fast.times_reference > 3
    assert fast.agreement.agreement >= 0.98
    assert fast.agreement.pixels == 35 * 40


def test_what_disagrees_is_left_out_however_fast(choose):
    chosen, _ = choose({("openvino", "int8"): (0.0, 1.0), ("torch", "bf16"): (0.005, 1e-4)})
    assert (chosen.choice.backend, chosen.choice.precision) == ("torch", "bf16")
    assert "is below 0.98" in reasons(chosen)["openvino", "int8"]


def test_fp32_has_to_agree_better_than_bf16(choose):
    chosen, _ = choose({("openvino", "fp32"): (0.0, 0.004)})
    assert chosen.choice.backend == "torch"
    chosen, _ = choose({("openvino", "bf16"): (0.0, 0.004)})
    assert chosen.choice.backend == "openvino"


def test_what_is_slower_or_fails_leaves_the_reference(choose):
    ways = {("openvino", "bf16"): (0.05, 0.0), ("onnx", "fp32"): ModelError("It is broken; export it again.")}
    chosen, _ = choose(ways)
    assert (chosen.choice.backend, chosen.choice.precision) == ("torch", "fp32")
    assert reasons(chosen)["openvino", "bf16"] == "not faster than the reference"
    assert "It is broken" in reasons(chosen)["onnx", "fp32"]
    assert chosen.choice.trials[0].chosen


def test_small_maps_are_not_worth_a_trial(choose):
    def no_probe(pixels):
        raise AssertionError("nothing may be read")

    chosen, model = choose({("openvino", "bf16"): (0.0, 0.0)}, pixels=1_000_000, way_probe=no_probe)
    assert chosen.choice.backend == "torch"
    assert "too small" in chosen.choice.reason
    assert model.calls == []


def test_a_costly_way_is_tried_only_where_it_can_pay(choose):
    ways, setup = {("compiled", "fp32"): (0.0, 0.0)}, {("compiled", "fp32"): 25.0}
    small, _ = choose(ways, setup, pixels=20_000_000)  # about 250 s of the reference
    assert reasons(small)["compiled", "fp32"].startswith("not tried")
    large, _ = choose(ways, setup, pixels=400_000_000)
    assert large.choice.backend == "compiled"


def test_what_the_user_asks_for_is_taken_without_a_trial(choose):
    chosen, model = choose({("onnx", "fp32"): (0.0, 9.0)}, backend="onnx", precision="fp32")
    assert chosen.choice.backend == "onnx"
    assert chosen.choice.reason == "as asked for"
    assert model.calls == []


def test_half_an_answer_limits_the_contest(choose):
    ways = {("openvino", "bf16"): (0.0, 0.0), ("torch", "bf16"): (0.005, 0.0), ("onnx", "fp32"): (0.0, 0.0)}
    backend, _ = choose(ways, backend="torch")
    assert (backend.choice.backend, backend.choice.precision) == ("torch", "bf16")
    precision, _ = choose(ways, precision="fp32")
    assert (precision.choice.backend, precision.choice.precision) == ("onnx", "fp32")
    insisted, _ = choose({("torch", "bf16"): (0.005, 2.0)}, precision="bf16")
    assert insisted.choice.precision == "bf16"  # what the user insists on is done even if nothing agrees


def test_a_choice_is_restored_without_a_trial(choose):
    chosen, model = choose({("openvino", "bf16"): (0.0, 0.0)})
    model.calls.clear()
    again = restore_execution(model, chosen.choice.model_validate_json(chosen.choice.model_dump_json()), 1)
    assert again.executor.backend == "openvino"
    assert model.calls == []


def test_real_candidates_are_installed_and_never_the_reference(network_model):
    model = network_model("unet-small")
    names = {candidate.name for candidate in list_candidates(model)}
    assert reference_candidate(model).name == "torch fp32"
    assert "torch fp32" not in names
    assert not any("int8" in name for name in names)  # there is no quantised graph
    series = {candidate.name for candidate in list_candidates(network_model("ltae"))}
    assert "openvino bf16" not in series


# -- agreement ---------------------------------------------------------------------------------------


def outputs(channels=3, pixels=500, seed=0):
    generator = np.random.default_rng(seed)
    return 2 * generator.standard_normal((1, channels, 1, pixels)).astype(np.float32), np.zeros(
        (1, 1, pixels), np.float32
    )


EVERYWHERE = np.ones((1, 1, 500), np.bool_)


@settings(max_examples=25, deadline=None)
@given(flips=st.integers(0, 500))
def test_class_agreement_is_the_share_of_equal_classes(flips):
    output, score = outputs()
    other = output.copy()
    best = other[0, :, 0, :flips].argmax(axis=0)
    other[0, (best + 1) % 3, 0, np.arange(flips)] = 99.0
    found = compare(Segmentation(LEGEND), (output, score), (other, score), EVERYWHERE)
    assert found.agreement == pytest.approx(1 - flips / 500)
    assert (found.failure("fp32") is None) == (flips == 0)
    assert flips <= 10 or found.failure("bf16") is not None


def test_pixels_without_data_do_not_count():
    output, score = outputs()
    other, usable = output.copy(), EVERYWHERE.copy()
    other[..., :100] += np.array([9, 0, -9], np.float32)[:, None, None]
    usable[..., :100] = False
    assert compare(Segmentation(LEGEND), (output, score), (other, score), usable).agreement == 1.0


def test_numbers_are_compared_in_units_of_their_error_bar():
    objective = PixelRegression(["height"], "m", target_mean=10.0, target_std=5.0)
    output, score = outputs(2)
    std = np.asarray(objective.predict(output).total)[0, 0, 0]
    shifted = output.copy()
    shifted[0, 0, 0] += 0.05 * std / 5.0
    near = compare(objective, (output, score), (shifted, score), EVERYWHERE)
    assert near.agreement == 1.0
    assert near.mean_difference == pytest.approx(0.05, rel=1e-3)
    shifted[0, 0, 0] += 0.15 * std / 5.0
    far = compare(objective, (output, score), (shifted, score), EVERYWHERE)
    assert far.agreement == 0.0
    assert far.failure("bf16")


def test_an_error_bar_that_differs_is_a_disagreement():
    objective = PixelRegression(["height"], "m")
    output, score = outputs(2)
    wider = output.copy()
    wider[0, 1] += 1.0
    assert compare(objective, (output, score), (wider, score), EVERYWHERE).failure("bf16")


def test_outlier_flags_count_too():
    output, score = outputs()
    found = compare(Segmentation(LEGEND), (output, score), (output, score + 2), EVERYWHERE, threshold=1.0)
    assert found.agreement == 1.0
    assert found.outlier_agreement == 0.0
    assert "outlier flags" in found.failure("bf16")


def test_numbers_that_are_not_finite_agree_with_nothing():
    output, score = outputs()
    for broken in (np.full_like(output, np.nan), output[:, :2]):
        assert compare(Segmentation(LEGEND), (output, score), (broken, score), EVERYWHERE).agreement == 0.0
