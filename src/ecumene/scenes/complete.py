"""A stack whose pixels are there on every date or on none: what compares dates needs both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.scenes.contract import Block, Channel, SceneSource, Stack


@dataclass(frozen=True)
class CompleteStack:
    """Another stack, in which a pixel that lacks data on one date is NaN on all; see `scenes.contract.Stack`.

    Attributes:
        stack: The other one.
    """

    stack: Stack

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
        """Read a window; pixels that are not valid on every date are NaN on all."""
        return complete_block(self.stack.read(window))

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Return what `read` does with NaN where pixels cannot be decoded, and the windows that they are in."""
        block, damaged = self.stack.read_intact(window)
        return complete_block(block), damaged

    def select(self, channels: Sequence[str]) -> CompleteStack:
        """Return the stack with these channel keys, in this order."""
        return CompleteStack(self.stack.select(channels))


def complete_block(block: Block) -> Block:
    """Return a block in which a pixel is valid on every date or on none."""
    whole = block.valid.all(axis=0)
    if whole.all():
        return block
    valid = np.broadcast_to(whole, block.valid.shape).copy()
    return Block(np.where(valid[:, None], block.image, np.float32(np.nan)), valid, block.dates)
