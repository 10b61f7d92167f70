"""The network as it is executed: physical units in, raw output and outlier score out.

Normalisation, NaN, calibration of the logits and outlier score are part of the graph, so that whatever executes it
gives the same two arrays. Only operations that ONNX has are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ecumene.models.contract import InputBand
from ecumene.models.distance_scores import DistanceScores
from ecumene.models.inner_layers import chosen_layers, grow, heard, output_channels, pool, tap
from ecumene.models.local_average import check_detector
from ecumene.models.row_strips import row_strips, stays_whole
from ecumene.models.scaled_output import ScaledOutput
from ecumene.networks.base import BaseNetwork
from ecumene.trust.feature_choice import BANDS, FEATURES, LOGITS, FeatureChoice
from ecumene.trust.scaling import Scaling

_SCORED_PIXELS = 1 << 14


def normalise_tensor(image: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise an image; a pixel is valid where all of its channels are finite.

    Args:
        image: `[..., C, H, W]`, physical units, NaN for nodata.
        mean: `[C, 1, 1]`.
        std: `[C, 1, 1]`.

    Returns:
        (standardised image with 0 at invalid pixels, valid bool `[..., H, W]`).
    """
    if stays_whole(image):
        return _normalised(image, mean, std)
    layout = torch.channels_last if image.ndim == 4 else torch.contiguous_format
    scaled = torch.empty_like(image, memory_format=layout)
    valid = torch.empty((*image.shape[:-3], *image.shape[-2:]), dtype=torch.bool)
    for rows in row_strips(image):
        scaled[..., rows, :], valid[..., rows, :] = _normalised(image[..., rows, :], mean, std)
    return scaled, valid


