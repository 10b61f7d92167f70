"""What networks around a base network share: building it, and what they take over from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork
from ecumene.networks.contract import Network

MOST_MEMBERS = 64


class Wrapper(BaseNetwork):
    """A network made of base networks; the raw output holds the base's channels once for each member.

    Args:
        in_channels: Bands.
        n_outputs: Output channels, `members` times the base's.
        network: Name of the base network in the registry.
        arguments: Its arguments but for channels and outputs.
        members: M.
        copies: How many base networks are built.

    Raises:
        ConfigurationError: If the base is a wrapper itself, answers for scenes, or numbers do not fit.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, network: str, arguments: Mapping[str, Any], members: int, copies: int
    ) -> None:
        super().__init__()
        from ecumene.networks import WRAPPERS, build_network, network_info

        if network in WRAPPERS or network_info(network).unit_of_work != "pixel":
            raise ConfigurationError(f"Members are made of a pixel network, and {network!r} is none; choose another.")
        if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
            raise ConfigurationError(f"The number of members must be 1 to {MOST_MEMBERS}, but is {members!r}.")
        if n_outputs % members:
            raise ConfigurationError(f"{n_outputs} outputs cannot be shared by {members} members; give a multiple.")
        self.members = members
        self.outputs_of_member = n_outputs // members
        own = {key: value for key, value in arguments.items() if key not in ("in_channels", "n_outputs")}
        self.bases = nn.ModuleList(
            build_network(network, **own, in_channels=in_channels, n_outputs=self.outputs_of_member)
            for _ in range(copies)
        )
        first = self.base
        self.temporal = bool(first.temporal)
        self.stride = int(first.stride)
        self.margin = int(first.margin)
        self.feature_channels = int(first.feature_channels)

    @property
    def base(self) -> Network:
        """The first base network."""
        return self.bases[0]  # type: ignore[return-value]

    @abstractmethod
    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, member-major; features `[B, F, H, W]` of one pass)."""
