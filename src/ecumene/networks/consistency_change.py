"""Change between two dates from radar and optical images, learned from labelled and unlabelled places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import check_widths
from ecumene.networks.change_pair import PAIR, PairNetwork, both_dates
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

STREAMS = ("radar", "optical")


class ConsistencyChangeUNet(PairNetwork):
    """Siamese dual-stream U-Net for change and for what is built at each date.

    Each sensor has one encoder for both dates, a decoder of change that reads the difference of the dates' maps at
    every level, and a decoder of built-up ground that reads each date. The last maps of both sensors, joined, give the
    change; likewise the built-up ground. Only the change is put out.

    The loss of labelled samples is (PJ(change) + mean of six PJ(built-up)) / 2, these by radar, optical and fusion at
    both dates; that of samples without any label is `consistency` times the mean over the dates of PJ(radar,
    probabilities of optical) of the built-up heads. PJ is the objective's power Jaccard loss. Where only change is
    labelled, it is learned alone.

    Number of weights: encoder of each sensor, four decoders, 2 w0 h + h of the head of change, 2 w0 + 1 and twice
    w0 + 1 of the built-up heads (h = 1 for two classes and K else): 40,334,084 for 2 + 4 bands, two classes and widths
    (64, 128, 256, 512).

    Hafner, Ban, Nascetti (2023), Semi-Supervised Urban Change Detection Using Multi-Modal Sentinel-1 SAR and Sentinel-2
    MSI Data, Remote Sensing 15(21), 5135, doi 10.3390/rs15215135; `DualTaskLateFusionSiameseUnet` of the authors' code.
    Differences: the two heads of change of the single sensors, which no loss reaches there, are left out; both dates of
    a batch share their batch statistics; bands arrive standardised, not clipped to 0..1.

    Args:
        in_channels: Bands of both sensors at one date.
        n_outputs: Classes of the change.
        streams: Positions of the radar and of the optical channels; None: the first two, and the others.
        widths: Of the levels; one pooling each.
        consistency: Weight of the sensors' agreement on unlabelled samples; 0: not learned.
        detach: Whether the optical stream learns nothing from that agreement; the published code lets it learn.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        streams: Sequence[Sequence[int]] | None = None,
        widths: Sequence[int] = (64, 128, 256, 512),
        consistency: float = 0.01,
        detach: bool = False,
    ) -> None:
        super().__init__()
        widths = check_widths(widths, "mmcr-change")
        if not 0.0 <= consistency < math.inf:
            raise ConfigurationError(
                f"The weight of the sensors' agreement must not be negative, but is {consistency}."
            )
        positions = radar_and_optical(in_channels, streams, "mmcr-change")
        self.consistency, self.detach = float(consistency), detach
        self.register_buffer("radar_channels", torch.tensor(positions[0]), persistent=False)
        self.register_buffer("optical_channels", torch.tensor(positions[1]), persistent=False)
        self.radar_channels: Tensor
        self.optical_channels: Tensor
        self.encoders = nn.ModuleDict({n: Encoder(len(p), widths) for n, p in zip(STREAMS, positions, strict=True)})
        self.change = nn.ModuleDict({name: Decoder(widths) for name in STREAMS})
        self.head = nn.Conv2d(2 * widths[0], head_width(n_outputs), 1)
        # Only the training looks at what is called auxiliary.
        self.auxiliary = nn.ModuleDict(
            {f"{name}_decoder": Decoder(widths) for name in STREAMS}
            | {f"{name}_head": nn.Conv2d(widths[0], 1, 1) for name in STREAMS}
            | {"fusion_head": nn.Conv2d(2 * widths[0], 1, 1)}
        )
        self.projection = FixedProjection(2 * widths[0], 32)
        self.feature_channels = self.projection.out_channels
        self.stride, self.margin = 2 ** len(widths), margin_of(widths)

    def _encode(self, x: Tensor) -> dict[str, list[Tensor]]:
        """Return the maps of all levels of each sensor, `[B * 2, w, h, w]`, dates of a sample side by side."""
        both = both_dates(x)
        indices = (self.radar_channels, self.optical_channels)
        return {n: self.encoders[n](both.index_select(1, i)) for n, i in zip(STREAMS, indices, strict=True)}

    def _change(self, maps: dict[str, list[Tensor]]) -> Tensor:
        """Return the joined last maps of the decoders of change, `[B, 2 w0, H, W]`."""
        decoded = []
        for name in STREAMS:
            dated = [level.unflatten(0, (-1, PAIR)) for level in maps[name]]
            decoded.append(self.change[name]([level[:, 1] - level[:, 0] for level in dated]))
        return torch.cat(decoded, dim=1)

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return the logits of change `[B, n_outputs, H, W]` of two dates `x` `[B, 2, C, H, W]` in normalised units."""
        return as_logits(self.head(self._change(self._encode(x))))

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (logits of change `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        joined = self._change(self._encode(x))
        return as_logits(self.head(joined)), self.projection(joined)

    def built_up(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of built-up ground by `radar`, `optical` and `fusion`, `[B, 2 dates, 2, H, W]` each."""
        return self._built_up(self._encode(x))

    def _built_up(self, maps: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        last = {name: self.auxiliary[f"{name}_decoder"](maps[name]) for name in STREAMS}
        scores = {name: self.auxiliary[f"{name}_head"](last[name]) for name in STREAMS}
        scores["fusion"] = self.auxiliary["fusion_head"](torch.cat([last[name] for name in STREAMS], dim=1))
        return {name: as_logits(score).unflatten(0, (-1, PAIR)).float() for name, score in scores.items()}

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of a batch of labelled and unlabelled samples.

        Args:
            loss: Of the objective.
            x: `[B, 2, C, H, W]` in normalised units.
            target: int `[B, 3, H, W]`: change, built-up at each date; or `[B, H, W]`: change; -1 unlabelled.
            valid: bool `[B, 2, H, W]`.
        """
        maps, seen = self._encode(x), valid.all(dim=1)
        change = loss(as_logits(self.head(self._change(maps))).float(), first_map(target), seen)
        if target.ndim == 3 and self.consistency == 0.0:
            return change
        built = self._built_up(maps)
        total = change
        if target.ndim == 4:
            parts = [loss(logits[:, t], target[:, 1 + t], valid[:, t]) for logits in built.values() for t in (0, 1)]
            total = 0.5 * (change + torch.stack(parts).mean())
        if self.consistency > 0.0:
            pairs = [(built["radar"][:, t], built["optical"][:, t], valid[:, t]) for t in (0, 1)]
            agreed = [agreement(loss, a, b, target, where, detach=self.detach) for a, b, where in pairs]
            total = total + 0.5 * self.consistency * (agreed[0] + agreed[1])
        return total
