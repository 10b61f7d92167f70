"""Dual-stream U-Nets with a head for each stream.

One extracts settlements and adapts to unlabelled places; the other finds changes with streams that learn in balance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork, check_widths
from ecumene.networks.change_pair import PAIR, apart, both_dates
from ecumene.networks.contract import Loss
from ecumene.networks.multimodal_parts import (
    Decoder,
    Encoder,
    agreement,
    as_logits,
    first_map,
    head_width,
    margin_of,
    radar_and_optical,
)
from ecumene.networks.projection import FixedProjection

Balance = Literal["none", "modality-dropout", "gradient"]


class MultiModalUNet(BaseNetwork):
    """Late fusion of a radar and an optical U-Net; unlabelled samples teach that both streams shall agree.

    Each stream is a U-Net (see `multimodal_parts`); their last maps, joined, give the answer. While training, each
    stream has a head of its own. The loss is PJ(fusion) + PJ(radar) + PJ(optical) on labelled samples plus
    `consistency` times PJ(optical, probabilities of radar) on samples without any label: radar changes less from
    region to region, so that its answer is the target there (Hafner, Ban, Nascetti 2022, doi
    10.1016/j.rse.2022.113192). PJ is the power Jaccard loss of the objective.

    Number of weights: the encoders and decoders of both streams, 2 w0 h + h of the fusion's head and w0 h + h of each
    stream's, h = 1 for two classes and K else. 1,872,515 for 2 + 10 bands, two classes and widths (64, 128).

    Differences from the publication: bands arrive standardised, not clipped to 0..1.

    Args:
        in_channels: Bands of both sensors.
        n_outputs: Classes.
        streams: Positions of the radar and of the optical channels; None: the first two, and the others.
        widths: Of the levels; one pooling each.
        consistency: Weight of the agreement of the streams on unlabelled samples; 0: not learned.
        detach: Whether the radar stream learns nothing from that agreement; the published code lets it learn.
        stream_losses: Whether the streams' own heads learn from labels; False: plain late fusion.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    stacked = 1
    """Dates that a stream reads as channels."""

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        streams: Sequence[Sequence[int]] | None = None,
        widths: Sequence[int] = (64, 128),
        consistency: float = 0.1,
        detach: bool = False,
        stream_losses: bool = True,
    ) -> None:
        super().__init__()
        widths = check_widths(widths, "A dual-stream U-Net")
        if not 0.0 <= consistency < math.inf:
            raise ConfigurationError(
                f"The weight of the streams' agreement must not be negative, but is {consistency}."
            )
        radar, optical = radar_and_optical(in_channels, streams, "A dual-stream U-Net")
        self.consistency, self.detach, self.stream_losses = float(consistency), detach, stream_losses
        self.register_buffer("radar_channels", torch.tensor(radar), persistent=False)
        self.register_buffer("optical_channels", torch.tensor(optical), persistent=False)
        self.radar_channels: Tensor
        self.optical_channels: Tensor
        self.radar_encoder = Encoder(self.stacked * len(radar), widths)
        self.radar_decoder = Decoder(widths)
        self.optical_encoder = Encoder(self.stacked * len(optical), widths)
        self.optical_decoder = Decoder(widths)
        wide = head_width(n_outputs)
        self.head = nn.Conv2d(2 * widths[0], wide, 1)
        # Only the training looks at what is called auxiliary.
        self.auxiliary = nn.ModuleDict({name: nn.Conv2d(widths[0], wide, 1) for name in ("radar", "optical")})
        self.projection = FixedProjection(2 * widths[0], 32)
        self.feature_channels = self.projection.out_channels
        self.stride, self.margin = 2 ** len(widths), margin_of(widths)

    def _streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last maps of both streams, `[B, w0, H, W]` each; dates are stacked as channels."""
        radar, optical = (x.index_select(-3, index) for index in (self.radar_channels, self.optical_channels))
        if x.ndim == 5:
            radar, optical = (torch.cat(apart(both_dates(dated)), dim=1) for dated in (radar, optical))
        return self.radar_decoder(self.radar_encoder(radar)), self.optical_decoder(self.optical_encoder(optical))

    def _fuse(self, radar: Tensor, optical: Tensor) -> Tensor:
        return as_logits(self.head(torch.cat((radar, optical), dim=1)))

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of `x` in normalised units."""
        return self._fuse(*self._streams(x))

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        radar, optical = self._streams(x)
        return self._fuse(radar, optical), self.projection(torch.cat((radar, optical), dim=1))

    def outputs_by_stream(self, x: Tensor) -> dict[str, Tensor]:
        """Return logits of `fusion`, of each stream alone, and of the fusion with a stream's map set to 0.

        Keys: `fusion`, `radar`, `optical`, `fusion-without-radar`, `fusion-without-optical`.
        """
        radar, optical = self._streams(x)
        nothing = torch.zeros_like(radar)
        return {
            "fusion": self._fuse(radar, optical),
            "radar": as_logits(self.auxiliary["radar"](radar)),
            "optical": as_logits(self.auxiliary["optical"](optical)),
            "fusion-without-radar": self._fuse(nothing, optical),
            "fusion-without-optical": self._fuse(radar, nothing),
        }

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of a batch of labelled and unlabelled samples; target int `[B, (M,) H, W]`."""
        seen = valid.all(dim=1) if valid.ndim == 4 else valid
        maps = self._streams(x)
        alone = [as_logits(self.auxiliary[n](m)).float() for n, m in zip(("radar", "optical"), maps, strict=True)]
        losses = [loss(output, first_map(target), seen) for output in alone]
        total = loss(self._fuse(*self._prepared(*maps, losses)).float(), first_map(target), seen)
        if self.stream_losses:
            total = total + losses[0] + losses[1]
        if self.consistency > 0.0:
            total = total + self.consistency * agreement(loss, alone[1], alone[0], target, seen, detach=self.detach)
        return total

    def _prepared(self, radar: Tensor, optical: Tensor, losses: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the streams' maps as the fusion sees them while training."""
        return radar, optical


