"""What networks that remove clouds have in common: limits of their input, and a variance where none is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.samples.restoration_scaling import get_scaling

TargetDate = Literal["same-date", "first-date", "clear-state"]
"""Which date a network restores: the one that it sees, the first of several, or the ground around several."""
CHANGE_FLOOR = 0.05
"""Standard deviation, in scaled units, of a pixel that a network leaves as observed."""
CHANGE_RADIUS = 2
CHANGE_SHARE = 0.25
"""Of the mean squared change around a pixel that counts as its variance, before recalibration."""


class RestorationNetwork(BaseNetwork):
    """Clear bands and their variances from cloudy ones.

    The first `targets` input channels are the bands to restore, all others are radar. Input is limited to the range
    of its scaling (`samples.restoration_scaling`), as the published codes clip digital numbers and decibels.

    Args:
        in_channels: Channels of the image.
        n_outputs: K means, and K variances or one.
        targets: K; None: half of `n_outputs`.
        scaling: Name of the scaling that the input comes in.

    Raises:
        ConfigurationError: If the numbers do not fit.
    """

    limits: Tensor
    target_date: ClassVar[TargetDate] = "same-date"

    def __init__(self, in_channels: int, n_outputs: int, targets: int | None, scaling: str) -> None:
        super().__init__()
        bands = n_outputs // 2 if targets is None else int(targets)
        if not 1 <= bands <= in_channels or n_outputs - bands not in (1, bands):
            raise ConfigurationError(
                f"{in_channels} channels and {n_outputs} outputs do not fit a network that restores {bands} bands; it "
                "needs these bands among its channels, and one variance or one a band among its outputs."
            )
        self.bands, self.variances = bands, n_outputs - bands
        chosen = get_scaling(scaling)
        rows = [chosen.optical_limits] * bands + [chosen.radar_limits] * (in_channels - bands)
        self.register_buffer("limits", torch.tensor(rows).T[:, :, None, None].contiguous(), persistent=False)

    def limited(self, x: Tensor) -> Tensor:
        """Return `x` `[..., C, H, W]` within the limits of its scaling."""
        low, high = self.limits.to(x.dtype)
        return torch.minimum(torch.maximum(x, low), high)

    def bounded(self, raw: Tensor) -> Tensor:
        """Return means within the limits and variances of 1e-3 or more from raw outputs (Ebel et al. 2023)."""
        raw = raw.float()
        low, high = self.limits[:, 0, 0, 0]
        mean = low + (high - low) * torch.sigmoid(raw[:, : self.bands])
        variance = F.softplus(raw[:, self.bands :]) + 1e-3
        return torch.cat((mean, variance), dim=1)

    def with_change(self, mean: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """Append variances to means `[B, K, H, W]` of a network that learns none.

        A pixel that is left as observed is surer than one that is made new: the variance is a floor plus a quarter of
        the squared change, averaged over 5 x 5 pixels, against the date that the result is nearest to. Nothing of it is
        learned, and nothing comes from a paper; recalibration on held-out images gives it its size.

        Args:
            mean: The restored bands.
            seen: The same bands as observed, one entry a date.
        """
        change = torch.stack([_box_mean((mean - image).square()) for image in seen]).amin(dim=0)
        variance = CHANGE_FLOOR**2 + CHANGE_SHARE * change
        if self.variances != self.bands:
            variance = variance.mean(dim=1, keepdim=True)
        return torch.cat((mean, variance), dim=1)


def _box_mean(x: Tensor) -> Tensor:
    side = 2 * CHANGE_RADIUS + 1
    return F.avg_pool2d(x, side, stride=1, padding=CHANGE_RADIUS, count_include_pad=False)
