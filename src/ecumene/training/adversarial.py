"""Trains a network that removes clouds against discriminators: paired (pix2pix) or with a cycle and cloud weights."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.files import ensure_writable_folder
from ecumene.core.progress import Progress, silent
from ecumene.models.contract import InputBand
from ecumene.models.deployed import normalise_tensor
from ecumene.networks import build_network
from ecumene.networks.pix2pix import PatchDiscriminator, Pix2PixUNet
from ecumene.objectives.contract import Objective
from ecumene.samples.restoration_set import RestorationSamples
from ecumene.training.checkpoint import pack_optimiser, read_tensors, restore_optimiser, write_tensors
from ecumene.training.fit_network import FitResult
from ecumene.training.options import TrainingOptions
from ecumene.training.restoration_batches import RestorationBatches
from ecumene.training.seeding import seeded

Game = Literal["pix2pix", "cycle"]
CHECKPOINT = "adversarial.safetensors"
BETAS = (0.5, 0.999)
CYCLE, KEPT, PAIRED = 10.0, 5.0, 10.0
"""Weights of the cycle, of clear pixels that are to stay, and of covered pixels against the clear image."""
PROBABILITY_RADIUS = 3
"""Of the square over which a cloud mask is averaged to a probability of cloud."""


@dataclass
class _Batch:
    """Tensors of a batch in scaled units; pixels without a known target are those of the image itself."""

    condition: Tensor
    seen: Tensor
    target: Tensor
    cloud: Tensor


class Players(nn.Module):
    """The networks of a game, with their losses.

    Args:
        generator: Cloudy to clear.
        game: `pix2pix`: one discriminator of (condition, image), logistic loss, plus `weight` times L1 (Isola et al.
            2017). `cycle`: a second generator puts clouds back on, each has a discriminator of images with least
            squares (Zhu et al. 2017); clear pixels are to stay as observed and covered ones to become the target, by
            the probability of cloud (Ebel et al. 2020).
        channels: Of the image.
        arguments: Of the generator, for the second one.
        network: Its name.
        weight: See above.
        width: Channels of a discriminator's first layer.
    """

    def __init__(
        self,
        generator: Pix2PixUNet,
        game: Game,
        channels: int,
        network: str,
        arguments: Mapping[str, Any],
        weight: float,
        width: int,
    ) -> None:
        super().__init__()
        self.generator, self.game, self.weight = generator, game, weight
        bands = generator.bands
        condition = channels if game == "pix2pix" else 0
        self.judge = PatchDiscriminator(condition + bands, width)
        self.back: nn.Module | None = None
        self.judge_back: nn.Module | None = None
        if game == "cycle":
            self.back = build_network(network, **arguments)
            self.judge_back = PatchDiscriminator(bands, width)

    def generators(self) -> list[nn.Parameter]:
        """Return the parameters that make images."""
        return [*self.generator.parameters(), *(self.back.parameters() if self.back is not None else ())]

    def judges(self) -> list[nn.Parameter]:
        """Return the parameters that judge images."""
        return [*self.judge.parameters(), *(self.judge_back.parameters() if self.judge_back is not None else ())]

    def losses(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Return (loss of the generators, loss of the discriminators) of a batch."""
        fake = self.generator.translate(batch.condition)
        if self.game == "pix2pix":
            return self._paired(batch, fake)
        return self._cycle(batch, fake)

    def _paired(self, batch: _Batch, fake: Tensor) -> tuple[Tensor, Tensor]:
        judged = self.judge(torch.cat((batch.condition, fake), dim=1))
        made = _logistic(judged, real=True) + self.weight * (fake - batch.target).abs().mean()
        real = self.judge(torch.cat((batch.condition, batch.target), dim=1))
        caught = self.judge(torch.cat((batch.condition, fake.detach()), dim=1))
        return made, 0.5 * (_logistic(real, real=True) + _logistic(caught, real=False))

    def _cycle(self, batch: _Batch, fake: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.back, Pix2PixUNet)
        assert self.judge_back is not None
        radar = batch.condition[:, self.generator.bands :]
        clouded = self.back.translate(torch.cat((batch.target, radar), dim=1))
        again = self.back.translate(torch.cat((fake, radar), dim=1))
        cleared = self.generator.translate(torch.cat((clouded, radar), dim=1))
        cycle = (again - batch.seen).abs().mean() + (cleared - batch.target).abs().mean()
        kept = ((1.0 - batch.cloud) * (fake - batch.seen).abs()).mean()
        covered = (batch.cloud * (fake - batch.target).abs()).mean()
        made = _squares(self.judge(fake), 1.0) + _squares(self.judge_back(clouded), 1.0)
        judged = 0.5 * (
            _squares(self.judge(batch.target), 1.0)
            + _squares(self.judge(fake.detach()), 0.0)
            + _squares(self.judge_back(batch.seen), 1.0)
            + _squares(self.judge_back(clouded.detach()), 0.0)
        )
        return made + CYCLE * cycle + KEPT * kept + PAIRED * covered, judged


