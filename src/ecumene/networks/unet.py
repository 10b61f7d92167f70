"""U-Net with an exchangeable encoder, for whole scenes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.networks.base import BaseNetwork, check_dropout
from ecumene.networks.projection import FixedProjection
from ecumene.networks.weights import load_encoder_weights

SHALLOW_FEATURES = 16
"""Channels that the shallow encoder map is projected to for outlier scores."""


class UNet(BaseNetwork):
    """U-Net (Ronneberger, Fischer, Brox 2015) with an encoder from segmentation-models-pytorch or timm.

    Raw outputs come from a 1x1-padded 3x3 convolution on the last decoder map, at the resolution of the
    input. Everything but the encoder's receptive field is local, and normalisation layers use running
    statistics when evaluating, so that an output depends on its neighbourhood only.

    The features for outlier scores are the last decoder map (what the decision is made from; it has
    forgotten what the classes do not need) beside the first encoder map, projected to 16 channels and
    upsampled (what the image looks like; it has not forgotten yet). Both together cost less than one
    per cent of the forward pass.

    The theoretical receptive field of a ResNet-18 encoder exceeds the usual windows; the gradient of an output is
    concentrated in a small part of it (Luo et al. 2016, "Understanding the effective receptive field", section 2.2).
    `margin` is 16, so that windows share 32 pixels, one stride: on a trained U-Net (`benchmarks/engine_seams.py`) a
    blended seam of 32 pixels then differs from full context by 0.0014 of probability on average, less than half of
    the step in which probabilities are stored, and in the class of 0.7 % of its pixels. Seams of 64 pixels
    differ in 0.3 %, but are twice as many pixels, so that the map as a whole is not better for them.

    Args:
        in_channels: Bands, any number.
        n_outputs: Output channels.
        encoder: Encoder name of segmentation-models-pytorch (`resnet18`) or, with the prefix `tu-`, of timm.
        encoder_weights: None (random), the path of a safetensors file (see `load_encoder_weights`), or a name
            known to the library such as `imagenet`, which it downloads. The first convolution of weights for
            three bands is adapted to `in_channels` by repeating its kernels over the bands and sharing their size
            among the repetitions, so that activations keep theirs (`adapt_first_convolution` for files).
        decoder_channels: Channels of the decoder, deep to shallow; their number, 3 to 5, is the encoder's depth
            (deeper stages of the encoder stay, unused).
        dropout: Share of the last decoder map's channels that training drops.

    Raises:
        ConfigurationError: If the encoder is unknown, or an argument is out of range.
    """

    margin = 16

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        encoder: str = "resnet18",
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_dropout(dropout, "a U-Net")
        depth = len(decoder_channels)
        if not 3 <= depth <= 5 or min(decoder_channels) < 1:
            raise ConfigurationError(
                f"A U-Net needs 3 to 5 positive decoder channels, but got {list(decoder_channels)}."
            )
        from_file = encoder_weights is not None and encoder_weights.endswith(".safetensors")
        body = _smp_unet(
            encoder, None if from_file else encoder_weights, in_channels, n_outputs, tuple(decoder_channels)
        )
        self.encoder: nn.Module = body.encoder
        self.decoder: nn.Module = body.decoder
        self.head: nn.Module = body.segmentation_head
        self.dropout = nn.Dropout2d(dropout)
        self.in_channels = in_channels
        self.stride = int(2**depth)
        channels = [int(number) for number in body.encoder.out_channels]
        # Encoders without a stage at half resolution report zero channels for it.
        self._shallow = next(level for level in range(1, len(channels)) if channels[level] > 0)
        self.shallow_projection = FixedProjection(channels[self._shallow], SHALLOW_FEATURES)
        self.feature_channels = int(decoder_channels[-1]) + self.shallow_projection.out_channels
        # The decoder took its feature maps one by one in older releases and takes a list in newer ones.
        kinds = [parameter.kind for parameter in inspect.signature(self.decoder.forward).parameters.values()]
        self._star = inspect.Parameter.VAR_POSITIONAL in kinds
        if from_file and encoder_weights is not None:
            load_encoder_weights(self, encoder_weights)

    def _decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (last decoder map, shallow encoder map)."""
        maps: list[Tensor] = self.encoder(x)
        decoded: Tensor = self.decoder(*maps) if self._star else self.decoder(maps)
        return decoded, maps[self._shallow]

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]` of `x` `[B, C, H, W]` in normalised units."""
        decoded, _ = self._decode(x)
        output: Tensor = self.head(self.dropout(decoded))
        return output

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        output, ((decoded, _), (reduced, factor)) = self.forward_parts(x, dates, valid)
        # One factor for both sides keeps the exported graph free of shape arithmetic.
        upsampled = F.interpolate(reduced, scale_factor=float(factor), mode="nearest")
        return output, torch.cat((decoded, upsampled.to(decoded.dtype)), dim=1)

    def forward_parts(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, int], ...]]:
        """Return (raw outputs, features as (part, pixels on a side of its cells), each on its own grid)."""
        decoded, shallow = self._decode(x)
        output: Tensor = self.head(self.dropout(decoded))
        return output, ((decoded, 1), (self.shallow_projection(shallow), 2**self._shallow))


def _smp_unet(
    encoder: str, weights: str | None, in_channels: int, n_outputs: int, decoder_channels: tuple[int, ...]
) -> Any:
    """Build the library's U-Net, or say which name it does not know."""
    smp = require("segmentation_models_pytorch")
    try:
        return smp.Unet(
            encoder_name=encoder,
            encoder_depth=len(decoder_channels),
            encoder_weights=weights,
            decoder_channels=decoder_channels,
            in_channels=in_channels,
            classes=n_outputs,
        )
    except (KeyError, RuntimeError, ValueError) as error:
        detail = str(error).strip("\"'").split("\n")[0][:160]
        raise ConfigurationError(
            f"No U-Net can be built with the encoder {encoder!r} and encoder weights {weights!r}; "
            f"use an encoder of segmentation-models-pytorch, or 'tu-' and a name of timm ({detail})."
        ) from error
