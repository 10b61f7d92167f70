"""Self-supervised training of a despeckling network on one complex scene, and its use with an error bar."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ModelError, SceneError
from ecumene.core.files import atomic_path
from ecumene.core.progress import Progress, silent
from ecumene.networks.merlin import MerlinUNet, merlin_loss
from ecumene.physics.speckle.result import Despeckled, assemble
from ecumene.physics.speckle.slc import centre_spectrum, complex_image
from ecumene.training.descent import descend
from ecumene.training.seeding import seeded

_WINDOW = 512
_ERROR_WINDOW = 11
_FLOOR_DB = -40.0  # of a part's intensity below the scene's mean, where its logarithm is cut
FORMAT = "ecumene-merlin-1"


@dataclass(frozen=True)
class MerlinModel:
    """A trained network with the standardisation of its input.

    Attributes:
        network: In evaluation mode.
        mean: Of ln(2 a^2) over the training scene.
        std: Standard deviation of it.
        reference: Mean intensity of the training scene; inputs are divided by their own.
        losses: Mean training loss of each twentieth of the training.
    """

    network: MerlinUNet
    mean: float
    std: float
    reference: float
    losses: tuple[float, ...]


def train_merlin(
    slc: NDArray[Any],
    *,
    steps: int = 600,
    crop: int = 64,
    batch: int = 8,
    width: int = 24,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> MerlinModel:
    """Train on one single-look complex scene, without any speckle-free image.

    Dalsasso, Denis and Tupin (2022, doi 10.1109/TGRS.2021.3128621): see `merlin_loss`. Crops are drawn at random,
    flipped, and either part predicts the other. The spectrum is centred first, which makes the parts independent.

    Args:
        slc: Complex `[H, W]`; 0 and not finite is nodata.
        steps: Gradient steps.
        crop: Edge of the crops, a multiple of 4.
        batch: Crops a step.
        width: Of the network.
        learning_rate: Of Adam at the start; it falls as a cosine.
        seed: Of start and crops.
        progress: Called with (steps done, steps, what).

    Raises:
        ConfigurationError: If an argument is out of range.
        SceneError: If the image is real, empty or smaller than a crop.
    """
    if steps < 1 or batch < 1 or crop < 16 or crop % 4:
        raise ConfigurationError(
            "The network needs at least one step, one crop a step, and crops in multiples of 4 from 16 on."
        )
    image = centre_spectrum(slc)
    if min(image.shape) < crop:
        raise SceneError(f"The scene is smaller than a training crop of {crop} x {crop} pixels; choose smaller crops.")
    usable = image != 0.0
    reference = float((np.abs(image[usable]) ** 2).mean())
    parts = np.stack([image.real, image.imag]) / math.sqrt(reference)
    logs = _log_part(parts)
    mean, std = float(logs[:, usable].mean()), float(logs[:, usable].std())
    inputs = torch.from_numpy(np.where(usable, (logs - mean) / std, 0.0).astype(np.float32))
    targets, mask = torch.from_numpy(parts.astype(np.float32)), torch.from_numpy(usable)
    rng = np.random.default_rng(seed)
    with seeded(seed):
        network = MerlinUNet(width=width)
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        losses: list[float] = []
        network.train()
        for step in range(steps):
            x, other, counted = _crops(rng, inputs, targets, mask, crop, batch)
            loss = merlin_loss(network(x) * std + mean, other, counted)
            losses.append(descend(network, optimiser, loss, 1.0))
            schedule.step()
            progress(step + 1, steps, "steps")
    network.eval()
    edges = np.linspace(0, steps, min(20, steps) + 1).astype(int)
    means = tuple(float(np.mean(losses[a:b])) for a, b in itertools.pairwise(edges))
    return MerlinModel(network, mean, std, reference, means)


def _log_part(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ln(2 a^2), cut far below the scene's mean; E 2 a^2 is the intensity."""
    return np.asarray(np.log(np.maximum(2.0 * parts**2, 10.0 ** (_FLOOR_DB / 10.0))))


