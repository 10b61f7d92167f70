"""The Lightning module: normalises, runs the network, asks the objective for loss and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ecumene.core.optional import require
from ecumene.models.contract import InputBand
from ecumene.models.deployed import normalise_tensor
from ecumene.networks.contract import OwnLoss
from ecumene.objectives import Members
from ecumene.objectives.contract import Objective
from ecumene.training.options import TrainingOptions

lightning = require("lightning")


def falls(losses: Sequence[float], patience: int) -> int:
    """Return how often a rate has fallen: whenever the loss has not got lower for so many epochs.

    Args:
        losses: Of the epochs in their order.
        patience: Epochs without a lower loss before a fall, and again before the next one.
    """
    lowest, waited, count = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited >= patience:
            count, waited = count + 1, 0
    return count


class Learner(lightning.LightningModule):  # type: ignore[misc,name-defined]
    """One training run of a network.

    Args:
        network: See `networks.contract.Network`.
        objective: Loss and metrics, with class weights already in.
        inputs: Bands with means and standard deviations.
        options: Of the training.
        steps: Optimiser steps of all epochs.
        first_epoch: Epochs that an earlier, killed run has done.
        first_step: Optimiser steps that it has done.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        inputs: Sequence[InputBand],
        options: TrainingOptions,
        *,
        steps: int,
        first_epoch: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.options = options
        self.steps = steps
        self.first_epoch = first_epoch
        self.done = first_step
        self.register_buffer("mean", torch.tensor([band.mean for band in inputs])[:, None, None])
        self.register_buffer("std", torch.tensor([band.std for band in inputs])[:, None, None])
        self.past_losses: Callable[[], Sequence[float]] = tuple
        """Returns the validation losses of all epochs that are done, of earlier runs too."""
        self.average: dict[str, Tensor] = {}
        self.results: dict[str, float] = {}
        self._losses: dict[str, list[Tensor]] = {"train": [], "validation": []}
        self._metrics: Any = None
        self._kept: dict[str, Tensor] = {}
        # Parts that do not learn keep their running statistics too.
        self._still = [
            part
            for part in network.modules()
            if (own := list(part.parameters())) and not any(parameter.requires_grad for parameter in own)
        ]

    @property
    def epoch(self) -> int:
        """Number of the epoch, counted from the very first run."""
        return self.first_epoch + int(self.current_epoch)

    def _input(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (standardised image, valid)."""
        x, valid = normalise_tensor(batch["image"], self.mean, self.std)
        return (x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x), valid

    def _run(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return (output in float32, target, valid)."""
        x, valid = self._input(batch)
        output = self.network(x, batch.get("dates"), valid)
        with torch.autocast(x.device.type, enabled=False):
            return output.float(), batch["target"], valid.any(dim=1) if valid.ndim == 4 else valid

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate: linear warm-up, then half a cosine (Loshchilov and Hutter 2017), falls, or none."""
        options = self.options
        warmup = max(1 if options.schedule == "cosine" else 0, round(options.warmup * self.steps))
        if step < warmup:
            return options.learning_rate * (step + 1) / warmup
        if options.schedule == "step":
            return options.learning_rate * options.step_factor ** (self.epoch // options.step_epochs)
        if options.schedule == "plateau":
            return options.learning_rate * options.step_factor ** falls(self.past_losses(), options.step_epochs)
        if options.schedule == "constant":
            return options.learning_rate
        share = min(1.0, (step - warmup) / max(1, self.steps - warmup))
        low = options.final_learning_rate
        return options.learning_rate * (low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * share)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW (Loshchilov, Hutter 2019), Adam (Kingma, Ba 2015), Nadam (Dozat 2016), Adadelta or RMSProp.

        Biases do not decay. Adam, Adadelta (Zeiler 2012) and RMSProp (Tieleman, Hinton 2012) add the decay to the
        gradient, as they were published; AdamW and Nadam shrink the weights.
        """
        decayed = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.network.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        used = [group for group in groups if group["params"]]
        if self.options.optimiser == "nadam":
            return torch.optim.NAdam(used, lr=self.options.learning_rate, decoupled_weight_decay=True)
        if self.options.optimiser == "adadelta":
            return torch.optim.Adadelta(used, lr=self.options.learning_rate)
        if self.options.optimiser == "adam":
            return torch.optim.Adam(used, lr=self.options.learning_rate)
        if self.options.optimiser == "rmsprop":
            return torch.optim.RMSprop(used, lr=self.options.learning_rate, alpha=0.9)
        return torch.optim.AdamW(used, lr=self.options.learning_rate)

    def on_train_epoch_start(self) -> None:
        """Derive dropout's randomness from seed and epoch, so that a resumed run repeats it."""
        torch.manual_seed((self.options.seed * 1_000_003 + self.epoch) % 2**63)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for part in self._still:
            part.eval()
        for group in self.optimizers().param_groups:
            group["lr"] = self.learning_rate_at(self.done)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        if isinstance(self.network, OwnLoss):
            x, valid = self._input(batch)
            base = self.objective.base if isinstance(self.objective, Members) else self.objective
            loss = self.network.training_loss(base.loss, x, batch["target"], valid)
        else:
            loss = self.objective.loss(*self._run(batch))
        self._losses["train"].append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step and update the moving average of the weights."""
        self.done += 1
        decay = self.options.ema_decay
        if decay is None:
            return
        # The first steps are averaged with less memory, so that the random start fades quickly.
        decay = min(decay, (1.0 + self.done) / (10.0 + self.done))
        for name, value in self.network.state_dict().items():
            if not value.is_floating_point() or name not in self.average:
                self.average[name] = value.detach().clone()
            else:
                self.average[name].lerp_(value.detach(), 1.0 - decay)

    def evaluated_state(self) -> dict[str, Tensor]:
        """Return a copy of the weights that are validated: the moving average where there is one."""
        return {name: value.detach().clone() for name, value in (self.average or self.network.state_dict()).items()}

    def on_validation_epoch_start(self) -> None:
        """Take fresh metrics, and the averaged weights."""
        self._metrics = self.objective.metrics().to(self.device)
        if self.average:
            self._kept = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            self.network.load_state_dict(self.average)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Feed the metrics."""
        output, target, valid = self._run(batch)
        self._losses["validation"].append(self.objective.loss(output, target, valid).detach())
        self.objective.update_metrics(self._metrics, output, target, valid)

    def on_validation_epoch_end(self) -> None:
        """Collect the epoch's figures in `results`."""
        self.results = {
            f"{part}_loss": float(torch.stack(losses).mean()) for part, losses in self._losses.items() if losses
        }
        self.results |= {name: float(value) for name, value in self._metrics.compute().items() if value.numel() == 1}
        self._losses = {"train": [], "validation": []}
        if self._kept:
            self.network.load_state_dict(self._kept)
            self._kept = {}