def _logistic(logits: Tensor, *, real: bool) -> Tensor:
    return F.softplus(-logits if real else logits).mean()


def _squares(logits: Tensor, wanted: float) -> Tensor:
    return (logits - wanted).square().mean()


def fit_adversarial(
    network_name: str,
    network_arguments: Mapping[str, Any],
    objective: Objective,
    train: RestorationSamples,
    validation: RestorationSamples,
    inputs: Sequence[InputBand],
    *,
    options: TrainingOptions,
    folder: Path | str,
    game: Game = "pix2pix",
    weight: float = 100.0,
    judge_width: int = 64,
    progress: Progress = silent,
) -> FitResult:
    """Train a generator against discriminators and return the weights of the last epoch, as the papers do.

    Adam with beta1 0.5; the learning rate is constant for the first half of the epochs and falls linearly to 0 in the
    second. A killed training goes on after the last whole epoch and gives what an uninterrupted one gives. Left out of
    the cycle: the pool of earlier images that its discriminators see.

    Args:
        network_name: A generator's name in the registry (`pix2pix-unet`).
        network_arguments: Its arguments, with `in_channels` and `n_outputs`.
        objective: A `restoration`; measures the validation part.
        train: Samples to learn from.
        validation: Samples that are measured after every epoch.
        inputs: Bands with means and standard deviations.
        options: Epochs, batch size, learning rate, seed, time limit; the rest does not apply.
        folder: For the checkpoint; may be deleted afterwards.
        game: See `Players`.
        weight: Of L1 in `pix2pix`.
        judge_width: Channels of a discriminator's first layer.
        progress: Called with (epochs done, epochs, what).

    Raises:
        LabelError: If a set is empty.
        ConfigurationError: If the network cannot play, or the training diverges.
    """
    if game not in get_args(Game) or not 0.0 <= weight < math.inf or judge_width < 1:
        raise ConfigurationError(f"The game is pix2pix or cycle, with a weight of 0 or more, not {game!r}, {weight}.")
    for name, samples in (("training", train), ("validation", validation)):
        if len(samples) == 0:
            raise LabelError(f"The {name} set is empty; give more images.")
    place = ensure_writable_folder(folder)
    mark = _fingerprint(network_name, network_arguments, options, (train, validation), (game, weight, judge_width))
    with seeded(options.seed):
        generator = build_network(network_name, **network_arguments)
        if not isinstance(generator, Pix2PixUNet):
            raise ConfigurationError(f"{network_name!r} cannot learn against a discriminator; use pix2pix-unet.")
        players = Players(generator, game, len(inputs), network_name, network_arguments, weight, judge_width)
        run = _Run(players, objective, inputs, options, place / CHECKPOINT, mark)
        run.resume()
        run.go(train, validation, progress)
    state = {name: tensor.detach().cpu().numpy().copy() for name, tensor in generator.state_dict().items()}
    ended_by = "epochs" if len(run.history) >= options.epochs else "time"
    return FitResult(state, run.history, len(run.history) - 1, run.seconds, ended_by)


