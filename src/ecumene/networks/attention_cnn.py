"""Aerial scenes by a convolutional network that weighs places or channels of its map."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.cbam import Cbam
from ecumene.networks.trunks import build_trunk, check_side, resized, start_trunk

GATES = ("softmax", "sigmoid", "channel", "spatial", "cbam")


class AttentionCnn(BaseNetwork):
    """A trunk whose map is weighed before it is averaged, and a linear layer.

    With the trunk's map X of F channels the gates are:

    - `softmax`: a = softmax over places of w . tanh(W X); pooled f = sum a X;
    - `sigmoid`: a = sigmoid of the same score; f = sum a X / sum a;
    - `channel`: s = sigmoid(W2 relu(W1 mean X)), squeeze and excitation (Hu et al. 2018); f = mean s X;
    - `spatial`: the second half of block attention (Woo et al. 2018), a convolution of the mean and the maximum over
      channels; f = mean a X;
    - `cbam`: channels, then places (Woo et al. 2018); f = mean of the attended map.

    "Deep CNNs with attention mechanism for aerial scene classification" is known by its title only: gates, trunk and
    sizes are choices of this library, and there is no published figure to compare with.

    Number of weights for K classes, hidden size h and squeeze ratio r: trunk + F K + K, and F h + h + h + 1 for
    `softmax` and `sigmoid`, 2 F (F / r) + F / r + F for `channel`, 98 for `spatial`, and for `cbam` those two together.

    Args:
        in_channels: Bands.
        n_outputs: Classes.
        trunk: `resnet50`, `googlenet` or `vgg16` with a map of 1/16 of the rows and columns.
        gate: One of the gates.
        input_size: Images are resized to this side, bilinear; None: as they are.
        hidden: Hidden size of the score of `softmax` and `sigmoid`.
        ratio: Channels for each hidden unit of the squeeze.
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
        gate: Literal["softmax", "sigmoid", "channel", "spatial", "cbam"] = "softmax",
        input_size: int | None = 224,
        hidden: int = 256,
        ratio: int = 16,
        dropout: float = 0.0,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ConfigurationError(f"There is no gate {gate!r}; there are: {', '.join(GATES)}.")
        if not 0.0 <= dropout < 1.0 or hidden < 1:
            raise ConfigurationError(
                f"dropout must be in [0, 1) and hidden a positive number, but are {dropout} and {hidden}."
            )
        check_side(input_size, 32)
        self.encoder = build_trunk(trunk, in_channels, fine=True)
        self.input_size = input_size
        self.feature_channels = width = self.encoder.channels
        self.gate = gate
        if gate in ("softmax", "sigmoid"):
            self.score: nn.Module = nn.Sequential(nn.Conv2d(width, hidden, 1), nn.Tanh(), nn.Conv2d(hidden, 1, 1))
        else:
            self.score = _block(gate, width, ratio)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_outputs)
        start_trunk(self, trunk, encoder_weights)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, pooled features `[B, F]`)."""
        pooled = self._attended(x).sum(dim=(2, 3))
        output: Tensor = self.head(self.dropout(pooled))
        return output, pooled

    def attention(self, x: Tensor) -> Tensor:
        """Return how much each place counts, `[B, 1, h, w]`, sums to 1.

        It is the weight itself for `softmax` and `sigmoid`; for the other gates each place's share of the size
        (Euclidean norm over channels) of the attended map.
        """
        if self.gate in ("softmax", "sigmoid"):
            return self._weights(self.encoder(resized(x, self.input_size)))
        size: Tensor = torch.linalg.vector_norm(self._attended(x), dim=1, keepdim=True)
        return size / size.sum(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)

    def class_attention(self, x: Tensor) -> Tensor:
        """Return what each place adds to each logit, `[B, K, h, w]`; its sum is the logit without bias."""
        maps: Tensor = torch.einsum("bfhw,kf->bkhw", self._attended(x), self.head.weight)
        return maps

    def _attended(self, x: Tensor) -> Tensor:
        """Return the weighed map `[B, F, h, w]` whose sum over places is the pooled vector."""
        maps: Tensor = self.encoder(resized(x, self.input_size))
        if self.gate in ("softmax", "sigmoid"):
            return maps * self._weights(maps)
        attended: Tensor = self.score(maps)
        return attended / (maps.shape[-1] * maps.shape[-2])

    def _weights(self, maps: Tensor) -> Tensor:
        score: Tensor = self.score(maps)
        if self.gate == "softmax":
            return score.flatten(2).softmax(dim=-1).reshape(score.shape)
        open_ = torch.sigmoid(score)
        return open_ / open_.sum(dim=(2, 3), keepdim=True)


class _Channel(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1), nn.ReLU(inplace=True), nn.Conv2d(channels // ratio, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))


class _Spatial(nn.Module):
    """Attention to places from the mean and the maximum over channels."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.place = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.place(seen))


def _block(gate: str, channels: int, ratio: int) -> nn.Module:
    if not 1 <= ratio <= channels:
        raise ConfigurationError(f"The squeeze ratio must be between 1 and {channels}, but is {ratio}.")
    if gate == "cbam":
        return Cbam(channels, ratio)
    return _Channel(channels, ratio) if gate == "channel" else _Spatial()
