"""Local climate zones from Sentinel-2 patches: Sen2LCZ-Net and its multi-level fusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork

LEVELS = 4


class Sen2LczNet(BaseNetwork):
    """Sen2LCZ-Net, with or without multi-level fusion (Sen2LCZ-Net-MF).

    Four blocks of `(depth - 1) / 4` convolutions, 3x3 with bias, batch normalisation and ReLU, of width `width`,
    doubled from block to block. After the first three blocks maximum and average pooling 2x2 run side by side and are
    concatenated; dropout follows the second and third pooling. Global average pooling and a linear layer classify.
    With fusion each of the three pooled maps has such a classifier too, and the result is the arithmetic mean of the
    four softmax vectors; the raw output is then the logarithm of that mean, so that its softmax is the mean itself
    and its cross-entropy the published one.

    Number of weights for C bands, K classes, n convolutions a block and width w, with c(a, b) = 9 a b + b + 2 b of a
    convolution with its normalisation: c(C, w) + (n - 1) c(w, w), then for w' = 2w, 4w, 8w (whose input is w' wide,
    too: the pooled w'/2, twice) n c(w', w'); the classifiers have 8w K + K and, with fusion, (2w + 4w + 8w) K + 3 K.
    The published best model (17 layers, width 16, 10 bands, 17 classes) has 791,428.

    Qiu, Tong, Schmitt, Bechtel, Zhu (2020), Multilevel feature fusion-based CNN for local climate zone classification
    from Sentinel-2 images, IEEE JSTARS 13, 2793-2806, section III; layers as in the authors' code
    (ChunpingQiu/benchmark-on-So2SatLCZ42-dataset-a-simple-tour). Deviation: bands arrive standardised by the training
    set's means and standard deviations, the authors feed reflectances; running statistics of the normalisation keep
    0.9 of what they were at each step, the authors' 0.99, so that sets of a few hundred patches settle.

    Args:
        in_channels: Bands.
        n_outputs: Classes.
        depth: Convolutions and the classifier, 4 n + 1.
        width: Of the first block.
        dropout: Share of the pooled maps' values dropped while training.
        fusion: Whether the three pooled maps classify, too.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        depth: int = 17,
        width: int = 16,
        dropout: float = 0.2,
        fusion: bool = True,
    ) -> None:
        super().__init__()
        if depth < LEVELS + 1 or (depth - 1) % LEVELS or width < 1 or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"sen2lcz needs a depth of 5, 9, 13, 17, ..., a positive width and a dropout in [0, 1), but got "
                f"{depth}, {width} and {dropout}."
            )
        layers = (depth - 1) // LEVELS
        widths = [width * 2**level for level in range(LEVELS)]
        self.blocks = nn.ModuleList(
            _block(in_channels if level == 0 else widths[level], widths[level], layers) for level in range(LEVELS)
        )
        self.dropout = nn.Dropout(dropout)
        self.feature_channels = widths[-1]
        self.head = nn.Linear(widths[-1], n_outputs)
        # A pooled map is twice as wide as its block, and as wide as the next.
        self.side_heads = nn.ModuleList(nn.Linear(wide, n_outputs) for wide in widths[1:]) if fusion else None
        self.apply(he_normal)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs]`, pooled features of the last block `[B, 8 width]`); H, W at least 8."""
        outputs = []
        for level, block in enumerate(self.blocks):
            x = block(x)
            if level == LEVELS - 1:
                break
            x = pool_both(x)
            x = self.dropout(x) if level > 0 else x
            if self.side_heads is not None:
                outputs.append(self.side_heads[level](x.mean(dim=(2, 3))))
        pooled = x.mean(dim=(2, 3))
        outputs.append(self.head(pooled))
        return (outputs[0] if len(outputs) == 1 else log_of_mean(outputs)), pooled


def pool_both(x: Tensor) -> Tensor:
    """Return maximum and average pooling 2x2 side by side, `[B, 2 C, H/2, W/2]`."""
    return torch.cat([nn.functional.max_pool2d(x, 2), nn.functional.avg_pool2d(x, 2)], dim=1)


def log_of_mean(logits: list[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the softmax vectors of several logits `[B, K, ...]`."""
    stacked = torch.stack([each.float().log_softmax(dim=1) for each in logits])
    return stacked.logsumexp(dim=0) - math.log(len(logits))


def he_normal(module: nn.Module) -> None:
    """Initialise convolutions and linear layers as He et al. (2015) with a truncated normal; biases 0."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    fan_in = module.weight[0].numel()
    # The standard deviation of a normal distribution that is cut at two standard deviations.
    sigma = math.sqrt(2.0 / fan_in) / 0.87962566103423978
    nn.init.trunc_normal_(module.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _block(in_channels: int, width: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before in (in_channels, *(width,) * (layers - 1)):
        parts += [
            nn.Conv2d(before, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=1e-3),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*parts)