def _normalised(image: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    # |x| < largest float is False for NaN and both infinities, and needs no operator that ONNX lacks.
    finite = image.abs() <= torch.finfo(torch.float32).max
    valid = finite.all(dim=-3)
    scaled = (image - mean) / std
    return torch.where(valid.unsqueeze(-3), scaled, scaled.new_zeros(())), valid


def _standardised(image: Tensor, mean: Tensor, std: Tensor, half: bool) -> tuple[Tensor, Tensor]:
    """Do what `normalise_tensor` does for images of one date, by a kernel, with the channels last.

    With `half` the image is rounded to bfloat16, as a first convolution in that arithmetic would round it.
    """
    from ecumene.models import normalise_kernel

    batch, channels, height, width = image.shape
    kernel: Any = normalise_kernel.standardise_half if half else normalise_kernel.standardise
    scaled = np.empty((batch, height, width, channels), np.uint16 if half else np.float32)
    valid = np.empty((batch, height, width), np.bool_)
    statistics = mean.flatten().numpy(), std.flatten().numpy()
    for pixels, target, usable in zip(image.numpy(), scaled, valid, strict=True):
        kernel(pixels, *statistics, target, usable)
    found = torch.from_numpy(scaled.view(np.int16)).view(torch.bfloat16) if half else torch.from_numpy(scaled)
    return found.permute(0, 3, 1, 2), torch.from_numpy(valid)


def _box_sum(x: Tensor, radius: int) -> Tensor:
    """Return the sum over a square of 2 radius + 1 pixels around each pixel, zero beyond the border.

    Along rows and then along columns, by adding shifted views: an average pooling would add every pixel of the square
    and is slow for the few channels of an image.
    """
    for dim in (-1, -2):
        padding = (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius)
        padded = functional.pad(x, padding)
        length = x.shape[dim]
        x = padded.narrow(dim, 0, length)
        for step in range(1, 2 * radius + 1):
            x = x + padded.narrow(dim, step, length)
    return x


def local_average_tensor(x: Tensor, valid: Tensor, radius: int) -> Tensor:
    """Average over the valid pixels (and dates) of a neighbourhood; see `local_average`."""
    if stays_whole(x):
        return _local_average(x, valid, radius)
    result = x.new_empty((x.shape[0], *x.shape[-3:])).contiguous(memory_format=torch.channels_last)
    for rows in row_strips(x):
        top, bottom = max(0, rows.start - radius), min(x.shape[-2], rows.stop + radius)
        part = _local_average(x[..., top:bottom, :], valid[..., top:bottom, :], radius)
        result[..., rows, :] = part[..., rows.start - top : rows.stop - top, :]
    return result


def _local_average(x: Tensor, valid: Tensor, radius: int) -> Tensor:
    weight = valid.unsqueeze(-3).to(x.dtype)
    if x.ndim == 5:
        x, weight = x.sum(dim=1), weight.sum(dim=1)
    if radius:
        x, weight = _box_sum(x, radius), _box_sum(weight, radius)
    return x / weight.clamp(min=1e-6)


def pooled_average_tensor(x: Tensor, valid: Tensor) -> Tensor:
    """Return the average over the valid pixels of each image, `[B, C, 1, 1]`; 0 where nothing is valid."""
    weight = valid.unsqueeze(-3).to(x.dtype)
    return x.sum(dim=(-2, -1), keepdim=True) / weight.sum(dim=(-2, -1), keepdim=True).clamp(min=1.0)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return features `[B, F, H, W]`, float32, of their parts."""
    return torch.cat([part.float() for part in parts], dim=1) if len(parts) > 1 else parts[0].float()


def _traced(image: Tensor) -> bool:
    """Whether only operations of torch may be used, because somebody records them, or the image is on a GPU."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling() or image.device.type != "cpu"


def _array(features: Tensor) -> NDArray[Any]:
    """Return features as NumPy has them, bfloat16 as its bits."""
    bits: Tensor = features.view(torch.int16) if features.dtype == torch.bfloat16 else features.float()
    array = bits.numpy()
    return array.view(np.uint16) if array.dtype == np.int16 else array


@dataclass(frozen=True)
class _Seen:
    """What a run of the network leaves.

    Attributes:
        x: The standardised image.
        valid: Its usable pixels.
        output: The raw output.
        own: The network's features as (part, pixels on a side of its cells).
        whole: Whether the network answers once an image.
    """

    x: Tensor
    valid: Tensor
    output: Tensor
    own: tuple[tuple[Tensor, int], ...]
    whole: bool


class DeployedNetwork(nn.Module):
    """A network between physical units and (calibrated output, outlier score).

    A network that answers for whole images gives maps of one cell; its bands are averaged over the valid pixels.

    Args:
        network: See `networks.contract.Network`.
        inputs: Bands with their means and standard deviations.
        scaling: Maps the output (`trust.scaling`); None for none.
        detector: `trust` detector with `score_map`, or None: the score is 0.
        radius: Of the local average that the detector sees.
        choice: What the detector's features are; None: what the detector says, or the usual choice.

    Raises:
        ModelError: If the detector reads another number of features.
        ConfigurationError: If the network has not the inner layer that is chosen.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: BaseNetwork,
        inputs: Sequence[InputBand],
        *,
        scaling: Scaling | None = None,
        detector: Any = None,
        radius: int = 0,
        choice: FeatureChoice | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.temporal = network.temporal
        self.scaled = ScaledOutput(scaling)
        self.detector = detector
        self.radius = radius
        mean = torch.tensor([band.mean for band in inputs], dtype=torch.float32)
        std = torch.tensor([band.std for band in inputs], dtype=torch.float32)
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        self.choice: FeatureChoice = choice or (FeatureChoice() if detector is None else detector.choice)
        layers = chosen_layers(network, self.choice, len(inputs))
        self.factors = {name: layer.factor for name, layer in layers.items()}
        for name in layers:
            tap(network, name)
        sizes = {BANDS: len(inputs), FEATURES: network.feature_channels}
        sizes |= {name: layer.channels for name, layer in layers.items()}
        if LOGITS in self.choice.parts:
            sizes[LOGITS] = output_channels(network, len(inputs))
        check_detector(detector, sum(sizes[part] for part in self.choice.parts))
        self.half_input = False
        self.distances = None if self.temporal else DistanceScores.of(inputs, detector, radius)
        if detector is not None:
            # Made here and not in the first run: tensors of an inference mode could not be exported.
            detector.tensors(self.mean)

    def raw(self, image: Tensor, dates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (raw output before scaling `[B, n, H, W]`, the detector's features `[B, F, H, W]`), float32."""
        seen = self._look(image, dates)
        parts = self._features(seen)
        layer = self.choice.single_layer
        return seen.output.float(), _joined(parts) if layer is None else grow(parts[0], self.factors[layer])

    def takes_half_input(self, image: Tensor) -> bool:
        """Whether the network answers an image in bfloat16 as it answers it in float32, and nothing else reads it.

        Call it under the autocast of the run. If so, `half_input` may be set: an image in bfloat16 is half as large,
        and a first convolution would round it anyway.
        """
        if self.temporal or _traced(image):
            return False
        seen = self._look(image, None)
        if self.detector is not None and not self._by_kernel(seen):
            return False
        other = self._look(image, None, half=True)
        mine, theirs = [seen.output], [other.output]
        mine, theirs = mine + [part for part, _ in seen.own], theirs + [part for part, _ in other.own]
        return all(map(torch.equal, mine, theirs))

    def _by_kernel(self, seen: _Seen) -> bool:
        """Whether the kernel makes the outlier score of what a run has left."""
        numbers = [(part.shape[1], factor) for part, factor in seen.own]
        return self.distances is not None and not seen.whole and self.distances.fits(numbers)

    def _look(self, image: Tensor, dates: Tensor | None, *, half: bool = False) -> _Seen:
        """Run the network."""
        if image.ndim == 4 and not _traced(image):
            x, valid = _standardised(image, self.mean, self.std, half)
        else:
            x, valid = normalise_tensor(image, self.mean, self.std)
            if x.ndim == 4 and not torch.compiler.is_compiling():
                x = x.contiguous(memory_format=torch.channels_last)
        when = dates if self.temporal else None
        output, own = self.network.forward_parts(x, when, valid)
        whole = output.ndim == 2  # one answer an image: a single cell, so that all that follows is as for pixels
        if whole:
            output, own = output[:, :, None, None], tuple((part[:, :, None, None], factor) for part, factor in own)
        return _Seen(x, valid, output, own, whole)

    def _features(self, seen: _Seen) -> list[Tensor]:
        """Return the parts of the detector's features; a single inner layer stays on that layer's grid."""
        with torch.autocast(device_type=seen.output.device.type, enabled=False):
            inner = {
                name: pool(heard(self.network, name).float(), self.choice.radius, self.choice.pooling)
                for name in self.factors
            }
            if self.choice.single_layer is not None:
                return [inner[self.choice.single_layer]]
            parts = []
            for part in self.choice.parts:
                if part == BANDS:
                    average = pooled_average_tensor if seen.whole else partial(local_average_tensor, radius=self.radius)
                    parts.append(average(seen.x, seen.valid))
                elif part == FEATURES:
                    own = [grow(tensor, factor) for tensor, factor in seen.own]
                    parts.append(own[0] if len(own) == 1 else torch.cat([t.to(own[0].dtype) for t in own], dim=1))
                else:
                    parts.append(seen.output if part == LOGITS else grow(inner[part], self.factors[part]))
            return parts

    def forward(self, image: Tensor, dates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the model.

        Args:
            image: float32 `[B, C, H, W]` or `[B, T, C, H, W]`, physical units, NaN for nodata.
            dates: float32 `[B, T]`, days since 1970-01-01, for series networks.

        Returns:
            (calibrated output `[B, n, H, W]`, outlier score `[B, H, W]`).
        """
        seen = self._look(image, dates, half=self.half_input)
        score, output = self._scored(image, seen), seen.output
        del seen  # a window's features are not needed any more, and are large
        return self.scaled(output.float(), in_place=not _traced(image)), score

    def opened(self, image: Tensor, dates: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what `forward` returns, and the network's own features part after part, float32."""
        seen = self._look(image, dates)
        own = tuple(tensor.float() for tensor, _ in seen.own)
        seen = replace(seen, own=tuple((tensor, factor) for tensor, (_, factor) in zip(own, seen.own, strict=True)))
        return self.scaled(seen.output.float()), self._scored(image, seen), *own

    def part_factors(self, image: Tensor) -> tuple[int, ...]:
        """Return how many pixels the cells of each part of the network's features have on a side."""
        return tuple(factor for _, factor in self._look(image, None).own)

    def _scored(self, image: Tensor, seen: _Seen) -> Tensor:
        """Return the outlier score `[B, H, W]`, by the kernel where there is one."""
        if self.detector is None:
            return torch.zeros_like(seen.output[:, 0], dtype=torch.float32)
        if self.distances is not None and not _traced(image) and self._by_kernel(seen):
            own = [(_array(part), factor) for part, factor in seen.own]
            return torch.from_numpy(self.distances(image.numpy(), own))
        return self._score(self._features(seen))

    def _score(self, parts: list[Tensor]) -> Tensor:
        """Return the outlier score `[B, H, W]`; an inner layer is scored on its own grid, which is cheaper.

        On a processor a few rows at a time: in float32 the features of a whole window would take more memory
        than the network itself, and leave the cache between one operation and the next.
        """
        score: Tensor
        rows = max(1, _SCORED_PIXELS // (parts[0].shape[0] * parts[0].shape[-1]))
        if torch.compiler.is_compiling() or parts[0].device.type != "cpu" or rows >= parts[0].shape[-2]:
            score = self.detector.score_map(_joined(parts))
        else:
            strips = zip(*(part.split(rows, dim=-2) for part in parts), strict=True)
            score = torch.cat([self.detector.score_map(_joined(strip)) for strip in strips], dim=-2)
        layer = self.choice.single_layer
        return score if layer is None else grow(score[:, None], self.factors[layer])[:, 0]
