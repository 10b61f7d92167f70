"""Published schedules: a learning rate that falls in steps, and Nadam."""

from __future__ import annotations

import numpy as np
import pytest

from ecumene.samples.augmentation import augmentation_for
from ecumene.training.fit_network import fit_network
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
