"""Published schedules and optimisers, and the figures that choose an epoch and end a training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.samples.augmentation import augmentation_for
from ecumene.training.fit_network import fit_network
from ecumene.training.learner import falls
from ecumene.training.options import TrainingOptions

NADAM = {
    "epochs": 6,
    "batch_size": 8,
    "learning_rate": 4e-3,
    "warmup": 0.0,
    "optimiser": "nadam",
    "schedule": "step",
    "step_epochs": 2,
    "step_factor": 0.5,
    "precision": "32",
    "accelerator": "cpu",
}


def _fit(folder, patches, objective, inputs, **options):
    train = patches()
    return fit_network(
        "mlp",
        {"in_channels": 3, "n_outputs": 3},
        objective,
        train,
        patches(8, seed=1),
        inputs,
        options=TrainingOptions(**{**NADAM, **options}),
        folder=folder,
        augmentation=augmentation_for(train.channels, temporal=False),
    )


def _rates(result) -> list[float]:
    return [row["learning_rate"] for row in result.history]


def test_the_rate_falls_every_so_many_epochs(tmp_path, patches, objective, inputs):
    assert _rates(_fit(tmp_path, patches, objective, inputs)) == pytest.approx([4e-3, 4e-3, 2e-3, 2e-3, 1e-3, 1e-3])


def test_a_warm_up_comes_before_the_falls(tmp_path, patches, objective, inputs):
    rates = _rates(_fit(tmp_path, patches, objective, inputs, epochs=2, warmup=0.9))
    assert rates[0] < 4e-3
    assert rates[1] <= 4e-3


def test_nadam_goes_another_way_than_adamw(tmp_path, patches, objective, inputs):
    nadam = _fit(tmp_path / "a", patches, objective, inputs, epochs=2)
    adamw = _fit(tmp_path / "b", patches, objective, inputs, epochs=2, optimiser="adamw")
    assert any(not np.array_equal(nadam.state[name], adamw.state[name]) for name in nadam.state)
    assert nadam.history[-1]["train_loss"] < nadam.history[0]["train_loss"]


def test_an_interrupted_training_with_nadam_goes_on_to_the_same_weights(
    tmp_path, patches, objective, inputs, monkeypatch
):
    monkeypatch.setattr("ecumene.training.bookkeeping.SLOW_WRITE_S", np.inf)  # a busy disk skips no checkpoint
    whole = _fit(tmp_path / "whole", patches, objective, inputs)

    class Stopped(Exception):
        pass

    def stop(done, total, what):
        if done == 3:
            raise Stopped

    train = patches()
    arguments = ("mlp", {"in_channels": 3, "n_outputs": 3}, objective, train, patches(8, seed=1), inputs)
    shared = {
        "options": TrainingOptions(**NADAM),
        "folder": tmp_path / "stopped",
        "augmentation": augmentation_for(train.channels, temporal=False),
    }
    with pytest.raises(Stopped):
        fit_network(*arguments, **shared, progress=stop)
    again = fit_network(*arguments, **shared)
    assert _rates(again) == pytest.approx(_rates(whole))
    assert all(np.array_equal(whole.state[name], again.state[name]) for name in whole.state)


def test_the_rate_falls_where_the_validation_loss_stalls(tmp_path, patches, objective, inputs):
    found = _fit(tmp_path, patches, objective, inputs, schedule="plateau", step_epochs=1, step_factor=0.1)
    losses = [row["validation_loss"] for row in found.history]
    expected = [4e-3 * 0.1 ** falls(losses[:epoch], 1) for epoch in range(len(losses))]
    assert _rates(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("losses", "patience", "count"),
    [
        ([], 1, 0),
        ([3, 2, 1], 1, 0),
        ([1, 2], 1, 1),
        ([1, 2, 3, 4], 2, 1),
        ([1, 2, 2, 2, 2], 2, 2),
        ([1, 2, 0, 1], 2, 0),
    ],
)
def test_a_fall_needs_as_many_epochs_without_a_lower_loss(losses, patience, count):
    assert falls(losses, patience) == count


def test_a_constant_rate_stays(tmp_path, patches, objective, inputs):
    assert _rates(_fit(tmp_path, patches, objective, inputs, schedule="constant")) == pytest.approx([4e-3] * 6)


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "adadelta"])
def test_published_optimisers_learn_and_go_on_after_a_stop(tmp_path, patches, objective, inputs, optimiser):
    options = {"optimiser": optimiser, "schedule": "constant", "epochs": 4}
    options |= {"learning_rate": 1.0} if optimiser == "adadelta" else {}
    whole = _fit(tmp_path / "whole", patches, objective, inputs, **options)
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"]
    _fit(tmp_path / "parts", patches, objective, inputs, **options, max_time_s=1e-6)
    again = _fit(tmp_path / "parts", patches, objective, inputs, **options)
    assert all(np.array_equal(whole.state[name], again.state[name]) for name in whole.state)


def test_another_figure_chooses_and_another_one_ends(tmp_path, patches, objective, inputs):
    found = _fit(tmp_path / "a", patches, objective, inputs, monitor="validation_loss", epochs=6)
    losses = [row["validation_loss"] for row in found.history]
    assert found.best_epoch == int(np.argmin(losses))
    stopped = _fit(tmp_path / "b", patches, objective, inputs, stop_monitor="validation_loss", patience=1, epochs=6)
    losses = [row["validation_loss"] for row in stopped.history]
    assert len(losses) == 6 or losses[-1] >= min(losses[:-1])
    assert all(late < early for early, late in pairwise(losses[:-1]))


def test_a_figure_that_is_not_measured_is_named(tmp_path, patches, objective, inputs):
    with pytest.raises(ConfigurationError, match="micro_f1"):
        _fit(tmp_path / "a", patches, objective, inputs, monitor="micro_f1")
    with pytest.raises(ConfigurationError, match="stop by 'micro_f1'"):
        _fit(tmp_path / "b", patches, objective, inputs, stop_monitor="micro_f1")