class _Run:
    """The epochs of one training, with the state that a checkpoint keeps."""

    def __init__(
        self,
        players: Players,
        objective: Objective,
        inputs: Sequence[InputBand],
        options: TrainingOptions,
        path: Path,
        mark: str,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() and options.accelerator != "cpu" else "cpu")
        self.players, self.objective, self.options = players.to(self.device), objective, options
        self.path, self.mark = path, mark
        self.mean, self.std = (
            torch.tensor([getattr(band, name) for band in inputs], device=self.device)[:, None, None]
            for name in ("mean", "std")
        )
        self.optimisers = {
            name: torch.optim.Adam(parameters, lr=options.learning_rate, betas=BETAS)
            for name, parameters in (("generators", players.generators()), ("judges", players.judges()))
        }
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0

    def resume(self) -> None:
        """Put back what a killed training of the same kind has left."""
        if not (self.options.resume and self.path.is_file()):
            return
        tensors, state = read_tensors(self.path)
        if state.get("fingerprint") != self.mark:
            return
        self.history, self.seconds = state["history"], state["seconds"]
        own = {name.removeprefix("players/"): value for name, value in tensors.items() if name.startswith("players/")}
        self.players.load_state_dict(own)
        for name, optimiser in self.optimisers.items():
            start = f"{name}/"
            restore_optimiser(
                optimiser, {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
            )

    def go(self, train: RestorationSamples, validation: RestorationSamples, progress: Progress) -> None:
        """Run the epochs that are left."""
        epochs, size = self.options.epochs, self.options.batch_size or 1
        epoch = len(self.history)
        batches = RestorationBatches(
            train, size, epoch=lambda: epoch, seed=self.options.seed, turned=self.options.augment, shuffle=True
        )
        held = RestorationBatches(validation, size)
        while epoch < epochs and not self._late():
            began = time.monotonic()
            torch.manual_seed((self.options.seed * 1_000_003 + epoch) % 2**63)
            row = {"epoch": float(epoch), **self._learn(batches, self._rate(epoch)), **self._measure(held)}
            if not math.isfinite(row["generator_loss"]):
                raise ConfigurationError("The training diverged (its loss is not finite); use a lower learning rate.")
            self.history.append(row)
            self.seconds += time.monotonic() - began
            self._keep()
            epoch += 1
            progress(epoch, epochs, f"mae {row['mae']:.4f}")

    def _rate(self, epoch: int) -> float:
        """Constant, then linearly to 0 over the second half."""
        half = self.options.epochs // 2
        return self.options.learning_rate * (1.0 - max(0, epoch + 1 - half) / (self.options.epochs - half + 1))

    def _late(self) -> bool:
        limit, done = self.options.max_time_s, len(self.history)
        return limit is not None and done > 0 and self.seconds * (1 + 1 / done) > limit

    def _batch(self, batch: Mapping[str, Tensor]) -> _Batch:
        bands = self.players.generator.bands
        scaled, _ = normalise_tensor(batch["image"].to(self.device), self.mean, self.std)
        condition = self.players.generator.limited(scaled)
        packed = batch["target"].to(self.device)
        target = (packed[:, :bands] - self.mean[:bands]) / self.std[:bands]
        seen = condition[:, :bands]
        target = torch.where(target.isfinite(), target, seen).clamp(-1.0, 1.0)
        side = 2 * PROBABILITY_RADIUS + 1
        cloud = F.avg_pool2d(packed[:, -1:], side, stride=1, padding=PROBABILITY_RADIUS, count_include_pad=False)
        return _Batch(condition, seen, target, cloud)

    def _learn(self, batches: RestorationBatches, rate: float) -> dict[str, float]:
        self.players.train()
        sums = {"generator_loss": 0.0, "discriminator_loss": 0.0}
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate
        for entry in batches:
            made, judged = self.players.losses(self._batch(entry))
            # Both losses are of the same forward pass; each optimiser takes the gradients of its own networks.
            makers, critics = self.players.generators(), self.players.judges()
            for parameters, loss in ((makers, made), (critics, judged)):
                gradients = torch.autograd.grad(loss, parameters, retain_graph=loss is made, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
            for optimiser in self.optimisers.values():
                optimiser.step()
            sums["generator_loss"] += float(made.detach()) / len(batches)
            sums["discriminator_loss"] += float(judged.detach()) / len(batches)
        return sums

    def _measure(self, held: RestorationBatches) -> dict[str, float]:
        self.players.eval()
        metrics = self.objective.metrics().to(self.device)
        with torch.inference_mode():
            for entry in held:
                x, valid = normalise_tensor(entry["image"].to(self.device), self.mean, self.std)
                output = self.players.generator(x)
                self.objective.update_metrics(metrics, output.float(), entry["target"].to(self.device), valid)
        return {name: float(value) for name, value in metrics.compute().items()}

    def _keep(self) -> None:
        tensors = {f"players/{name}": value for name, value in self.players.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            tensors |= {f"{name}/{key}": value for key, value in pack_optimiser(optimiser).items()}
        state = {"fingerprint": self.mark, "history": self.history, "seconds": self.seconds}
        write_tensors(self.path, tensors, state)


def _fingerprint(
    name: str,
    arguments: Mapping[str, Any],
    options: TrainingOptions,
    sets: tuple[RestorationSamples, RestorationSamples],
    game: tuple[str, float, int],
) -> str:
    """Return a digest of all that decides the weights."""
    described = {
        "network": [name, dict(arguments)],
        "options": options.model_dump(mode="json", exclude={"resume", "max_time_s", "log_dir"}),
        "game": list(game),
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for samples in sets:
        digest.update(samples.digest())
    return digest.hexdigest()
