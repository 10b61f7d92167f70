"""What happens after every epoch: best weights, early stopping, time limit, logs, checkpoint."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import write_text
from ecumene.core.optional import require
from ecumene.core.progress import Progress
from ecumene.training.checkpoint import pack_optimiser, read_tensors, restore_optimiser, write_tensors
from ecumene.training.learner import Learner
from ecumene.training.options import TrainingOptions

lightning = require("lightning")

SLOW_WRITE_S = 2.0
SLOW_WRITE_REST = 20
CHECKPOINT, BEST, HISTORY = "checkpoint.safetensors", "best.safetensors", "history.csv"


class Bookkeeping(lightning.Callback):  # type: ignore[misc,name-defined]
    """Keeps the state of a training on disk.

    Args:
        folder: Of the training.
        logs: Of `history.csv`.
        options: Of the training.
        monitor: Objective's metric and the direction that is better.
        fingerprint: Of network, data and options; another one is not resumed.
        progress: Called with (epochs done, epochs, what).
    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        options: TrainingOptions,
        monitor: tuple[str, str],
        fingerprint: str,
        progress: Progress,
    ) -> None:
        self.folder, self.logs, self.options, self.progress = folder, logs, options, progress
        self.metric, self.direction = monitor
        self.fingerprint = fingerprint
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best_value = -1, math.nan
        self.seconds, self.finished, self.step = 0.0, False, 0
        self._tensors: dict[str, Tensor] = {}
        self._began = time.monotonic()
        self._written, self._write_took = -math.inf, 0.0

    # -- resuming ----------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Read an earlier state if there is one of the same training; say whether there was."""
        path = self.folder / CHECKPOINT
        if not (self.options.resume and path.is_file() and (self.folder / BEST).is_file()):
            return False
        tensors, state = read_tensors(path)
        if state.get("fingerprint") != self.fingerprint:
            return False
        self.history, self.best_epoch, self.best_value = state["history"], state["best_epoch"], state["best_value"]
        self.seconds, self.finished, self.step = state["seconds"], state["finished"], state["step"]
        self.finished |= self._late(self.seconds)
        self._tensors = tensors
        return True

    def on_fit_start(self, trainer: Any, learner: Learner) -> None:
        """Put the earlier state back."""
        self._began = time.monotonic()
        if not self._tensors:
            return
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}}
        for key, tensor in self._tensors.items():
            kind, _, name = key.partition("/")
            if kind in parts:
                parts[kind][name] = tensor.to(learner.device)
        learner.network.load_state_dict(parts["network"])
        learner.average = parts["average"]
        restore_optimiser(trainer.optimizers[0], self._tensors)
        self._tensors = {}

    # -- every epoch -------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Any, learner: Learner) -> None:
        """Take stock of the epoch."""
        results = learner.results
        if not math.isfinite(results.get("train_loss", math.nan)):
            raise ConfigurationError("The training diverged (its loss is not finite); use a lower learning rate.")
        if self.metric not in results:
            raise ConfigurationError(f"The objective watches {self.metric!r}, which its metrics do not give.")
        epoch, value = learner.epoch, results[self.metric]
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.history.append({"epoch": epoch, **results, "learning_rate": rate})
        if self._is_better(value):
            self.best_epoch, self.best_value = epoch, value
            write_tensors(self.folder / BEST, learner.evaluated_state(), {"epoch": epoch})
        elapsed = self.seconds + time.monotonic() - self._began
        last = epoch + 1 >= self.options.epochs
        self.finished = last or self._stalled() >= self.options.patience
        if self.finished or self._late(elapsed):
            trainer.should_stop = True
        self._log(trainer, results, epoch, rate)
        self._checkpoint(trainer, learner, elapsed)
        self.progress(epoch + 1, self.options.epochs, f"{self.metric} {value:.3f}")

    def validation_losses(self) -> list[float]:
        """Return the validation losses of all epochs that are done."""
        return [row["validation_loss"] for row in self.history]

    def _stalled(self) -> int:
        """Return the epochs since the figure that ends the training was best."""
        done, figure = len(self.history), self.options.stop_monitor
        if figure is None or figure == self.metric:
            return int(self.history[-1]["epoch"]) - max(self.best_epoch, 0)
        if figure not in self.history[-1]:
            raise ConfigurationError(f"The training is to stop by {figure!r}, which the objective does not measure.")
        sign = 1.0 if figure.endswith("loss") else -1.0
        values = [sign * row[figure] for row in self.history]
        return done - 1 - values.index(min(values))

    def _late(self, elapsed: float) -> bool:
        """Whether another epoch, as long as the mean of those done, would end after the time limit."""
        limit = self.options.max_time_s
        return limit is not None and elapsed * (1 + 1 / len(self.history)) > limit

    def _is_better(self, value: float) -> bool:
        if self.best_epoch < 0:
            return True
        if not math.isfinite(value):
            return False
        if not math.isfinite(self.best_value):
            return True
        return value > self.best_value if self.direction == "max" else value < self.best_value

    def _log(self, trainer: Any, results: dict[str, float], epoch: int, rate: float) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({**results, "learning_rate": rate}, step=epoch)
        names = list(dict.fromkeys(name for row in self.history for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.logs / HISTORY, text.getvalue())

    def _checkpoint(self, trainer: Any, learner: Learner, elapsed: float) -> None:
        now = time.monotonic()
        # Big networks on slow disks: spend no more than a twentieth of the time on writing.
        slow = self._write_took > SLOW_WRITE_S and now - self._written < SLOW_WRITE_REST * self._write_took
        if slow and not trainer.should_stop:
            return
        tensors = {f"network/{name}": value for name, value in learner.network.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in learner.average.items()}
        tensors |= pack_optimiser(trainer.optimizers[0])
        state = {
            "fingerprint": self.fingerprint,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "seconds": elapsed,
            "finished": self.finished,
            "step": learner.done,
        }
        write_tensors(self.folder / CHECKPOINT, tensors, state)
        self._written = time.monotonic()
        self._write_took = self._written - now

    @property
    def ended_by(self) -> str:
        """What ended the training: `epochs` (all are done), `patience`, or `time` (the limit came first)."""
        if len(self.history) >= self.options.epochs:
            return "epochs"
        return "patience" if self._stalled() >= self.options.patience else "time"

    def best_state(self) -> dict[str, torch.Tensor]:
        """Return the best epoch's weights."""
        return read_tensors(self.folder / BEST)[0]
