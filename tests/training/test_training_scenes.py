"""Training on whole images: batches that depend on seed and epoch alone, and frozen or given weights."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tiny_scenes import CHANNELS, SIDE, TinyScenes, write_images

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.objectives import SceneClassification
from ecumene.samples.augmentation import augmentation_for
from ecumene.samples.datasets.loading import LazyScenes
from ecumene.training.fit_network import fit_network
from ecumene.training.options import TrainingOptions
from ecumene.training.provenance import make_inputs
from ecumene.training.scene_batches import SceneBatches, scene_batch_size
from ecumene.workflows.scene_data import scene_statistics

NETWORK = ("scene-resnet", {"in_channels": 3, "n_outputs": 3, "encoder": "test_resnet"})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return TinyScenes.open(write_images(tmp_path_factory.mktemp("data"), 48))


def collect(scenes, epoch=0, **options):
    return list(SceneBatches(scenes, 10, epoch=lambda: epoch, seed=4, shuffle=True, **options))


def same(first, second):
    return len(first) == len(second) and all(
        (a["image"].numpy() == b["image"].numpy()).all() and (a["target"] == b["target"]).all()
        for a, b in zip(first, second, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_alone(data):
    turning = augmentation_for(CHANNELS)
    lazy = LazyScenes(data, cache_bytes=5 * 4 * 3 * SIDE * SIDE)
    memory = data.read(np.arange(len(data)))
    first = collect(lazy, augmentation=turning)
    assert same(first, collect(lazy, augmentation=turning, workers=5))
    assert same(first, collect(memory, augmentation=turning, workers=1))
    assert not same(first, collect(memory, epoch=1, augmentation=turning))
    assert not same(first, collect(memory))
    targets = np.concatenate([batch["target"].numpy() for batch in first])
    np.testing.assert_array_equal(np.bincount(targets), [16, 16, 16])


def test_a_single_last_image_joins_the_batch_before(data):
    sizes = [len(batch["image"]) for batch in collect(LazyScenes(data, np.arange(41)))]
    assert sizes == [10, 10, 10, 11]
    plain = SceneBatches(LazyScenes(data, np.arange(41)), 10)
    assert [len(batch["image"]) for batch in plain] == [10, 10, 10, 10, 1]
    assert len(plain) == 5
    assert (scene_batch_size(1000), scene_batch_size(40), scene_batch_size(3)) == (32, 10, 2)


def test_threads_end_with_an_epoch_that_is_left(data):
    running = threading.active_count()
    batches = iter(SceneBatches(LazyScenes(data), 4))
    next(batches)
    batches.close()
    assert threading.active_count() == running


def test_a_file_that_cannot_be_read_is_its_sentence(data, tmp_path):
    broken = TinyScenes.open(write_images(tmp_path, 8))

    def fail(indices):
        raise SceneError("The image a.tif is cut short; fetch it again.")

    broken.read = fail
    with pytest.raises(SceneError, match="cut short"):
        list(SceneBatches(LazyScenes(broken), 4))


def fit(folder, data, **options):
    lazy = LazyScenes(data)
    inputs = make_inputs(CHANNELS, scene_statistics(lazy))
    said = {"epochs": 2, "batch_size": 12, "precision": "32", "accelerator": "cpu", "learning_rate": 3e-3}
    more = {key: options.pop(key) for key in ("initial", "frozen") if key in options}
    return fit_network(
        *NETWORK, SceneClassification(data.legend), options.pop("train", lazy), lazy, inputs, folder=folder,
        options=TrainingOptions(**{**said, **options}), augmentation=augmentation_for(CHANNELS), **more,
    )  # fmt: skip


def test_files_and_memory_give_the_same_network(data, tmp_path):
    lazy = fit(tmp_path / "a", data)
    memory = fit(tmp_path / "b", data, train=data.read(np.arange(len(data))))
    assert all(np.array_equal(lazy.state[name], memory.state[name]) for name in lazy.state)
    assert lazy.history[-1]["train_loss"] < lazy.history[0]["train_loss"]


def test_frozen_parts_keep_weights_and_statistics_and_given_ones_are_begun_with(data, tmp_path):
    first = fit(tmp_path / "a", data, epochs=1)
    second = fit(tmp_path / "b", data, epochs=1, initial=first.state, frozen=["encoder."], seed=5)
    changed = {name for name in first.state if not np.array_equal(first.state[name], second.state[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frozen": [""]}, "nothing is left to learn"),
        ({"initial": {"head.bias": np.zeros(9, np.float32)}}, "same system and bands"),
        ({"initial": {"tail": np.zeros(3, np.float32)}}, "do not fit"),
    ],
)
def test_weights_that_do_not_fit_are_a_sentence(options, sentence, data, tmp_path):
    with pytest.raises(ConfigurationError, match=sentence):
        fit(tmp_path, data, **options)
