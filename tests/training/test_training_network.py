"""Training is reproducible, can be killed, stops in time and leaves nothing that executes."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, LabelError, ModelError
from ecumene.samples.augmentation import augmentation_for
from ecumene.training.balance import class_weights
from ecumene.training.batches import Batches, default_batch_size
from ecumene.training.fit_network import balanced_objective, fit_network
from ecumene.training.options import TrainingOptions

NETWORK = ("mlp", {"in_channels": 3, "n_outputs": 3})
QUICK = {"epochs": 4, "batch_size": 8, "learning_rate": 5e-3, "precision": "32", "accelerator": "cpu"}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def fit(folder, patches, objective, inputs, network=NETWORK, dates=None, **options):
    train, validation = patches(dates=dates), patches(8, dates=dates, seed=1)
    augmentation = augmentation_for(train.channels, temporal=dates is not None)
    return fit_network(
        *network, objective, train, validation, inputs, options=TrainingOptions(**{**QUICK, **options}), folder=folder,
        augmentation=augmentation,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("network", "dates"), [(NETWORK, None), (("unet-small", NETWORK[1]), None), (("ltae", NETWORK[1]), 3)]
)
def test_same_seed_same_weights_and_it_learns(tmp_path, patches, objective, inputs, network, dates):
    first = fit(tmp_path / "a", patches, objective, inputs, network, dates)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    again = fit(tmp_path / "b", patches, objective, inputs, network, dates)
    assert same(first.state, again.state)
    assert first.history == again.history
    assert first.history[-1]["train_loss"] < first.history[0]["train_loss"]
    assert max(row["macro_f1"] for row in first.history) == first.history[first.best_epoch]["macro_f1"]


def test_another_seed_gives_other_weights(tmp_path, patches, objective, inputs):
    first = fit(tmp_path / "a", patches, objective, inputs, epochs=1)
    other = fit(tmp_path / "b", patches, objective, inputs, epochs=1, seed=1)
    assert not same(first.state, other.state)


def test_training_leaves_the_callers_randomness_alone(tmp_path, patches, objective, inputs):
    import torch

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    fit(tmp_path, patches, objective, inputs, epochs=1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002
    assert not torch.are_deterministic_algorithms_enabled()


class Interrupted(Exception):
    pass


def stopping_after(epochs):
    def stop(done, total, what):
        if done == epochs:
            raise Interrupted

    return stop


def interrupted_and_resumed(arguments, after, **named):
    """Return what came of a training that was stopped and called again, and the epochs of the second call."""
    with pytest.raises(Interrupted):
        fit_network(*arguments, **named, progress=stopping_after(after))
    seen = []
    return fit_network(*arguments, **named, progress=lambda done, total, what: seen.append(done)), seen


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, patches, objective, inputs, ema, monkeypatch):
    monkeypatch.setattr("ecumene.training.bookkeeping.SLOW_WRITE_S", np.inf)  # a busy disk skips no checkpoint
    network = ("unet-small", {**NETWORK[1], "width": 8})
    whole = fit(tmp_path / "a", patches, objective, inputs, network, epochs=5, ema_decay=ema)

    arguments = (*network, objective, patches(), patches(8, seed=1), inputs)
    options = TrainingOptions(**QUICK | {"epochs": 5, "ema_decay": ema})
    named = {"options": options, "folder": tmp_path / "b", "augmentation": augmentation_for(patches().channels)}
    resumed, seen = interrupted_and_resumed(arguments, 2, **named)
    assert seen == [3, 4, 5]
    assert same(whole.state, resumed.state)
    assert whole.history == resumed.history
    again = fit_network(*arguments, **named, progress=stopping_after(2))
    assert same(again.state, whole.state)


def test_sigkill_and_the_same_command(tmp_path, patches, objective, inputs):
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__).rsplit("/", 1)[0]!r})
        import numpy as np
        from conftest import make_patches, LEGEND, CHANNELS
        from ecumene.objectives import Segmentation
        from ecumene.samples.patches import channel_statistics
        from ecumene.training import bookkeeping
        from ecumene.training.fit_network import fit_network
        from ecumene.training.options import TrainingOptions
        from ecumene.training.provenance import make_inputs
        bookkeeping.SLOW_WRITE_S = np.inf
        def kill(done, total, what):
            if done == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        inputs = make_inputs(CHANNELS, channel_statistics(make_patches()))
        fit_network("mlp", {NETWORK[1]!r}, Segmentation(LEGEND), make_patches(), make_patches(8, seed=1), inputs,
            options=TrainingOptions(**{QUICK!r}), folder={str(tmp_path / "b")!r}, progress=kill)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == -9, done.stderr
    arguments = (*NETWORK, objective, patches(), patches(8, seed=1), inputs)
    whole = fit_network(*arguments, options=TrainingOptions(**QUICK), folder=tmp_path / "a")
    seen = []
    resumed = fit_network(
        *arguments, options=TrainingOptions(**QUICK), folder=tmp_path / "b",
        progress=lambda done, total, what: seen.append(done),
    )  # fmt: skip
    assert seen == [3, 4]
    for name, value in whole.state.items():
        assert np.allclose(value, resumed.state[name], atol=1e-5), name


def test_checkpoints_that_take_long_are_written_seldom_and_cost_no_exactness(
    tmp_path, patches, objective, inputs, monkeypatch
):
    whole = fit(tmp_path / "a", patches, objective, inputs)
    monkeypatch.setattr("ecumene.training.bookkeeping.SLOW_WRITE_S", -1.0)  # every write counts as slow
    monkeypatch.setattr("ecumene.training.bookkeeping.SLOW_WRITE_REST", 1e9)

    arguments = (*NETWORK, objective, patches(), patches(8, seed=1), inputs)
    augmentation = augmentation_for(patches().channels, temporal=False)
    resumed, seen = interrupted_and_resumed(
        arguments, 3, options=TrainingOptions(**QUICK), folder=tmp_path / "b", augmentation=augmentation
    )
    assert seen == [2, 3, 4]
    assert same(whole.state, resumed.state)


def test_another_configuration_starts_anew(tmp_path, patches, objective, inputs):
    fit(tmp_path, patches, objective, inputs, epochs=2)
    longer = fit(tmp_path, patches, objective, inputs, epochs=2, learning_rate=1e-3)
    fresh = fit(tmp_path / "x", patches, objective, inputs, epochs=2, learning_rate=1e-3)
    assert same(longer.state, fresh.state)


def test_a_damaged_checkpoint_is_named(tmp_path, patches, objective, inputs):
    fit(tmp_path, patches, objective, inputs, epochs=1)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError, match="damaged; delete"):
        fit(tmp_path, patches, objective, inputs, epochs=1)


def test_logs_are_csv_and_tensorboard_and_nothing_can_execute(tmp_path, patches, objective, inputs):
    result = fit(tmp_path, patches, objective, inputs, epochs=2)
    with (tmp_path / "logs" / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["macro_f1"]) for row in rows] == [row["macro_f1"] for row in result.history]
    assert list((tmp_path / "logs" / "tensorboard").glob("events.out.tfevents*"))
    assert not [p for p in tmp_path.rglob("*") if p.suffix in {".ckpt", ".pt", ".pth", ".pkl"}]


def test_patience_and_time_limit_stop_it(tmp_path, patches, objective, inputs):
    patient = fit(tmp_path / "a", patches, objective, inputs, epochs=200, patience=3, learning_rate=1e-9)
    assert len(patient.history) == patient.best_epoch + 4 < 200
    timed = fit(tmp_path / "b", patches, objective, inputs, epochs=100_000, patience=100_000, max_time_s=2.0)
    assert timed.seconds < 6.0  # a stalled machine may stretch its last epoch
    assert 1 <= len(timed.history) < 100_000


def test_the_learning_rate_rises_then_falls(tmp_path, patches, objective, inputs):
    rates = [row["learning_rate"] for row in fit(tmp_path, patches, objective, inputs, epochs=6, warmup=0.4).history]
    top = int(np.argmax(rates))
    assert 0 < top < 5
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_bf16_trains_too(tmp_path, patches, objective, inputs):
    result = fit(tmp_path, patches, objective, inputs, ("unet-small", NETWORK[1]), precision="bf16-mixed", epochs=2)
    assert all(np.isfinite(value).all() for value in result.state.values())
    assert all(value.dtype != np.float16 for value in result.state.values())


def test_divergence_and_empty_sets_are_sentences(tmp_path, patches, objective, inputs):
    with pytest.raises(ConfigurationError, match="lower learning rate"):
        fit(tmp_path / "a", patches, objective, inputs, learning_rate=1e30, gradient_clip=1e30)
    empty = patches().take([])
    with pytest.raises(LabelError, match="training set is empty"):
        fit_network(*NETWORK, objective, empty, patches(), inputs, folder=tmp_path)
    with pytest.raises(LabelError, match="validation set is empty"):
        fit_network(*NETWORK, objective, patches(), empty, inputs, folder=tmp_path)


def test_regression_is_trained_by_the_same_call(tmp_path, patches, inputs):
    from dataclasses import replace

    from ecumene.objectives import PixelRegression

    def numbers(found):
        return replace(found, mask=np.where(found.mask < 0, np.nan, 3.0 * found.mask).astype(np.float32))

    objective = PixelRegression(["height"], "m", target_mean=1.5, target_std=2.0)
    result = fit_network(
        "mlp", {"in_channels": 3, "n_outputs": 2}, objective, numbers(patches()), numbers(patches(8, seed=1)), inputs,
        options=TrainingOptions(**QUICK | {"epochs": 8}), folder=tmp_path,
    )  # fmt: skip
    assert result.history[-1]["rmse"] < result.history[0]["rmse"]


@pytest.mark.parametrize("method", ["inverse-sqrt", "inverse", "median-frequency", "effective-number"])
def test_class_weights_favour_the_rare_and_average_to_one(method):
    counts = np.array([10_000, 0, 100, 1_000])
    weights = class_weights(counts, method)
    assert weights[2] > weights[3] > weights[0] > 0
    assert weights[1] == 1
    assert np.isclose((weights * counts).sum() / counts.sum(), 1)
    assert np.allclose(class_weights([5, 5, 5], method), 1)
    assert np.allclose(class_weights(counts, "none"), 1)


def test_class_weights_reach_the_objective_unless_it_has_its_own(patches, objective):
    options = TrainingOptions(class_balance="inverse")
    balanced = balanced_objective(objective, patches(), options)
    assert balanced.class_weights[2] > balanced.class_weights[0]
    assert balanced_objective(balanced, patches(), TrainingOptions(class_balance="inverse-sqrt")) is balanced
    assert balanced_objective(objective, patches(), TrainingOptions()) is objective


@pytest.mark.parametrize("dates", [None, 3])
def test_single_pixels_are_augmented_as_strips(patches, dates):
    from dataclasses import replace

    found = patches(40, side=8, dates=dates)
    pixel = replace(
        found, image=found.image[..., 4:5, 4:5], mask=found.mask[:, 4:5, 4:5], valid=found.valid[..., 4:5, 4:5]
    )
    plain = [batch["image"].numpy() for batch in Batches(pixel, 40)]
    same = [batch["image"].numpy() for batch in Batches(pixel, 40, augmentation=lambda sample, rng: sample)]
    assert np.array_equal(plain[0], same[0])
    augmentation = augmentation_for(found.channels, spatial=False)
    first, again = (
        next(iter(Batches(pixel, 40, augmentation=augmentation, shuffle=True, epoch=lambda: 4))) for _ in range(2)
    )
    assert np.array_equal(first["image"], again["image"])
    order = [int(np.abs(plain[0] - image).reshape(40, -1).sum(axis=1).argmin()) for image in first["image"].numpy()]
    changed = np.abs(first["image"].numpy() - plain[0][order])
    assert 0 < changed.max() < 0.2
    assert ("dates" in first) == (dates is not None)


def test_batches_hold_every_sample_once_in_an_order_of_seed_and_epoch(patches):
    found = patches(25)
    epoch = 0
    batches = Batches(found, 8, epoch=lambda: epoch, seed=3, shuffle=True)

    def order():
        stacked = np.concatenate([batch["image"].numpy() for batch in batches])
        return [
            int(np.flatnonzero((np.nan_to_num(found.image) == np.nan_to_num(x)).all(axis=(1, 2, 3)))[0])
            for x in stacked
        ]

    first = order()
    assert sorted(first) == list(range(25))
    assert len(batches) == 3  # the 25th sample joins the batch before
    assert order() == first
    epoch = 1
    assert order() != first
    assert 2 <= default_batch_size(found) <= 6
