"""Feature vectors of pixels: what a model makes of labelled patches or of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.samples.patch_set import PatchSet
from ecumene.scenes.contract import Stack
from ecumene.trust.feature_choice import BANDS, FeatureChoice

if TYPE_CHECKING:
    from ecumene.models.inner_layers import InnerLayer

Source = PatchSet | Stack | Sequence[Stack]
"""What features are taken from: labelled pixels of patches, or pixels of scenes drawn at random."""

WINDOW = 128
"""Pixels of a side of the windows that are drawn from a scene (at least; a multiple of the model's stride)."""
WINDOWS_A_SCENE = 16


@dataclass(frozen=True)
class Vectors:
    """Feature vectors of pixels.

    Attributes:
        values: float32 `[N, F]`.
        group: int64 `[N]`, block (of patches) or window (of scenes) of each; pixels of one are not independent.
    """

    values: NDArray[np.float32]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)


def feature_layers(model: Model) -> dict[str, InnerLayer]:
    """Return the blocks of a model's network whose activations a detector can read, in running order; {} for trees."""
    if model.spec.kind != "network":
        return {}
    from ecumene.models.inner_layers import inner_layers
    from ecumene.models.torch_execution import build_with_weights

    layers = inner_layers(build_with_weights(model.spec, model.weights), len(model.spec.inputs))
    blocks = {name: layer for name, layer in layers.items() if layer.block}
    return blocks or layers


def feature_vectors(
    model: Model, source: Source, choice: FeatureChoice | None = None, *, limit: int = 50_000, seed: int = 0
) -> Vectors:
    """Return feature vectors of labelled pixels (of patches) or of pixels drawn at random (of scenes).

    Args:
        model: The model; trees have the choice `bands` only.
        source: Patches, or one or more scenes with the model's channels.
        choice: What to read; None: bands and the network's features.
        limit: Most pixels, drawn at random.
        seed: Of the draws.

    Raises:
        ConfigurationError: If the source has no usable pixel, or the model has not what is chosen.
    """
    generator = np.random.default_rng(seed)
    run = _reader(model, choice)
    parts, groups = [], []
    for number, (image, dates, usable, group) in enumerate(_batches(model, source, generator, limit)):
        features = np.moveaxis(run(image, dates), 1, -1)[usable]
        parts.append(features)
        groups.append(group[usable] if group is not None else np.full(len(features), number, np.int64))
    if not parts or not sum(len(part) for part in parts):
        raise ConfigurationError("No pixel of the data is valid in all bands; there is nothing to learn outliers from.")
    values, group = np.concatenate(parts), np.concatenate(groups).astype(np.int64)
    if len(values) > limit:
        keep = np.sort(generator.choice(len(values), limit, replace=False))
        values, group = values[keep], group[keep]
    return Vectors(values, group)


def _reader(model: Model, choice: FeatureChoice | None) -> Any:
    """Return a function of (image, dates) that gives the chosen features `[B, F, H, W]`."""
    if model.spec.kind != "network":
        if choice is not None and set(choice.parts) != {BANDS}:
            raise ConfigurationError("Forests and boosted trees have no activations; their detectors read the bands.")
        return model.detector_features
    from ecumene.core.optional import require

    require("torch")
    from ecumene.models.torch_execution import TorchExecutor

    executor = TorchExecutor(model.spec, model.weights, choice=choice or FeatureChoice())
    return lambda image, dates: executor.raw(image, dates)[1]


def _batches(model: Model, source: Source, generator: np.random.Generator, limit: int) -> Iterator[Any]:
    """Yield (image, dates, usable pixels, group of each pixel or None)."""
    if isinstance(source, PatchSet):
        side = source.image.shape[-1] * source.image.shape[-2]
        step = max(1, (1 << 17) // side)
        for start in range(0, len(source), step):
            part = source.take(np.arange(start, min(start + step, len(source))))
            valid = part.valid if part.valid.ndim == part.mask.ndim else part.valid.any(axis=1)
            usable = part.labelled & valid
            if usable.any():
                dates = part.dates.astype(np.float32) if model.spec.temporal else None
                yield np.ascontiguousarray(part.image, np.float32), dates, usable, part.group
        return
    stacks = list(source) if isinstance(source, Sequence) else [source]
    if not stacks:
        raise ConfigurationError("No scene was given to learn outliers from.")
    for stack in stacks:
        yield from _windows(model, stack, generator, max(1, limit // len(stacks)))


def _windows(model: Model, stack: Stack, generator: np.random.Generator, limit: int) -> Iterator[Any]:
    """Yield windows of a scene with at most `limit` usable pixels together."""
    matched = model.match(stack)
    height, width = (int(size) for size in matched.geobox.shape)
    stride = max(1, model.spec.stride)
    side = -(-WINDOW // stride) * stride
    cells = [(row, col) for row in range(0, height, side) for col in range(0, width, side)]
    order = generator.permutation(len(cells))[:WINDOWS_A_SCENE]
    share = -(-limit // len(order))
    for position in order:
        row, col = cells[position]
        block = matched.read(Window(row, col, side, side))
        valid = block.valid.any(axis=0) if model.spec.temporal else block.valid[0]
        places = np.flatnonzero(valid)
        if not places.size:
            continue
        usable = np.zeros(valid.size, bool)
        usable[generator.choice(places, min(share, places.size), replace=False)] = True
        image = block.image if model.spec.temporal else block.image[0]
        dates = block.dates.astype(np.float32)[None] if model.spec.temporal else None
        yield image[None], dates, usable.reshape(1, side, side), None
