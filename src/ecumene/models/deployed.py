"""The network as it is executed: physical units in, raw output and outlier score out.

Normalisation, NaN, temperature and outlier score are part of the graph, so that whatever executes it
gives the same two arrays. Only operations that ONNX has are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecumene.models.contract import InputBand


def normalise_tensor(image: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise an image; a pixel is valid where all of its channels are finite.

    Args:
        image: `[..., C, H, W]`, physical units, NaN for nodata.
        mean: `[C, 1, 1]`.
        std: `[C, 1, 1]`.

    Returns:
        (standardised image with 0 at invalid pixels, valid bool `[..., H, W]`).
    """
    # |x| < largest float is False for NaN and both infinities, and needs no operator that ONNX lacks.
    finite = image.abs() <= torch.finfo(torch.float32).max
    valid = finite.all(dim=-3)
    scaled = (image - mean) / std
    return torch.where(valid.unsqueeze(-3), scaled, torch.zeros_like(scaled)), valid


def local_average_tensor(x: Tensor, valid: Tensor, radius: int) -> Tensor:
    """Average over the valid pixels (and dates) of a neighbourhood; see `local_average`."""
    weight = valid.unsqueeze(-3).to(x.dtype)
    if x.ndim == 5:
        x, weight = x.sum(dim=1), weight.sum(dim=1)
    if radius:
        side = 2 * radius + 1
        # Zero padding counts in both averages, so that their ratio is the mean of what is there.
        x = functional.avg_pool2d(x, side, stride=1, padding=radius)
        weight = functional.avg_pool2d(weight, side, stride=1, padding=radius)
    return x / weight.clamp(min=1e-6)


class DeployedNetwork(nn.Module):
    """A network between physical units and (output / temperature, outlier score).

    Args:
        network: See `networks.contract.Network`.
        inputs: Bands with their means and standard deviations.
        temperature: Divides the output; 1 for none.
        detector: `trust` detector with `score_map`, or None: the score is 0.
        radius: Of the local average that the detector sees.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        inputs: Sequence[InputBand],
        *,
        temperature: float = 1.0,
        detector: Any = None,
        radius: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.temporal = bool(getattr(network, "temporal", False))
        self.temperature = float(temperature)
        self.detector = detector
        self.radius = radius
        mean = torch.tensor([band.mean for band in inputs], dtype=torch.float32)
        std = torch.tensor([band.std for band in inputs], dtype=torch.float32)
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        if detector is not None:
            # Made here and not in the first run: tensors of an inference mode could not be exported.
            detector.tensors(self.mean)

    def raw(self, image: Tensor, dates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (raw output before temperature `[B, n, H, W]`, the detector's features `[B, F, H, W]`), float32."""
        x, valid = normalise_tensor(image, self.mean, self.std)
        if self.temporal:
            output, features = self.network.forward_features(x, dates, valid)  # type: ignore[operator]
        else:
            output, features = self.network.forward_features(x, None, valid)  # type: ignore[operator]
        with torch.autocast(device_type=image.device.type, enabled=False):
            average = local_average_tensor(x, valid, self.radius)
            return output.float(), torch.cat([average, features.float()], dim=1)

    def forward(self, image: Tensor, dates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the model.

        Args:
            image: float32 `[B, C, H, W]` or `[B, T, C, H, W]`, physical units, NaN for nodata.
            dates: float32 `[B, T]`, days since 1970-01-01, for series networks.

        Returns:
            (output / temperature `[B, n, H, W]`, outlier score `[B, H, W]`).
        """
        output, features = self.raw(image, dates)
        score = torch.zeros_like(output[:, 0]) if self.detector is None else self.detector.score_map(features)
        return output / self.temperature, score
