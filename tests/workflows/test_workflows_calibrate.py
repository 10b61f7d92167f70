"""Calibration on held-out blocks: what it does with labels and outputs that nothing can be fitted on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from ecumene.core.errors import ModelError
from ecumene.legends import Legend
from ecumene.objectives import Segmentation
from ecumene.samples.patch_set import PatchSet
from ecumene.systems import get_system
from ecumene.trust.calibration import Calibration
from ecumene.trust.scaling import IDENTITY, Temperature
from ecumene.workflows.calibrate import calibration_part, fit_trust, probabilities_of
from ecumene.workflows.evaluate import error_bar_figures, evaluate_classifier

LEGEND = Legend.from_names(["field", "forest", "water"])
SIDE = 8


@dataclass
class Spec:
    temporal: bool = False
    resolution_m: float = 10.0
    training: dict[str, Any] = field(default_factory=dict)


@dataclass
class StandIn:
    """A classifier whose logits are its input's bands: everything that calibration asks of a model, nothing else."""

    objective: Any = field(default_factory=lambda: Segmentation(LEGEND))
    calibration: Calibration | None = None
    detector: Any = None
    spec: Spec = field(default_factory=Spec)
    constant: bool = False

    @property
    def scaling(self):
        return None if self.calibration is None else self.calibration.scaling

    def raw_results(self, image, dates=None):
        return np.zeros_like(image) if self.constant else image, np.nan_to_num(image)

    def with_trust(self, *, calibration=None, detector=None):
        return replace(self, calibration=calibration, detector=detector)

    def with_training(self, **entries):
        return replace(self, spec=replace(self.spec, training={**self.spec.training, **entries}))


def patches(blocks: int, seed: int, sharpness: float = 1.0, classes: int = 3) -> PatchSet:
    """One window a block; logits are `sharpness` times those that the labels were drawn from."""
    generator = np.random.default_rng(seed)
    logits = 2.0 * generator.normal(size=(blocks, 3, SIDE, SIDE))
    logits[:, classes:] = -40.0
    mask = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return PatchSet(
        image=(sharpness * logits).astype(np.float32),
        mask=mask.astype(np.int64),
        valid=np.ones((blocks, SIDE, SIDE), bool),
        dates=np.zeros((blocks, 1), np.int64),
        group=np.broadcast_to(np.arange(blocks, dtype=np.int32)[:, None, None], mask.shape).copy(),
    )


def test_an_overconfident_model_is_calibrated_and_says_by_what():
    model, notes = fit_trust(StandIn(), patches(12, 0, 3.0), patches(16, 1, 3.0))
    assert isinstance(model.scaling, Temperature)
    assert model.scaling.temperature == pytest.approx(3.0, rel=0.1)
    assert model.calibration.sets.promised == pytest.approx(0.9 * 16 / 17)
    assert model.calibration.residuals.n_blocks == 16
    assert model.calibration.residuals.block_area_m2 == SIDE * SIDE * 100
    assert model.spec.training["scaling"]["chosen"] == "temperature"
    assert notes == []
    figures = evaluate_classifier(model, patches(20, 2, 3.0))
    found = figures["calibration"]
    assert found["expected_calibration_error"] < 0.05 < found["expected_calibration_error_before"]
    assert figures["class_sets"]["coverage_mean_of_blocks"] == pytest.approx(0.9, abs=0.03)
    assert figures["class_sets"]["mean_size"] < figures["class_sets"]["mean_size_knowing_shares_only"]
    assert figures["sparsification"]["ause"] > 0
    json.dumps(figures, allow_nan=False)


def test_few_blocks_keep_the_probabilities_and_say_the_best_that_can_be_promised():
    model, notes = fit_trust(StandIn(), patches(12, 0, 3.0), patches(3, 1, 3.0))
    assert model.scaling is IDENTITY
    assert any("3 blocks cannot show" in note for note in notes)
    assert any("promise more than 75% for a new block" in note and "needs 9 blocks" in note for note in notes)


def test_a_class_without_calibration_labels_is_named():
    model, notes = fit_trust(StandIn(), patches(12, 0), patches(12, 1, classes=2))
    assert any("No calibration pixel is water" in note for note in notes)
    assert model.calibration.sets.n_classes == 3


def test_labels_outside_of_the_valid_area_are_named():
    held_out = patches(4, 1)
    model, notes = fit_trust(StandIn(), patches(4, 0), replace(held_out, valid=np.zeros_like(held_out.valid)))
    assert any("None of the 256 calibration labels lies on valid data" in note for note in notes)
    assert model.calibration.sets is None
    assert model.scaling is IDENTITY


def test_no_calibration_labels_at_all():
    held_out = patches(4, 1)
    _, notes = fit_trust(StandIn(), patches(4, 0), replace(held_out, mask=np.full_like(held_out.mask, -1)))
    assert any("no labelled pixels" in note for note in notes)


def test_a_constant_network_is_named():
    _, notes = fit_trust(StandIn(constant=True), patches(4, 0), patches(4, 1))
    assert any("learned nothing" in note for note in notes)


def test_output_that_is_not_finite_is_refused():
    broken = patches(4, 1)
    broken.image[0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite; train it again"):
        fit_trust(StandIn(), patches(4, 0), broken)


def test_polygons_of_one_class_each_correct_no_areas():
    held_out = patches(12, 1)
    one = np.broadcast_to((np.arange(12) % 3)[:, None, None], held_out.mask.shape)
    model, _ = fit_trust(StandIn(), patches(12, 0), replace(held_out, mask=one.astype(np.int64)))
    assert model.calibration.sets is not None
    assert model.calibration.residuals is None


def test_trees_calibrate_on_the_validation_part_too():
    from ecumene.samples.contract import Part
    from ecumene.workflows.training_data import TrainingData

    data = TrainingData({Part.VALIDATION: patches(3, 0), Part.CALIBRATION: patches(2, 1)})
    assert len(calibration_part(data, get_system("unet-small"))) == 2
    assert len(calibration_part(data, get_system("random-forest"))) == 5
    assert len(calibration_part(data, get_system("rf-annual-builtup"))) == 2  # validation has chosen the forest
    empty = TrainingData({**data.parts, Part.VALIDATION: patches(0, 0)})
    assert len(calibration_part(empty, get_system("random-forest"))) == 2


def test_probabilities_are_pooled_over_members():
    from ecumene.objectives.members import Members

    output = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    model = StandIn(objective=Members(Segmentation(LEGEND), 2), calibration=Calibration(scaling=Temperature(2.0)))
    halves = [np.exp(part / 2) / np.exp(part / 2).sum(axis=1, keepdims=True) for part in (output[:, :3], output[:, 3:])]
    np.testing.assert_allclose(probabilities_of(model, output), (halves[0] + halves[1]) / 2, rtol=1e-6)


def test_figures_of_error_bars():
    generator = np.random.default_rng(0)
    deviation = generator.uniform(0.5, 2.0, (500, 1))
    mean = generator.normal(size=(500, 1))
    target = mean + deviation * generator.normal(size=(500, 1))
    target[::5] = np.nan
    figures = error_bar_figures(mean, deviation, target)
    assert figures["normalised_calibration_error"] < 0.25
    assert figures["miscalibration_area"] < 0.05
    assert sum(figures["pit_histogram"]) == pytest.approx(1.0)
    json.dumps(figures, allow_nan=False)
