"""Several networks trained apart, side by side in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ecumene.networks.wrapping import Wrapper


class Ensemble(Wrapper):
    """Deep ensemble: M networks of one architecture, trained from different starts in different orders.

    After Lakshminarayanan, Pritzel, Blundell (2017, arXiv 1612.01474); adversarial training, which the paper offers
    as an option, is left out. Features for outlier scores are the first member's, so that the score costs what it
    costs for one network.

    Args:
        in_channels: Bands.
        n_outputs: `members` times the outputs of one member.
        network: Name of the member's architecture.
        arguments: Its arguments but for channels and outputs.
        members: M.

    Raises:
        ConfigurationError: See `Wrapper`.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, network: str, arguments: Mapping[str, Any], members: int = 4
    ) -> None:
        super().__init__(in_channels, n_outputs, network, arguments, members, copies=members)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Wrapper.forward_features`."""
        output, features = self.base.forward_features(x, dates, valid)
        others = [base(x, dates, valid) for base in self.bases[1:]]
        return torch.cat((output, *others), dim=1), features
