"""A stack whose pixels are there on every date or on none: what compares dates needs both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecumene.scenes.altered import AlteredStack
from ecumene.scenes.contract import Block


@dataclass(frozen=True)
class CompleteStack(AlteredStack):
    """Another stack, in which a pixel that lacks data on one date is NaN on all."""

    def alter(self, block: Block) -> Block:
        """Return a block in which a pixel is valid on every date or on none."""
        return complete_block(block)


def complete_block(block: Block) -> Block:
    """Return a block in which a pixel is valid on every date or on none."""
    whole = block.valid.all(axis=0)
    if whole.all():
        return block
    valid = np.broadcast_to(whole, block.valid.shape).copy()
    return Block(np.where(valid[:, None], block.image, np.float32(np.nan)), valid, block.dates)
