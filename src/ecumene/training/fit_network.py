"""Trains a network: Lightning's loop, our own checkpoints, the best epoch's weights as arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import ensure_writable_folder
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.models.contract import InputBand
from ecumene.models.memory_layout import to_channels_last
from ecumene.models.torch_execution import has_native_bfloat16
from ecumene.networks import build_network
from ecumene.objectives import Members, build_objective
from ecumene.objectives.contract import Direction, Objective
from ecumene.samples.augmentation import Augmentation
from ecumene.samples.restoration_set import RestorationSamples
from ecumene.training.balance import class_weights
from ecumene.training.loaders import batches_of, usual_batch_size
from ecumene.training.options import TrainingOptions
from ecumene.training.seeding import seeded

if TYPE_CHECKING:
    from ecumene.training.bookkeeping import Bookkeeping
    from ecumene.training.loaders import Data


@dataclass(frozen=True)
class FitResult:
    """A trained network.

    Attributes:
        state: Weights of the best epoch, by name.
        history: One entry an epoch: losses, metrics, learning rate.
        best_epoch: Epoch (from 0) whose weights these are.
        seconds: Time of training, of all runs together.
        ended_by: What ended it: `epochs`, `patience`, or `time`.
    """

    state: dict[str, NDArray[Any]]
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    ended_by: str = "epochs"


def fit_network(
    network_name: str,
    network_arguments: Mapping[str, Any],
    objective: Objective,
    train: Data,
    validation: Data,
    inputs: Sequence[InputBand],
    *,
    options: TrainingOptions | None = None,
    folder: Path | str,
    augmentation: Augmentation | None = None,
    progress: Progress = silent,
    initial: Mapping[str, NDArray[Any]] | None = None,
    frozen: Sequence[str] = (),
) -> FitResult:
    """Train a network and return the weights of its best epoch.

    The same seed gives the same weights on the same machine, also when the training was killed and called
    again: order of samples, dropout and augmentation depend on seed and epoch only.

    Args:
        network_name: Name in the registry of networks.
        network_arguments: Its arguments, with `in_channels` and `n_outputs`.
        objective: What is learned.
        train: Samples to learn from, physical units, NaN for nodata.
        validation: Samples that choose the best epoch.
        inputs: Bands with means and standard deviations, in the order of the channels.
        options: See `TrainingOptions`.
        folder: For checkpoint and logs; may be deleted afterwards.
        augmentation: Applied to every training sample, called with the sample and a generator.
        progress: Called with (epochs done, epochs, what).
        initial: Arrays to begin with, by name; those that are not given begin at random. None: all at random.
        frozen: Beginnings of names of parameters that stay as they are.

    Returns:
        The best weights and the history.

    Raises:
        LabelError: If a set is empty.
        ProductError: If `folder` cannot be written to.
        ConfigurationError: If the training diverges or the network's arguments are wrong.
    """
    options = options or TrainingOptions()
    for name, patches in (("training", train), ("validation", validation)):
        if len(patches) == 0:
            raise LabelError(f"The {name} set is empty; give more labels or smaller blocks.")
    folder = ensure_writable_folder(folder)
    logs = ensure_writable_folder(options.log_dir or folder / "logs")
    objective = balanced_objective(objective, train, options)
    with seeded(options.seed), _quiet(), _without_denormals():
        from ecumene.training.bookkeeping import Bookkeeping

        mark = _fingerprint(
            network_name, network_arguments, objective, inputs, options, (train, validation), (initial, frozen)
        )
        book = Bookkeeping(folder, logs, options, monitor_of(objective, options.monitor), mark, progress)
        resumed = book.resume()
        if not (resumed and book.finished):
            network = build_network(network_name, pretrained=not resumed, **network_arguments)
            prepare(network, initial, frozen)
            _run(network, objective, train, validation, inputs, options, augmentation, book)
    state = {name: tensor.numpy() for name, tensor in book.best_state().items()}
    return FitResult(state, book.history, book.best_epoch, book.seconds, book.ended_by)


def prepare(
    network: torch.nn.Module, initial: Mapping[str, NDArray[Any]] | None = None, frozen: Sequence[str] = ()
) -> None:
    """Give a network weights to begin with and fix some of its parameters.

    Raises:
        ConfigurationError: If a weight is not the network's or has another shape, or nothing is left to learn.
    """
    state = network.state_dict()
    for name, array in (initial or {}).items():
        if name not in state or tuple(state[name].shape) != array.shape:
            raise ConfigurationError(
                f"The weights to begin with do not fit the network: {name!r} has the shape {array.shape}; "
                "begin with a model of the same system and bands."
            )
        state[name] = torch.from_numpy(np.array(array))
    if initial:
        network.load_state_dict(state)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(frozen)) if frozen else parameter.requires_grad)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError("All parameters of the network are frozen, so that nothing is left to learn.")


def _run(
    network: torch.nn.Module,
    objective: Objective,
    train: Data,
    validation: Data,
    inputs: Sequence[InputBand],
    options: TrainingOptions,
    augmentation: Augmentation | None,
    book: Bookkeeping,
) -> None:
    """Run the epochs that are left."""
    from ecumene.training.learner import Learner

    lightning = require("lightning")
    size = options.batch_size or usual_batch_size(train)
    first_epoch = len(book.history)
    learner: Any = None
    batches = batches_of(
        train,
        size,
        epoch=lambda: learner.epoch,
        seed=options.seed,
        augmentation=augmentation if options.augment else None,
        shuffle=True,
        observed=objective.reads_observed,
    )
    learner = Learner(
        to_channels_last(network),
        objective,
        inputs,
        options,
        steps=options.epochs * len(batches),
        first_epoch=first_epoch,
        first_step=book.step,
    )
    learner.past_losses = book.validation_losses
    trainer = lightning.Trainer(
        max_epochs=options.epochs - first_epoch,
        accelerator=options.accelerator,
        devices=1,
        precision=_precision(options),
        callbacks=[book],
        logger=_loggers(book.logs),
        gradient_clip_val=options.gradient_clip,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1_000_000,
    )
    began = time.monotonic()
    trainer.fit(learner, batches, batches_of(validation, size, observed=objective.reads_observed))
    book.seconds += time.monotonic() - began


def monitor_of(objective: Objective, figure: str | None) -> tuple[str, Direction]:
    """Return what chooses the best epoch, and the direction that is better."""
    if figure is None or figure == objective.monitor[0]:
        return objective.monitor
    return figure, "min" if figure.endswith("loss") else "max"


def balanced_objective(objective: Objective, train: Data, options: TrainingOptions) -> Objective:
    """Return the objective with class weights from the training labels, where it takes them and has none."""
    if isinstance(objective, Members):
        return Members(balanced_objective(objective.base, train, options), objective.members)
    config = objective.to_config()
    if options.class_balance == "none" or objective.legend is None or config.get("class_weights", 0) is not None:
        return objective
    if isinstance(train, RestorationSamples):  # images as answers have no classes
        return objective
    weights = class_weights(train.class_counts(len(objective.legend)), options.class_balance)
    return build_objective({**config, "class_weights": weights.tolist()})


def _precision(options: TrainingOptions) -> str:
    if options.precision == "auto":
        on_gpu = torch.cuda.is_available() and options.accelerator != "cpu"
        return "bf16-mixed" if has_native_bfloat16(cuda=on_gpu) else "32-true"
    return "32-true" if options.precision == "32" else options.precision


def _loggers(logs: Path) -> Any:
    """Return TensorBoard's logger where TensorBoard is installed."""
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return [TensorBoardLogger(logs, name="tensorboard", version="")]


def _fingerprint(
    name: str,
    arguments: Mapping[str, Any],
    objective: Objective,
    inputs: Sequence[InputBand],
    options: TrainingOptions,
    sets: tuple[Data, Data],
    start: tuple[Mapping[str, NDArray[Any]] | None, Sequence[str]] = (None, ()),
) -> str:
    """Return a digest of all that decides the weights."""
    described = {
        "network": [name, dict(arguments)],
        "objective": objective.to_config(),
        "inputs": [band.model_dump() for band in inputs],
        "options": options.model_dump(mode="json", exclude={"resume", "max_time_s", "log_dir"}),
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for patches in sets:
        digest.update(patches.digest())
    for name, array in sorted((start[0] or {}).items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    if start[1]:
        digest.update("\n".join(start[1]).encode())
    return digest.hexdigest()


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Treat denormal numbers as 0: weights that decay towards 0 otherwise make a step several times slower."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says to developers; what concerns users is raised as errors."""
    names = ("lightning", "lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