def _crops(
    rng: np.random.Generator, inputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, crop: int, batch: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw crops: input of one part, the other part, validity, each `[B, 1, crop, crop]`."""
    x, other, counted = [], [], []
    for _ in range(batch):
        row = int(rng.integers(inputs.shape[1] - crop + 1))
        col = int(rng.integers(inputs.shape[2] - crop + 1))
        part = int(rng.integers(2))
        flips = [axis for axis in (0, 1) if rng.random() < 0.5]
        place = (slice(row, row + crop), slice(col, col + crop))
        x.append(inputs[part][place].flip(flips))
        other.append(targets[1 - part][place].flip(flips))
        counted.append(mask[place].flip(flips))
    return torch.stack(x)[:, None], torch.stack(other)[:, None], torch.stack(counted)[:, None]


def apply_merlin(model: MerlinModel, slc: NDArray[Any]) -> Despeckled:
    """Despeckle a complex scene: mean of the reflectivities that either part lets expect.

    The two estimates rest on independent data, so half of their difference measures the random error of their
    mean: its variance is `<(Ra - Rb)^2> / 4`, taken relative to the mean over 11 x 11 pixels. What both share,
    a bias of the network, is not in it.

    Args:
        model: Trained.
        slc: Complex `[H, W]`; 0 and not finite is nodata.

    Raises:
        SceneError: If the image is unusable.
    """
    image = centre_spectrum(slc)
    usable = complex_image(slc) != 0.0
    scale = float((np.abs(image[usable]) ** 2).mean())
    estimates = []
    for part in (image.real, image.imag):
        standard = (_log_part(part / math.sqrt(scale)) - model.mean) / model.std
        logs = _run(model.network, np.where(usable, standard, 0.0)) * model.std + model.mean
        estimates.append(np.exp(logs) * scale)
    first, second = estimates
    value = 0.5 * (first + second)
    relative = np.where(usable, (first - second) / (first + second), 0.0) ** 2
    share = ndimage.uniform_filter(usable.astype(np.float64), _ERROR_WINDOW)
    error = ndimage.uniform_filter(relative, _ERROR_WINDOW) / np.maximum(share, 1e-9)
    intensity = np.abs(image) ** 2
    kept = np.zeros(image.shape, np.bool_)
    return assemble(intensity, usable, value, value**2 * error, 1.0 / np.maximum(error, 1e-9), 1.0, kept)


def _run(network: MerlinUNet, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Run the network over an image in windows that share its margin."""
    margin, stride = network.margin, network.stride
    height, width = image.shape
    result = np.empty(image.shape)
    with torch.inference_mode():
        for row in range(0, height, _WINDOW):
            for col in range(0, width, _WINDOW):
                bottom, right = min(row + _WINDOW, height), min(col + _WINDOW, width)
                top, left = max(row - margin, 0), max(col - margin, 0)
                top, left = top - top % stride, left - left % stride
                window = image[top : min(bottom + margin, height), left : min(right + margin, width)]
                pad = [(-length) % stride for length in window.shape]
                padded = np.pad(window, [(0, pad[0]), (0, pad[1])], mode="symmetric")
                output = network(torch.from_numpy(padded.astype(np.float32))[None, None])[0, 0].double().numpy()
                result[row:bottom, col:right] = output[row - top : bottom - top, col - left : right - left]
    return result


def save_merlin(path: Path | str, model: MerlinModel) -> None:
    """Write weights and standardisation as safetensors."""
    from safetensors.torch import save_file

    about = {"mean": model.mean, "std": model.std, "reference": model.reference, "width": model.network.width}
    weights = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(weights, str(temporary), metadata={"format": FORMAT, "about": json.dumps(about)})


def load_merlin(path: Path | str) -> MerlinModel:
    """Read a network that `save_merlin` wrote.

    Raises:
        ModelError: If the file is absent, or not such a network.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no network file {path}; check the path, or leave it out to train on the scene.")
    try:
        with safe_open(str(path), framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ModelError(f"{path.name} is not a despeckling network of this version.")
        about = {key: float(value) for key, value in json.loads(metadata["about"]).items()}
        width = int(about["width"])
        if not 4 <= width <= 512:
            raise ModelError(f"{path.name} states an impossible width of {width}.")
        network = MerlinUNet(width=width)
        network.load_state_dict(weights)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{path.name} is not a despeckling network of this version.") from error
    network.eval()
    return MerlinModel(network, about["mean"], about["std"], about["reference"], ())
