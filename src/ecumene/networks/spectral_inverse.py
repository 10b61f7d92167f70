"""An inverse of a spectral forward model: from principal components of a spectrum to a distribution of states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError


class SpectralInverse(nn.Module):
    """Fully connected tanh layers with a mean and a log variance for every state element.

    The shape that operational inverse-learning retrievals use (Loyola et al. 2018, doi 10.5194/amt-11-409-2018,
    ROCINN: few tanh layers on principal components); the log variance (Nix and Weigend 1994, doi
    10.1109/ICNN.1994.374138) is added, and a linear path from input to mean, since the problem is nearly linear.
    Number of weights for k inputs, hidden widths h1..hn and s elements:
    `k h1 + h1 + ... + (hn + 1) 2 s + (k + 1) s`.

    Args:
        in_channels: Principal components.
        n_outputs: State elements.
        hidden: Widths of the hidden layers.

    Raises:
        ConfigurationError: If a number is not positive.
    """

    def __init__(self, in_channels: int, n_outputs: int, hidden: Sequence[int] = (96, 96, 64)) -> None:
        super().__init__()
        if in_channels < 1 or n_outputs < 1 or not hidden or min(hidden) < 1:
            raise ConfigurationError("A spectral inverse needs positive numbers of inputs, outputs and hidden units.")
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *hidden[:-1]), hidden, strict=True):
            layers += [nn.Linear(before, after), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden[-1], 2 * n_outputs)
        self.linear = nn.Linear(in_channels, n_outputs)
        self.n_outputs = n_outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, `[P, s]` each, standardised, of standardised components `[P, k]`."""
        output = self.head(self.body(x))
        return self.linear(x) + output[:, : self.n_outputs], output[:, self.n_outputs :].clamp(-14.0, 6.0)


def gaussian_loss(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of normal targets, without its constant, all `[P, s]`."""
    return 0.5 * ((target - mean).square() * torch.exp(-log_variance) + log_variance).mean()
