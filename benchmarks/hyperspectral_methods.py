"""The methods that `hyperspectral.py` compares: each learns from some pixels and answers for all pixels of an image."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.legends import Legend
from ecumene.models.svm import SupportVectorMachine
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble
from ecumene.networks import build_network
from ecumene.objectives import SceneClassification, Segmentation
from ecumene.samples.datasets.cubes import HyperspectralCube
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.statistics import channel_statistics
from ecumene.scenes.contract import Channel
from ecumene.training.fit_network import fit_network
from ecumene.training.fit_svm import fit_svm
from ecumene.training.fit_trees import fit_forest
from ecumene.training.options import TrainingOptions
from ecumene.training.provenance import make_inputs
from ecumene.training.reconstruction import learn_reconstruction

Spectra = NDArray[np.float32]
Classes = NDArray[np.int64]
Method = Callable[[Spectra, Classes, Spectra, int, int], Classes]
"""Spectra and classes to learn from, spectra to answer for, number of classes, seed -> classes."""


class LossWatched(Segmentation):
    """Class objective whose training keeps the weights of its lowest training loss: there is nothing to spare."""

    monitor = ("train_loss", "min")


class LossWatchedPatches(SceneClassification):
    """The same for the class of a patch's centre."""

    monitor = ("train_loss", "min")


def as_patches(x: Spectra, y: Classes) -> PatchSet:
    """Return spectra as labelled single pixels."""
    count, bands = x.shape
    channels = tuple(Channel("aviris", "DN", f"band{number:03d}", "DN") for number in range(1, bands + 1))
    ones = np.ones((count, 1, 1), bool)
    return PatchSet(
        x[:, :, None, None], y[:, None, None], ones, np.zeros((count, 1), np.int64), np.zeros((count, 1, 1), np.int32),
        channels,
    )  # fmt: skip


def network(name: str, *, global_scaling: bool = False, training: dict[str, Any], **arguments: Any) -> Method:
    """Return a network as a method: all pixels learn, for a fixed number of epochs."""

    def method(x: Spectra, y: Classes, new: Spectra, n_classes: int, seed: int) -> Classes:
        patches = as_patches(x, y)
        first = np.array([np.flatnonzero(y == label)[0] for label in np.unique(y)])
        inputs = make_inputs(patches.channels, channel_statistics(patches))
        if global_scaling:
            mean = float(np.mean(x))
            inputs = tuple(band.model_copy(update={"mean": mean, "std": float(np.std(x))}) for band in inputs)
        full = {**arguments, "in_channels": x.shape[1], "n_outputs": n_classes}
        options = TrainingOptions(
            **{"precision": "32", "patience": 1_000_000, "batch_size": 128, "seed": seed, **training}
        )
        legend = Legend.from_names([f"class {number}" for number in range(n_classes)])
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit_network(
                name, full, LossWatched(legend), patches, patches.take(first), inputs, options=options, folder=folder
            )
        built = build_network(name, **full)
        built.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in fitted.state.items()})
        mean = np.array([band.mean for band in inputs], np.float32)
        std = np.array([band.std for band in inputs], np.float32)
        with torch.inference_mode():
            rows = torch.from_numpy(((new - mean) / std)[:, :, None, None])
            return np.asarray(built.eval()(rows)[:, :, 0, 0].argmax(dim=1).numpy(), np.int64)

    return method


def machine(**arguments: Any) -> Method:
    """Return the support vector machine as a method."""

    def method(x: Spectra, y: Classes, new: Spectra, n_classes: int, seed: int) -> Classes:
        fitted = SupportVectorMachine.from_arrays(fit_svm(x, y, n_classes=n_classes, seed=seed, **arguments))
        return np.asarray(fitted(new).argmax(axis=1), np.int64)

    return method


def forest(x: Spectra, y: Classes, new: Spectra, n_classes: int, seed: int) -> Classes:
    """Learn a random forest of 200 trees."""
    trees = TreeEnsemble.from_arrays(fit_forest(x, y, n_classes=n_classes, n_trees=200, seed=seed, n_jobs=1))
    return np.asarray(TreeWalker(trees)(new).argmax(axis=1), np.int64)


def residual(
    data: HyperspectralCube, learn: Classes, test: Classes, seed: int, *, steps: int, widths: tuple[int, ...]
) -> Classes:
    """Learn residual convolutions on patches, after so many steps without labels (0: none), and answer for others."""
    learned = learn_reconstruction(data.image(), widths=widths, steps=max(1, steps), batch=32, seed=seed)
    inputs = make_inputs(data.channels, {"mean": learned.mean, "std": learned.std})
    train = data.read(learn)
    arguments = {"in_channels": len(inputs), "n_outputs": len(data.legend), "widths": widths}
    options = TrainingOptions(epochs=40, batch_size=32, learning_rate=1e-3, patience=1_000_000, seed=seed)
    first = np.array([np.flatnonzero(train.label == label)[0] for label in np.unique(train.label)])
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(
            "residual-conv",
            arguments,
            LossWatchedPatches(data.legend),
            train,
            train.take(first),
            inputs,
            options=options,
            folder=folder,
            initial=learned.weights() if steps else None,
        )
    built = build_network("residual-conv", **arguments)
    built.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in fitted.state.items()})
    answers = []
    with torch.inference_mode():
        for part in np.array_split(test, -(-len(test) // 256)):
            image = (data.read(part).image - learned.mean[:, None, None]) / learned.std[:, None, None]
            answers.append(built.eval()(torch.from_numpy(np.nan_to_num(image))).argmax(dim=1).numpy())
    return np.concatenate(answers).astype(np.int64)


PATCH_METHODS = {
    "residual conv-deconv": partial(residual, steps=300, widths=(16, 32, 64)),
    "residual convolutions, random start": partial(residual, steps=0, widths=(16, 32, 64)),
}
"""Narrower than published systems would be, so that ten draws take minutes on a processor."""

STEPS = {"epochs": 100, "learning_rate": 3e-3}
METHODS: dict[str, Method] = {
    "SVM, C = 100": machine(cost=(100.0,), gamma=(1.0,)),
    "SVM, grid search": machine(),
    "random forest, 200 trees": forest,
    "CNN": network("spectral-cnn", training={"epochs": 200, "learning_rate": 3e-3}),
    "perceptron": network("mlp", training={"epochs": 200, "learning_rate": 3e-3}),
    "GRU-PRetanh": network("spectral-rnn", training=STEPS),
    "GRU-tanh": network("spectral-rnn", cell="gru", training=STEPS),
    "LSTM": network("spectral-rnn", cell="lstm", training=STEPS),
}
ABLATIONS: dict[str, Method] = {
    "GRU-PRetanh, last state": network(
        "spectral-rnn", head="last_state", training={"epochs": 200, "learning_rate": 3e-3}
    ),
    "GRU-PRetanh, 4 bands a step": network("spectral-rnn", bands_per_step=4, training=STEPS),
    "GRU-PRetanh, 8 bands a step": network("spectral-rnn", bands_per_step=8, training=STEPS),
    "GRU-PRetanh, one scale for all bands": network("spectral-rnn", global_scaling=True, training=STEPS),
    "GRU-PRetanh, rate 1e-3": network("spectral-rnn", training={**STEPS, "learning_rate": 1e-3}),
    "GRU-PRetanh, Adadelta of rate 1": network(
        "spectral-rnn", training={**STEPS, "learning_rate": 1.0, "optimiser": "adadelta", "weight_decay": 0.0}
    ),
    "GRU-PRetanh, 200 epochs of rate 1e-3": network("spectral-rnn", training={"epochs": 200, "learning_rate": 1e-3}),
}
