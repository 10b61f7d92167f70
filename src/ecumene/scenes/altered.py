"""A stack whose blocks are changed after they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes.contract import Block, Channel, SceneSource, Stack


@dataclass(frozen=True)
class AlteredStack(ABC):
    """Another stack with other pixels; see `scenes.contract.Stack`.

    Attributes:
        stack: The other one.
    """

    stack: Stack

    @abstractmethod
    def alter(self, block: Block) -> Block:
        """Return what is read instead of a block of the other stack; thread-safe."""

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.stack.geobox

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels in the order of the image's axis C."""
        return self.stack.channels

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """Acquisition times, one a frame, ascending."""
        return self.stack.times

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes in the stack."""
        return self.stack.sources

    def read(self, window: Window) -> Block:
        """Read a window."""
        return self.alter(self.stack.read(window))

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Return what `read` does with NaN where pixels cannot be decoded, and the windows that they are in."""
        block, damaged = self.stack.read_intact(window)
        return self.alter(block), damaged

    def select(self, channels: Sequence[str]) -> Self:
        """Return the stack with these channel keys, in this order."""
        return replace(self, stack=self.stack.select(channels))
