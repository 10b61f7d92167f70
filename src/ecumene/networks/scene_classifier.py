"""One answer for a whole scene."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.networks.base import BaseNetwork, check_dropout
from ecumene.networks.weights import load_encoder_weights


class SceneClassifier(BaseNetwork):
    """A timm backbone, global average pooling, dropout and a linear layer.

    The raw output is `[B, n_outputs]` and the features `[B, F]`: a scene has no pixels to answer for, so that the
    last two axes of the `Network` contract are absent.

    Args:
        in_channels: Bands, any number; first convolutions of pretrained weights are adapted.
        n_outputs: Output channels.
        encoder: Name of a timm backbone.
        encoder_weights: None (random), the path of a safetensors file, or `timm` for the weights that the
            library downloads.
        dropout: Share of the pooled features dropped while training.

    Raises:
        ConfigurationError: If the backbone is unknown, or an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        encoder: str = "resnet18",
        encoder_weights: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_dropout(dropout, "a scene classifier")
        if encoder_weights not in (None, "timm") and not str(encoder_weights).endswith(".safetensors"):
            raise ConfigurationError(
                f"encoder_weights of scene-resnet must be 'timm' or a safetensors file, but is {encoder_weights!r}."
            )
        timm: Any = require("timm")
        if not timm.is_model(encoder):
            raise ConfigurationError(f"timm has no backbone {encoder!r}; `timm.list_models()` names them all.")
        self.encoder: nn.Module = timm.create_model(
            encoder, pretrained=encoder_weights == "timm", in_chans=in_channels, num_classes=0, global_pool="avg"
        )
        self.feature_channels = int(getattr(self.encoder, "num_features"))  # noqa: B009
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.feature_channels, n_outputs)
        if encoder_weights is not None and encoder_weights != "timm":
            load_encoder_weights(self, encoder_weights)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, pooled features `[B, F]`)."""
        pooled: Tensor = self.encoder(x)
        output: Tensor = self.head(self.dropout(pooled))
        return output, pooled
