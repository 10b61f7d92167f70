"""A network of three-dimensional convolutions that makes one clear image of several cloudy dates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.dsen2cr import ResidualBody, start_he_uniform
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import CHANGE_RADIUS, RestorationNetwork


class TemporalCNN3D(RestorationNetwork):
    """The sequence-to-point network of SEN12MS-CR-TS (Ebel, Xu, Schmitt, Zhu 2022), without its discriminator.

    Each date passes a residual body as DSen2-CR has it; the features of T dates are stacked in time: convolution
    3 x 3 x 3 with ReLU, five residual blocks in three dimensions (times 0.1, no normalisation), convolution T x 3 x 3
    to the bands, tanh. The published command gives the discriminator no weight either.

    Left out: bodies that were trained on single dates before and stay fixed for the first 100,000 steps; here all
    layers learn together. Zeros instead of reflection beyond the border, so that windows give what the whole image
    gives. Variances as `RestorationNetwork.with_change` has them. The model of the same paper that predicts a clear
    series is fitted to each series when it is used: `restoration.internal_learning`.

    Number of weights with C channels, width F, B and R blocks, T dates and K bands: `9CF + F + 2B(9FF + F)` (body),
    `27FF + F + 2R(27FF + F)`, `9TFK + K`. For 15, 256, 16, 5, 3 and 13: 38,474,253 (pinned by a test).

    Args:
        in_channels: Channels of a date, the bands to restore first.
        n_outputs: See `RestorationNetwork`.
        targets: See there.
        dates: T, exactly as many dates are read.
        width: F.
        blocks: B.
        blocks_3d: R.
        scaling: See there.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True
    target_date = "clear-state"

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        dates: int = 3,
        width: int = 256,
        blocks: int = 16,
        blocks_3d: int = 5,
        scaling: str = "symmetric",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        if min(width, blocks, blocks_3d) < 1 or dates < 2:
            raise ConfigurationError("cnn-3d needs a width and blocks of 1 or more and two dates or more.")
        self.dates = dates
        self.body = ResidualBody(in_channels, width, blocks)
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.ReLU(), nn.Conv3d(width, width, 3, padding=1))
            for _ in range(blocks_3d)
        )
        self.head = nn.Conv3d(width, self.bands, (dates, 3, 3), padding=(0, 1, 1))
        start_he_uniform(self)
        self.projection = FixedProjection(width, 32)
        self.feature_channels = self.projection.out_channels
        self.margin = 1 + 2 * blocks + 1 + 2 * blocks_3d + 1 + CHANGE_RADIUS

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances, features `[B, F, H, W]`).

        Raises:
            ConfigurationError: If there are more or fewer dates than the network reads.
        """
        if x.shape[1] != self.dates:
            raise ConfigurationError(
                f"The model reads exactly {self.dates} dates, but the scenes have {x.shape[1]}; give {self.dates}."
            )
        limited = self.limited(x)
        features = self.body(limited.flatten(0, 1)).unflatten(0, (x.shape[0], self.dates))
        current = self.first(features.transpose(1, 2)).relu()
        for block in self.blocks:
            current = current + 0.1 * block(current)
        clear = torch.tanh(self.head(current)[:, :, 0])
        seen = [limited[:, date, : self.bands] for date in range(self.dates)]
        return self.with_change(clear, seen), self.projection(current.mean(dim=2))
