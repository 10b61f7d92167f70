"""Settlement extent and local climate zones from one image, by one network."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.cbam import Cbam
from ecumene.networks.contract import Loss
from ecumene.networks.projection import FixedProjection
from ecumene.networks.sen2lcz import he_normal, log_of_mean, pool_both

Prior = Literal["none", "multiply", "concatenate"]


class SettlementLcz(BaseNetwork):
    """One shared backbone, attention for each task, a head for settlement extent and four for climate zones.

    Backbone at full resolution: a 3x3 convolution of width w, then separable 3x3 convolutions of w, 2w, 2w; maximum
    and average pooling side by side (4w channels); at half resolution separable convolutions of 8w, 8w, 16w, 16w. Each
    task attends to that map by a CBAM of its own. Settlement extent: dropout and a 1x1 convolution. Climate zones: two
    stages of both poolings, dropout and a separable convolution of twice the width (32w, 64w); 1x1 classifiers on the
    map after the first pooling, on both poolings of the stages and on the last map; their softmax vectors, repeated
    to the image's grid, are averaged, and the raw output is the logarithm of the mean.

    The extent can serve as a prior of the zones: `multiply` adds a fifth classifier on the shared map times the
    predicted extent, as in the authors' code; `concatenate` gives the extent to the zones' branch as one more channel.

    Output `[B, 1 + K, H, W]`: the logit of the extent, then the zones. Number of weights, with s(a, b) = 9 a + a b +
    3 b of a separable convolution with its normalisation: 9 C w + 3 w + s(w, w) + s(w, 2w) + s(2w, 2w) + s(4w, 8w) +
    s(8w, 8w) + s(8w, 16w) + s(16w, 16w) + s(32w, 32w) + s(64w, 64w), two CBAMs of 16w channels, heads of 16w + 1 and
    (4w + 32w + 64w + 64w) K + 4 K, and 2: 1,542,091 for 10 bands, 17 zones, width 16 and no prior.

    While training, the loss of each task is divided by an uncertainty that is learned along (Kendall, Gal, Cipolla
    2018): two log-variances that begin at 0.

    Attention takes averages and maxima over the whole window, so that maps depend on the window's size.

    Qiu, Liebel, Hughes, Schmitt, Koerner, Zhu (2020), Multitask learning for human settlement extent regression and
    local climate zone classification, IEEE GRSL, arXiv 2011.11452; layers as in the authors' code (`model_sep_cbam.py`
    of ChunpingQiu/Human-settlement-extent-regression-from-Sentinel-2-images-...). Deviations: bands arrive
    standardised; the prior is the predicted extent while training, too, where the authors' code takes the true one;
    depthwise kernels begin as He et al., not Glorot.

    Args:
        in_channels: Bands.
        n_outputs: 1 and the number of zones.
        width: Of the first convolution.
        dropout: Share of values dropped before the extent's head and after the poolings of the zones' branch.
        attention: Whether each task has a CBAM.
        prior: What the extent does for the zones.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    stride = 8
    margin = 32

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        width: int = 16,
        dropout: float = 0.1,
        attention: bool = True,
        prior: Prior = "none",
    ) -> None:
        super().__init__()
        if n_outputs < 3 or width < 1 or not 0.0 <= dropout < 1.0 or prior not in ("none", "multiply", "concatenate"):
            raise ConfigurationError(
                "settlement-lcz needs an extent and two zones or more, a positive width, a dropout in [0, 1) and the "
                f"prior none, multiply or concatenate, but got {n_outputs}, {width}, {dropout} and {prior!r}."
            )
        zones, shared = n_outputs - 1, 16 * width
        self.prior = prior
        self.fine = nn.Sequential(
            *_normed(nn.Conv2d(in_channels, width, 3, padding=1), width),
            *_separable(width, width),
            *_separable(width, 2 * width),
            *_separable(2 * width, 2 * width),
        )
        self.middle = nn.Sequential(
            *_separable(4 * width, 8 * width),
            *_separable(8 * width, 8 * width),
            *_separable(8 * width, shared),
            *_separable(shared, shared),
        )
        self.attend_extent = Cbam(shared) if attention else nn.Identity()
        self.attend_zones = Cbam(shared) if attention else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.extent_head = nn.Conv2d(shared, 1, 1)
        entering = 2 * (shared + (1 if prior == "concatenate" else 0))
        self.coarse = nn.Sequential(*_separable(entering, 2 * shared))
        self.coarsest = nn.Sequential(*_separable(4 * shared, 4 * shared))
        self.zone_heads = nn.ModuleList(
            nn.Conv2d(wide, zones, 1) for wide in (4 * width, entering, 4 * shared, 4 * shared)
        )
        self.prior_head = nn.Conv2d(shared, zones, 1) if prior == "multiply" else None
        self.apply(he_normal)
        self.log_variances = nn.Parameter(torch.zeros(2))
        self.projection = FixedProjection(shared, 32)
        self.feature_channels = self.projection.out_channels

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, 1 + K, H, W]` of `x` `[B, C, H, W]` in normalised units."""
        return self._run(x)[0]

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, 1 + K, H, W]`, features `[B, F, H, W]`)."""
        output, shared = self._run(x)
        return output, _to(self.projection(shared), output)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = pool_both(self.fine(x))
        shared = self.middle(first)
        extent = self.extent_head(self.dropout(self.attend_extent(shared)))
        zones = [self.zone_heads[0](first)]
        if self.prior_head is not None:
            zones.append(self.prior_head(shared * torch.sigmoid(extent)))
        branch = self.attend_zones(shared)
        if self.prior == "concatenate":
            branch = torch.cat([branch, torch.sigmoid(extent)], dim=1)
        second = pool_both(branch)
        third = pool_both(self.coarse(self.dropout(second)))
        last = self.coarsest(self.dropout(third))
        for head, level in zip(list(self.zone_heads)[1:], (second, third, last), strict=True):
            zones.append(head(level))
        mean = log_of_mean([_to(each, x) for each in zones])
        return torch.cat([_to(extent.float(), x), mean], dim=1), shared

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of a batch, with the two learned log-variances as the output's last two channels."""
        output = self(x).float()
        learned = self.log_variances.reshape(1, 2, 1, 1).expand(len(output), 2, *output.shape[2:])
        return loss(torch.cat([output, learned], dim=1), target, valid)


def _to(x: Tensor, like: Tensor) -> Tensor:
    """Return a coarse map repeated to the grid of another one."""
    factor = like.shape[-1] // x.shape[-1]
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor), mode="nearest")


def _normed(convolution: nn.Module, width: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(width, eps=1e-3), nn.ReLU(inplace=True)]


def _separable(before: int, after: int) -> list[nn.Module]:
    """Return a depthwise 3x3 and a pointwise convolution with one normalisation behind both."""
    depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
    return [depthwise, *_normed(nn.Conv2d(before, after, 1), after)]
