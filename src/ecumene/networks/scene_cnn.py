"""Scene classification by a fine-tuned or freshly trained image network."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork, check_dropout
from ecumene.networks.trunks import build_trunk, check_side, resized, start_trunk


class SceneCnn(BaseNetwork):
    """A trunk, pooling and a linear layer: ResNet-50, DenseNet-121, GoogLeNet or VGG-16 with another last layer.

    Number of weights for C bands and K outputs: with average pooling, ResNet-50 23,508,032 + 2048 K + K, DenseNet-121
    6,953,856 + 1024 K + K, GoogLeNet 5,599,904 + 1024 K + K, VGG-16 14,714,688 + 512 K + K at three bands; each further
    band adds 7 x 7 x 64 = 3136 (VGG-16: 3 x 3 x 64 = 576). ResNet-50 with 10 outputs has 23,528,522.

    Helber et al. (2019), EuroSAT, IEEE JSTARS 12(7), fine-tune ResNet-50 and GoogLeNet; Schmitt and Wu (2021), ISPRS
    Annals V-2, train ResNet-50 and DenseNet-121 from scratch on any bands, DenseNet-121 with its last map flattened
    instead of averaged (`pool="flatten"`). Deviations: GoogLeNet is torchvision's, with batch normalisation and 3 x 3
    instead of 5 x 5 convolutions, without auxiliary classifiers; VGG-16 averages its map instead of having two hidden
    layers of 4096; images are standardised by the training set's means and standard deviations.

    Args:
        in_channels: Bands.
        n_outputs: Classes or labels.
        trunk: `resnet50`, `densenet121`, `googlenet` or `vgg16`.
        input_size: Images are resized to this side, bilinear; None: as they are.
        pool: `average`, or `flatten` (needs `input_size`).
        dropout: Share of the pooled features dropped while training.
        encoder_weights: None (random), `if-present`, or a safetensors file; see `trunks`.

    Raises:
        ConfigurationError: If an argument is unknown or out of range.
        ModelError: If the weights do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        trunk: str = "resnet50",
        input_size: int | None = 224,
        pool: Literal["average", "flatten"] = "average",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        check_dropout(dropout, "a scene classifier")
        if pool not in ("average", "flatten") or (pool == "flatten" and input_size is None):
            raise ConfigurationError(
                f"The pool of a scene classifier is 'average', or 'flatten' with an input_size, but is {pool!r}."
            )
        check_side(input_size, 32)
        self.encoder = build_trunk(trunk, in_channels)
        self.input_size = input_size
        self.flatten = pool == "flatten"
        self.feature_channels = self.encoder.channels
        # DenseNet's last layer is a normalisation; averaging follows a ReLU (Huang et al. 2017), flattening does not.
        self.last = nn.ReLU() if trunk == "densenet121" and not self.flatten else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        places = (-(-input_size // self.encoder.reduction)) ** 2 if self.flatten and input_size else 1
        self.head = nn.Linear(self.feature_channels * places, n_outputs)
        start_trunk(self, trunk, encoder_weights)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, averaged features `[B, F]`)."""
        maps: Tensor = self.last(self.encoder(resized(x, self.input_size)))
        pooled = maps.mean(dim=(2, 3))
        output: Tensor = self.head(self.dropout(maps.flatten(1) if self.flatten else pooled))
        return output, pooled
