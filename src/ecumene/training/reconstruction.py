"""Features of a hyperspectral image learned without labels, and what single neurons of them find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.core.progress import Progress, silent
from ecumene.explanation.neurons import Neuron, rank_neurons
from ecumene.networks.residual_deconv import PATCH, WIDTHS, ResidualConvDeconv
from ecumene.training.descent import descend
from ecumene.training.seeding import seeded

LAYER = "encoder.stages.0"
"""Name of the layer whose maps `neuron_maps` returns."""


@dataclass(frozen=True)
class Reconstruction:
    """A network that rebuilds patches of an image, with the image's standardisation.

    Attributes:
        network: In evaluation mode.
        mean: float32 `[C]`.
        std: float32 `[C]`.
        losses: Mean squared error of each twentieth of the training, in standardised units; 1 is what the mean gives.
    """

    network: ResidualConvDeconv
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    losses: tuple[float, ...]

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the convolutional half, by the names that `residual-conv` has for them."""
        state = self.network.state_dict()
        return {name: value.numpy().copy() for name, value in state.items() if name.startswith("encoder.")}


def learn_reconstruction(
    image: NDArray[np.floating[Any]],
    *,
    patch: int = PATCH,
    widths: Sequence[int] = WIDTHS,
    steps: int = 1000,
    batch: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> Reconstruction:
    """Learn to rebuild patches of an image (Mou et al. 2018; see `ResidualConvDeconv`), with Nadam.

    Args:
        image: `[C, H, W]`, NaN for no data, which counts in no loss.
        patch: Rows and columns of the patches, whose centres have data.
        widths: Channels of the stages.
        steps: Gradient steps.
        batch: Patches a step.
        learning_rate: At the start; it falls as a cosine.
        seed: Of start and patches.
        progress: Called with (steps done, steps, what).

    Returns:
        The network; the same arguments give the same on the same machine.

    Raises:
        ConfigurationError: If an argument is out of range.
        SceneError: If no pixel has data.
    """
    if steps < 1 or batch < 2 or patch < 1 << len(widths):
        raise ConfigurationError(
            f"Learning to rebuild needs a step, two patches a step, and patches of {1 << len(widths)} pixels or more."
        )
    valid = np.isfinite(image).all(axis=0)
    if not valid.any():
        raise SceneError("No pixel of the image has data in all bands; nothing can be learned from it.")
    known = np.asarray(image[:, valid], np.float64)
    mean, std = known.mean(axis=1), known.std(axis=1)
    std = np.where(std > 1e-12 * np.maximum(1.0, np.abs(mean)), std, 1.0)
    half = patch // 2
    edge = ((half, half), (half, half))
    padded = np.pad(
        np.where(valid, (image - mean[:, None, None]) / std[:, None, None], 0.0), ((0, 0), *edge), "reflect"
    )
    scaled, mask = torch.from_numpy(padded.astype(np.float32)), torch.from_numpy(np.pad(valid, edge, "reflect"))
    rows, cols = np.nonzero(valid)
    rng = np.random.default_rng(seed)
    with seeded(seed):
        network = ResidualConvDeconv(len(image), widths).train()
        optimiser = torch.optim.NAdam(network.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        losses = []
        for step in range(steps):
            drawn = [(int(rows[i]), int(cols[i])) for i in rng.integers(len(rows), size=batch)]
            x = torch.stack([scaled[:, r : r + patch, c : c + patch] for r, c in drawn])
            counted = torch.stack([mask[r : r + patch, c : c + patch] for r, c in drawn])[:, None]
            error = ((network(x) - x).square() * counted).sum() / (counted.sum() * len(image))
            losses.append(descend(network, optimiser, error, 1.0))
            schedule.step()
            progress(step + 1, steps, "steps without labels")
    parts = np.array_split(np.array(losses), min(20, steps))
    return Reconstruction(
        network.eval(), mean.astype(np.float32), std.astype(np.float32), tuple(float(part.mean()) for part in parts)
    )


def neuron_maps(learned: Reconstruction, image: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return what every neuron of the first stage answers to a whole image, float32 `[K, H, W]`.

    Args:
        learned: The network.
        image: `[C, H, W]` in the unit that was learned from, NaN for no data, where the maps are NaN too.

    Raises:
        SceneError: If the bands are others.
    """
    if len(image) != len(learned.mean):
        raise SceneError(f"The network has learned {len(learned.mean)} bands, but the image has {len(image)}.")
    valid = np.isfinite(image).all(axis=0)
    scaled = np.where(valid, (image - learned.mean[:, None, None]) / learned.std[:, None, None], 0.0)
    with torch.inference_mode():
        maps = learned.network.feature_maps(torch.from_numpy(scaled.astype(np.float32))[None])[0].numpy()
    return np.where(valid, maps, np.float32(np.nan))


def find_object(
    maps: NDArray[np.float32], wanted: NDArray[np.bool_], halves: NDArray[np.bool_] | None = None
) -> tuple[Neuron, NDArray[np.bool_]]:
    """Choose the neuron that finds an object best, and where it does ("free" object localisation).

    No neuron was ever told of the object: labels only choose which one to look at (`explanation.neurons`).

    Args:
        maps: Of `neuron_maps`.
        wanted: bool `[H, W]`, pixels of the object.
        halves: bool `[H, W]`: False to choose, True to measure; None: the upper and lower half of the image.

    Returns:
        (the neuron with AUROC and intersection over union on the measuring half, bool `[H, W]` where it is active).

    Raises:
        LabelError: If a half has too few pixels of the object or of the rest.
    """
    if wanted.shape != maps.shape[1:]:
        raise LabelError("The pixels of the object must be given on the grid of the image.")
    if halves is None:
        halves = np.zeros(wanted.shape, bool)
        halves[len(wanted) // 2 :] = True
    known = np.isfinite(maps).all(axis=0)
    activations: Mapping[str, NDArray[np.float32]] = {LAYER: maps[:, known]}
    best = rank_neurons(activations, wanted[known], halves[known], count=1)[0]
    with np.errstate(invalid="ignore"):
        active = best.sign * maps[best.channel] > best.threshold
    return best, active & known
