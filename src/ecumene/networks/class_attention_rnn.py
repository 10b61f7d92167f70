"""Several labels of an aerial image: a map of attention for each class, read one class after the other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.trunks import build_trunk, check_side, resized, start_trunk

_REDUCTION = 16


class ClassAttentionRnn(BaseNetwork):
    """Class attention layer behind a convolutional trunk, and a (bidirectional) LSTM over the classes.

    1. Trunk (VGG-16, GoogLeNet or ResNet-50) without head and without its last spatial reduction: a map of 1/16 of the
       rows and columns, 14 x 14 for images of 224.
    2. Class attention layer: a 1 x 1 convolution with one filter a class, no activation. The map of class l, made
       a vector v_l of W H numbers, is where the class is looked for.
    3. LSTM over v_1 ... v_L in the order of the legend, which is therefore part of the model; in both directions for
       `bilstm`. The logit of class l is w_l . [h_forward,l ; h_backward,l] + b_l.

    Hua, Mou, Zhu (2019), Recurrently exploring class-wise attention in a hybrid convolutional and bidirectional LSTM
    network for multi-label aerial image classification, ISPRS JPRS 149, 188-199. `recurrence="none"` is the ablation
    without a recurrence: the logit is w_l . v_l + b_l. The paper's baseline without class attention is `scene-cnn`.

    Number of weights for L classes, F channels of the trunk's map, n = W H and hidden size d: trunk + F L + L, then
    2 (4 d n + 4 d d + 8 d) + 2 d L + L for `bilstm` (half of the first term, and d L + L, for `lstm`), n L + L for
    `none`; an LSTM of torch has two biases of 4 d a direction. VGG-16, 17 classes, 224 pixels, d = 256: 15,661,922.

    Deviations: the hidden size is a choice of this library; ResNet-50 and GoogLeNet leave out the reduction before
    their last stage, as VGG-16 does its last pooling; GoogLeNet is torchvision's (batch normalisation, 3 x 3 instead of
    5 x 5 convolutions); images are standardised by the training set instead of by ImageNet's mean.

    Args:
        in_channels: Bands.
        n_outputs: Classes L.
        trunk: `vgg16`, `googlenet` or `resnet50`.
        input_size: Images are resized to this side, bilinear; a multiple of 16.
        recurrence: `bilstm`, `lstm` or `none`.
        hidden: Hidden size d of each direction.
        encoder_weights: None (random), `if-present`, or a safetensors file; see `trunks`.

    Raises:
        ConfigurationError: If an argument is unknown or out of range.
        ModelError: If the weights do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        trunk: str = "vgg16",
        input_size: int = 224,
        recurrence: Literal["bilstm", "lstm", "none"] = "bilstm",
        hidden: int = 256,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        if recurrence not in ("bilstm", "lstm", "none") or hidden < 1:
            raise ConfigurationError(
                f"The recurrence is 'bilstm', 'lstm' or 'none' with a positive hidden size, but is {recurrence!r} "
                f"with {hidden}."
            )
        check_side(input_size, 2 * _REDUCTION)
        if input_size % _REDUCTION:
            raise ConfigurationError(f"input_size must be a multiple of {_REDUCTION}, but is {input_size}.")
        self.encoder = build_trunk(trunk, in_channels, fine=True)
        self.input_size = input_size
        self.feature_channels = self.encoder.channels
        self.attention = nn.Conv2d(self.feature_channels, n_outputs, 1)
        places = (input_size // _REDUCTION) ** 2
        both = recurrence == "bilstm"
        self.recurrence = (
            None if recurrence == "none" else nn.LSTM(places, hidden, batch_first=True, bidirectional=both)
        )
        width = places if recurrence == "none" else hidden * (2 if both else 1)
        self.weight = nn.Parameter(torch.empty(n_outputs, width))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)
        start_trunk(self, trunk, encoder_weights)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (logits `[B, L]`, averaged features of the trunk `[B, F]`)."""
        maps: Tensor = self.encoder(resized(x, self.input_size))
        read: Tensor = self.attention(maps).flatten(2)
        if self.recurrence is not None:
            read = self.recurrence(read)[0]
        return (read * self.weight).sum(dim=-1) + self.bias, maps.mean(dim=(2, 3))

    def class_attention(self, x: Tensor) -> Tensor:
        """Return the map of each class `[B, L, h, w]` of `x` `[B, C, H, W]` in normalised units."""
        maps: Tensor = self.attention(self.encoder(resized(x, self.input_size)))
        return maps