class BalancedChangeUNet(MultiModalUNet):
    """Change between two dates from radar and optical streams that are kept from starving each other.

    In joint training the stream that learns faster leaves little for the other one to explain. Each stream reads both
    dates as channels and has a head of its own, whose loss measures it. Ways of keeping the balance:

    - `modality-dropout`: of a share of the samples, one stream's map (either) is 0 for the fusion.
    - `gradient`: what the fusion's loss teaches a stream is scaled by 1 - tanh(a max(r - 1, 0)), with r the other
      stream's loss divided by its own; after Peng et al. (CVPR 2022, "Balanced Multimodal Learning via On-the-fly
      Gradient Modulation"), made continuous at r = 1.

    The method is named after a poster (Hafner 2022, "Balanced Multi-Modal Learning from Sentinel-1 SAR and Sentinel-2
    MSI Data for Improved Urban Change Detection") that publishes no layers, losses or figures: both ways are a choice
    made here.

    Args:
        in_channels: Bands of both sensors at one date.
        n_outputs: Classes.
        streams: Positions of the radar and of the optical channels; None: the first two, and the others.
        widths: Of the levels; one pooling each.
        balance: `none`, or one of the ways above.
        dropout: Share of samples that lose a stream (`modality-dropout`).
        strength: a above (`gradient`).

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True
    stacked = PAIR

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        streams: Sequence[Sequence[int]] | None = None,
        widths: Sequence[int] = (64, 128, 256, 512),
        balance: Balance = "gradient",
        dropout: float = 0.3,
        strength: float = 1.0,
    ) -> None:
        super().__init__(in_channels, n_outputs, streams, widths, consistency=0.0)
        if balance not in ("none", "modality-dropout", "gradient") or not 0.0 <= dropout < 1.0 or strength <= 0.0:
            raise ConfigurationError(
                "Streams are balanced by none, modality-dropout (with a share in [0, 1)) or gradient (with a positive "
                f"strength), not by {balance!r} with {dropout} and {strength}."
            )
        self.balance, self.dropout, self.strength = balance, dropout, strength

    def _prepared(self, radar: Tensor, optical: Tensor, losses: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        if self.balance == "modality-dropout":
            draw = torch.rand(len(radar), 1, 1, 1, device=radar.device)
            half = 0.5 * self.dropout
            return radar * (draw >= half), optical * ((draw < half) | (draw >= self.dropout))
        if self.balance == "gradient":
            own = [loss.detach().clamp_min(1e-6) for loss in losses]
            ratios = (own[1] / own[0], own[0] / own[1])
            kept = [1.0 - torch.tanh(self.strength * (ratio - 1.0).clamp_min(0.0)) for ratio in ratios]
            return scaled_gradient(radar, kept[0]), scaled_gradient(optical, kept[1])
        return radar, optical


def scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """Return x, whose gradient is scaled."""
    return x * factor + (x * (1.0 - factor)).detach()
