"""What a system of change learns is settled by its training labels: which class is the change, and from when on."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from ecumene.models.bundle import Model
from ecumene.objectives.change import ChangeSegmentation
from ecumene.objectives.contract import Objective
from ecumene.samples.patch_set import PatchSet
from ecumene.trust.decision_threshold import threshold_of_largest_f1
from ecumene.workflows.calibrate import probabilities_of, results_at_labels


def settle_change(objective: Objective, train: Any) -> Objective:
    """Return the objective that knows which class is the change: the rarer one of the training labels.

    Args:
        objective: Any; others than `ChangeSegmentation` are returned as they are.
        train: Training samples, which count their classes.
    """
    if not isinstance(objective, ChangeSegmentation):
        return objective
    return objective.settled(train.class_counts(2))


def choose_change_threshold(model: Model, train: PatchSet, *, seed: int = 0) -> Model:
    """Return the model whose threshold on the probability of change has the largest F1 on training labels.

    The published threshold of DS-UNet was chosen so. The card says the threshold and its figures under `threshold`.

    Args:
        model: With its calibration; others than those of `ChangeSegmentation` are returned as they are.
        train: Training labels.
        seed: Of the draw, where there are many.
    """
    objective = model.objective
    if not isinstance(objective, ChangeSegmentation):
        return model
    known = results_at_labels(model, train, seed=seed)
    truth = known.target == objective.index
    if not truth.any():
        return model
    chosen = threshold_of_largest_f1(probabilities_of(model, known.output)[:, objective.index], truth)
    decided = objective.with_threshold(chosen.value)
    spec = model.spec.model_copy(update={"objective": decided.to_config()})
    return replace(model, spec=spec, objective=decided).with_training(
        threshold={"class": objective.positive, "chosen_on": "training labels", **asdict(chosen)}
    )
