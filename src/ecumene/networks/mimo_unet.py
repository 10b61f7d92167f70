"""MIMO U-Net: several sub-networks in one U-Net, each with its own input and output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.contract import Loss
from ecumene.networks.projection import FixedProjection
from ecumene.networks.wrapping import MOST_MEMBERS

SHALLOW_FEATURES = 16
DECODER_FEATURES = 32
BUFFER_STEPS = 10


class _DoubleConvolution(nn.Sequential):
    """Twice 3x3 convolution with mirrored borders, batch normalisation, ReLU; then dropout of channels."""

    def __init__(self, in_channels: int, out_channels: int, middle: int | None = None, dropout: float = 0.0) -> None:
        between = middle or out_channels
        super().__init__(
            nn.Conv2d(in_channels, between, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(between),
            nn.ReLU(inplace=True),
            nn.Conv2d(between, out_channels, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )


class MIMOUNet(BaseNetwork):
    """U-Net with S sub-networks that share all but their first two and their last blocks.

    After Baumann, Rossberg, Schmitt, "Probabilistic MIMO U-Net" (2023, arXiv 2308.07477). With width f, each
    sub-network has an own double convolution C -> f and an own down block f -> 2f; the S maps of 2f channels are
    joined; shared down blocks lead to 4fS, 8fS, 8fS and shared up blocks back to 4fS, 2fS, fS; an own last up block
    takes these fS and the sub-network's own first map to f, and an own 1x1 head gives its K outputs. Down blocks begin
    with max pooling, up blocks with bilinear upsampling and have half of their input as middle channels.

    Training (`training_loss`): every sub-network sees the batch in its own random order, but for a share `repetition`
    of it that all see alike, and each has its own loss. The losses of the last 10 steps are kept; a sub-network's
    loss is weighted by S softmax(mean of its kept losses / temperature), so that those that lag behind catch up.
    Executed, all sub-networks see the same image.

    Differences: bilinear upsampling aligns pixel edges instead of corners, because with corners aligned a pixel's
    value depends on the size of the window; one dropout rate for all blocks, and no separate ones at the bottom and
    before the heads. The outputs of the paper are mean and log-scale for regression; here the objective says what
    outputs mean, so that sub-networks of class scores work alike.

    Number of weights: a double convolution a -> m -> b has d(a, m, b) = 9 a m + 3 m + 9 m b + 3 b. With w = f S:
    S [d(C, f, f) + d(f, 2f, 2f) + d(w + f, (w + f) // 2, f) + f K + K] + d(2w, 4w, 4w) + d(4w, 8w, 8w)
    + d(8w, 8w, 8w) + d(16w, 8w, 4w) + d(8w, 4w, 2w) + d(4w, 2w, w).

    Args:
        in_channels: Bands C.
        n_outputs: `members` times the outputs K of one sub-network.
        members: S.
        width: f; the paper has 30 (vegetation index) and 21 (depth).
        dropout: Share of channels dropped after each block while training.
        repetition: Share of a batch that all sub-networks see alike while training, in [0, 1].
        temperature: Of the weights of the losses; large for equal weights.
        batch_repetitions: How often each sample of a batch occurs in a training step.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    stride = 16
    margin = 32
    recent_losses: Tensor
    step: Tensor

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        members: int = 2,
        width: int = 30,
        dropout: float = 0.0,
        repetition: float = 0.0,
        temperature: float = 0.3,
        batch_repetitions: int = 1,
    ) -> None:
        super().__init__()
        if isinstance(members, bool) or not 1 <= members <= MOST_MEMBERS or n_outputs % members:
            raise ConfigurationError(
                f"mimo-unet needs 1 to {MOST_MEMBERS} members and a multiple of them as outputs, but got {members} "
                f"and {n_outputs}."
            )
        if width < 2 or not 0.0 <= dropout < 1.0 or not 0.0 <= repetition <= 1.0:
            raise ConfigurationError(
                "mimo-unet needs a width of at least 2, a dropout in [0, 1) and a repetition in [0, 1], but got "
                f"{width}, {dropout} and {repetition}."
            )
        if not temperature > 0.0 or batch_repetitions < 1:
            raise ConfigurationError("mimo-unet needs a positive temperature and at least one batch repetition.")
        self.members, self.repetition = members, float(repetition)
        self.temperature, self.batch_repetitions = float(temperature), int(batch_repetitions)
        f, w = width, width * members

        def block(before: int, after: int, middle: int | None = None) -> _DoubleConvolution:
            return _DoubleConvolution(before, after, middle, dropout)

        self.first = nn.ModuleList(block(in_channels, f) for _ in range(members))
        self.second = nn.ModuleList(block(f, 2 * f) for _ in range(members))
        self.down = nn.ModuleList((block(2 * w, 4 * w), block(4 * w, 8 * w), block(8 * w, 8 * w)))
        self.up = nn.ModuleList((block(16 * w, 4 * w, 8 * w), block(8 * w, 2 * w, 4 * w), block(4 * w, w, 2 * w)))
        self.last = nn.ModuleList(block(w + f, f, (w + f) // 2) for _ in range(members))
        self.heads = nn.ModuleList(nn.Conv2d(f, n_outputs // members, 1) for _ in range(members))
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.decoder_projection = FixedProjection(w, DECODER_FEATURES, seed=1)
        self.shallow_projection = FixedProjection(w, SHALLOW_FEATURES)
        self.feature_channels = self.decoder_projection.out_channels + self.shallow_projection.out_channels
        # With the weights, so that a training that goes on after a kill weighs its losses as it would have.
        self.register_buffer("recent_losses", torch.zeros(BUFFER_STEPS, members))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def _decode(self, images: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return (last maps, first maps) of the sub-networks from one image `[B, C, H, W]` for each."""
        shallow = [block(image) for block, image in zip(self.first, images, strict=True)]
        current = torch.cat([block(self.pool(x)) for block, x in zip(self.second, shallow, strict=True)], dim=1)
        skips: list[Tensor] = []
        for block in self.down:
            skips.append(current)
            current = block(self.pool(current))
        for block, skip in zip(self.up, reversed(skips), strict=True):
            current = block(torch.cat((skip, self.grow(current)), dim=1))
        grown = self.grow(current)
        return [block(torch.cat((x, grown), dim=1)) for block, x in zip(self.last, shallow, strict=True)], shallow

    def forward_members(self, x: Tensor) -> Tensor:
        """Return raw outputs `[B, S, K, H, W]` of an image for each sub-network, `[B, S, C, H, W]`."""
        decoded, _ = self._decode(list(x.unbind(dim=1)))
        return torch.stack([head(part) for head, part in zip(self.heads, decoded, strict=True)], dim=1)

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return raw outputs `[B, n_outputs, H, W]`, member-major, of `x` `[B, C, H, W]` in normalised units."""
        decoded, _ = self._decode([x] * self.members)
        return torch.cat([head(part) for head, part in zip(self.heads, decoded, strict=True)], dim=1)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        decoded, shallow = self._decode([x] * self.members)
        output = torch.cat([head(part) for head, part in zip(self.heads, decoded, strict=True)], dim=1)
        features = (self.decoder_projection(torch.cat(decoded, 1)), self.shallow_projection(torch.cat(shallow, 1)))
        return output, torch.cat(features, dim=1)

    # -- training ----------------------------------------------------------------------------------

    def arrange(self, samples: int) -> Tensor:
        """Draw which sample each sub-network sees at each place of a training batch.

        Args:
            samples: Samples of the batch.

        Returns:
            int64 `[S, samples * batch_repetitions]`; the last `repetition` share of the columns is alike in all rows.
        """
        order = torch.randperm(samples).repeat(self.batch_repetitions)
        own = int(len(order) * (1.0 - self.repetition))
        return torch.stack([torch.cat((order[:own][torch.randperm(own)], order[own:])) for _ in range(self.members)])

    def loss_weights(self) -> Tensor:
        """Return the weight of each sub-network's loss, `[S]`, 1 on average."""
        return self.members * torch.softmax(self.recent_losses.mean(dim=0) / self.temperature, dim=0)

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the synchronised loss of one training batch and remember the sub-networks' losses.

        Args:
            loss: Of one member.
            x: `[B, C, H, W]`, normalised units.
            target: `[B, ...]`.
            valid: bool `[B, H, W]`.
        """
        rows = self.arrange(len(x)).to(x.device)
        output = self.forward_members(torch.stack([x[row] for row in rows], dim=1))
        with torch.autocast(x.device.type, enabled=False):
            losses = torch.stack(
                [loss(output[:, member].float(), target[row], valid[row]) for member, row in enumerate(rows)]
            )
            total = (losses * self.loss_weights()).mean()
        self.recent_losses[self.step % BUFFER_STEPS] = losses.detach().to(self.recent_losses.dtype)
        self.step += 1
        return total
