"""Change between two dates by one U-Net a sensor, whose features are fused at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecumene.networks.base import check_widths
from ecumene.networks.change_pair import PairNetwork, apart, both_dates
from ecumene.networks.multimodal_parts import Decoder, Encoder, check_streams
from ecumene.networks.projection import FixedProjection

POOLINGS = 4


class DualStreamUNet(PairNetwork):
    """DS-UNet: each sensor's two dates go through a U-Net of their own, and the features are fused before the head.

    A stream sees its channels of both dates as one image (Sentinel-1 VV: 2, Sentinel-2: 26); the features of all
    streams are concatenated, and one 1x1 convolution decides. One stream with all channels is the stacked fusion that
    the paper compares with; a stream of Sentinel-2 alone is its single-sensor U-Net. Number of weights: encoder and
    decoder of each stream (`multimodal_parts`, with both dates' channels) + (streams * widths[0] + 1) * n_outputs; for
    Sentinel-1 VV and 13 bands of Sentinel-2 with one output 29,590,529, "about 30 million" in the authors' words.

    The theoretical reach is 107 pixels to each side; `margin` states its useful part.

    Hafner, Nascetti, Azizpour, Ban (2022), Sentinel-1 and Sentinel-2 data fusion for urban change detection using a
    dual stream U-Net, IEEE GRSL 19, 4019805; layers as in the authors' code (SebastianHafner/DS_UNet). Differences:
    there is one output a class (two, whose softmax is the sigmoid of their difference) instead of one logit; bands are
    standardised by the training set, the authors feed values clipped to 0..1.

    Args:
        in_channels: Bands of one date, of all sensors.
        n_outputs: Output channels.
        streams: Positions of each stream's channels, each channel once; None: one stream of all.
        widths: Channels of the first four levels; the fifth repeats the last one.

    Raises:
        ConfigurationError: If the streams do not share out the channels, or a width is out of range.
    """

    stride = 2**POOLINGS
    margin = 32

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        streams: Sequence[Sequence[int]] | None = None,
        widths: Sequence[int] = (64, 128, 256, 512),
    ) -> None:
        super().__init__()
        levels = check_widths(widths, "dual-stream-unet", count=POOLINGS)
        self.positions = check_streams(in_channels, streams or [range(in_channels)], "dual-stream-unet")
        self.encoders = nn.ModuleList(Encoder(2 * len(stream), levels) for stream in self.positions)
        self.decoders = nn.ModuleList(Decoder(levels) for _ in self.positions)
        joined = len(self.positions) * levels[0]
        self.head = nn.Conv2d(joined, n_outputs, 1)
        self.projection = FixedProjection(joined, 32)
        self.feature_channels = self.projection.out_channels

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`) of pairs `[B, 2, C, H, W]`."""
        earlier, later = apart(both_dates(x))
        parts = []
        for positions, encoder, decoder in zip(self.positions, self.encoders, self.decoders, strict=True):
            first, count = positions[0], len(positions)
            if positions == list(range(first, first + count)):
                pair = (earlier[:, first : first + count], later[:, first : first + count])
            else:
                pair = (earlier[:, positions], later[:, positions])
            parts.append(decoder(encoder(torch.cat(pair, dim=1))))
        joined = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        output: Tensor = self.head(joined)
        return output, self.projection(joined)
