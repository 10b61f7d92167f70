"""Which neuron finds a class: every channel of a layer ranked by how well it alone tells the class from the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.explanation.tensors import DifferentiableModel
from ecumene.models.bundle import Model

Float = NDArray[np.float32]
FEWEST = 20
"""Pixels of the class, and of the rest, that a ranking needs in each half."""


@dataclass(frozen=True)
class Neuron:
    """One channel of a layer as a detector of a class.

    Attributes:
        layer: Name of the layer.
        channel: Number of the channel.
        sign: 1 if it is active on the class, -1 if it is silent there.
        auroc: Area under the ROC curve on pixels that it was not chosen by; 0.5 is chance.
        iou: Intersection over union there of class and activation above `threshold`.
        threshold: Activation (times `sign`) at which it was as often active as the class occurs.
    """

    layer: str
    channel: int
    sign: int
    auroc: float
    iou: float
    threshold: float


def area_under_curve(values: NDArray[np.floating], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the AUROC of many scores at once by ranks (ties count half).

    Args:
        values: `[K, N]`.
        wanted: bool `[N]`, both kinds present.
    """
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=1)
    positive = int(wanted.sum())
    negative = wanted.size - positive
    total = ranks[:, wanted].sum(axis=1) - positive * (positive + 1) / 2
    return np.asarray(total / (positive * negative), np.float64)


def rank_neurons(
    activations: Mapping[str, NDArray[np.floating]],
    wanted: NDArray[np.bool_],
    halves: NDArray[np.bool_],
    count: int = 5,
) -> list[Neuron]:
    """Rank the channels of layers on one half of the pixels and measure the best on the other half.

    After network dissection (Bau et al. 2017): a threshold for each channel, and the intersection over union of the
    activation above it with the class. The threshold is the quantile at which a channel is active as often as the
    class occurs, where the paper takes the top 0.5 % for every concept, so that frequent classes can be found too;
    channels that are silent on the class count as well. Ranking and measuring on different pixels keeps the best of
    many channels from looking better than it is.

    Args:
        activations: By layer, `[K, N]`.
        wanted: bool `[N]`, pixels of the class.
        halves: bool `[N]`: False to rank, True to measure; whole blocks belong to one half.
        count: How many to return.

    Returns:
        The best channels, best first by the ranking half.

    Raises:
        LabelError: If a half has too few pixels of the class or of the rest.
    """
    for half in (~halves, halves):
        if min(int((wanted & half).sum()), int((~wanted & half).sum())) < FEWEST:
            raise LabelError(
                f"Ranking neurons needs at least {FEWEST} pixels of the class and of the rest in each of two halves of "
                "the area; choose a larger --box or another --class."
            )
    ranked: list[tuple[float, str, int, float]] = []
    for layer, values in activations.items():
        areas = area_under_curve(values[:, ~halves], wanted[~halves])
        ranked += [(-abs(area - 0.5), layer, channel, float(area)) for channel, area in enumerate(areas)]
    best = sorted(ranked, key=lambda entry: entry[0])[:count]
    return [_measure(layer, k, area, activations[layer][k], wanted, halves) for _, layer, k, area in best]


def _measure(
    layer: str,
    channel: int,
    area: float,
    values: NDArray[np.floating],
    wanted: NDArray[np.bool_],
    halves: NDArray[np.bool_],
) -> Neuron:
    """Fix sign and threshold on the ranking half, measure on the other."""
    sign = 1 if area >= 0.5 else -1
    signed = sign * values.astype(np.float64)
    threshold = float(np.quantile(signed[~halves], 1 - wanted[~halves].mean()))
    active, truth = signed[halves] > threshold, wanted[halves]
    return Neuron(
        layer=layer,
        channel=channel,
        sign=sign,
        auroc=float(area_under_curve(signed[None, halves], truth)[0]),
        iou=float((active & truth).sum() / max(1, (active | truth).sum())),
        threshold=threshold,
    )


def layer_names(model: Model) -> tuple[str, ...]:
    """Return the names of a network's blocks whose channels can be viewed.

    The head is left out, because its channels are the classes themselves, and so are the fixed projections that serve
    the outlier score.
    """
    explained = DifferentiableModel(model, "The method neurons")
    names = [name for name, _ in explained.network.named_modules() if name and name.count(".") <= 1]
    return tuple(name for name in names if not name.startswith("head") and "projection" not in name)


def layer_activations(
    model: Model,
    image: Float,
    dates: Float | None,
    layers: Sequence[str] | None = None,
    *,
    threads: int | None = None,
) -> dict[str, Float]:
    """Return the activations of layers on the grid of the window.

    Args:
        model: A network.
        image: One window `[T, C, H, W]`, physical units.
        dates: `[T]` of a series, else None.
        layers: Names; None: all blocks that give maps (equal outputs once).
        threads: Threads of torch.

    Returns:
        By layer, float32 `[K, H, W]`, coarser maps brought to the grid bilinearly.

    Raises:
        ConfigurationError: If the model is made of trees, has no such layer, or none with maps.
    """
    import torch

    explained = DifferentiableModel(model, "The method neurons", threads)
    modules = dict(explained.network.named_modules())
    names = layer_names(model) if layers is None else tuple(layers)
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ConfigurationError(f"The network has no layer {unknown[0]!r}; it has: {', '.join(layer_names(model))}.")
    kept: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            # An in-place layer after this one would change what was kept.
            if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[0] == 1:
                kept[name] = output.detach().clone()

        return hook

    handles = [modules[name].register_forward_hook(watch(name)) for name in names]
    x, when = explained.tensors(image, dates)
    try:
        with torch.no_grad():
            explained.raw(x, when)
    finally:
        for handle in handles:
            handle.remove()
    if not kept:
        raise ConfigurationError(
            f"The layers of {model.spec.name} have no maps whose channels could be viewed; use --method occlusion."
        )
    return _on_grid(kept, (image.shape[-2], image.shape[-1]))


def _on_grid(kept: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Float]:
    import torch
    from torch.nn import functional

    unique: dict[str, torch.Tensor] = {}
    for name, maps in kept.items():
        if not any(maps.shape == other.shape and torch.equal(maps, other) for other in unique.values()):
            unique[name] = maps
    result = {}
    for name, maps in unique.items():
        if tuple(maps.shape[-2:]) != shape:
            maps = functional.interpolate(maps.float(), size=shape, mode="bilinear", align_corners=False)
        result[name] = np.asarray(maps[0].float().numpy(), np.float32)
    return result
