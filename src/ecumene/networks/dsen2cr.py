"""DSen2-CR: a residual network that adds to a cloudy image what is missing."""

from __future__ import annotations

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import CHANGE_RADIUS, RestorationNetwork


class ResidualBody(nn.Module):
    """Convolution, B residual blocks without normalisation, each scaled by 0.1: `[N, C, H, W]` to `[N, F, H, W]`.

    Args:
        in_channels: C.
        width: F.
        blocks: B.
        scale: Of a block's addition.
    """

    def __init__(self, in_channels: int, width: int, blocks: int, scale: float = 0.1) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        current = self.first(x).relu()
        for block in self.blocks:
            current = current + self.scale * block(current)
        features: Tensor = current
        return features


def start_he_uniform(network: nn.Module) -> None:
    """Begin convolutions as He et al. 2015 do, uniformly in +-sqrt(6 / fan-in), without bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DSen2CR(RestorationNetwork):
    """DSen2-CR (Meraner, Ebel, Zhu, Schmitt 2020, doi 10.1016/j.isprsjprs.2020.05.013).

    Concatenated Sentinel-2 and Sentinel-1; convolution 3 x 3 with ReLU; residual blocks (convolution, ReLU,
    convolution, times 0.1, added); convolution to the bands; the cloudy bands are added. No normalisation, so that a
    pixel depends on its surroundings only: `margin` is exact.

    Added here: variances from how much a pixel is changed (`with_change`), which the paper has not. Not kept: zeros
    beyond the border are the network's zeros (black), as in the published code, so that a scene's border differs from
    the inside.

    Number of weights with C channels, width F, B blocks and K bands: `9CF + F + 2B(9FF + F) + 9FK + K`; for 15, 256, 16
    and 13: 18,947,341 (pinned by a test).

    Args:
        in_channels: Channels, the bands to restore first.
        n_outputs: See `RestorationNetwork`.
        targets: See there.
        width: F.
        blocks: B.
        scaling: See there.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        width: int = 256,
        blocks: int = 16,
        scaling: str = "resnet",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        if width < 1 or blocks < 1:
            raise ConfigurationError("dsen2cr needs a width and blocks of 1 or more.")
        self.body = ResidualBody(in_channels, width, blocks)
        self.head = nn.Conv2d(width, self.bands, 3, padding=1)
        start_he_uniform(self)
        self.projection = FixedProjection(width, 32)
        self.feature_channels = self.projection.out_channels
        self.margin = 2 * blocks + 2 + CHANGE_RADIUS

    def _restored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (output, last hidden features)."""
        limited = self.limited(x)
        features = self.body(limited)
        seen = limited[:, : self.bands]
        return self.with_change(seen + self.head(features), [seen]), features

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return means and variances `[B, n_outputs, H, W]` of `x` `[B, C, H, W]` in scaled units."""
        return self._restored(x)[0]

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances, features `[B, F, H, W]`)."""
        output, features = self._restored(x)
        return output, self.projection(features)
