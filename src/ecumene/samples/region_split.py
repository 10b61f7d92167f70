"""Whole regions to parts: some only test, and blocks of the others learn, stop the training, or calibrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.assignment import best_assignments
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.crops import Region
from ecumene.samples.datasets.pairs import LabelledPair

BLOCKS = (128, 64, 32)
"""Rows and columns of a block: the largest that gives each part `WANTED` blocks or more, else the smallest."""
WANTED = 8

_PARTS = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION)


def split_regions(
    pairs: Sequence[LabelledPair],
    test: Sequence[str],
    *,
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15),
    block: int | None = None,
    seed: int = 0,
) -> Mapping[Part, tuple[Region, ...]]:
    """Divide labelled places.

    Places of `test` are the test part as a whole. The others are cut into square blocks, each of which belongs to one
    part, so that the classes are spread over the parts (`samples.assignment`). The image of a block's surroundings
    stays visible to a window; its labels do not.

    Args:
        pairs: The places.
        test: Names of those that only test.
        shares: Of training, validation and calibration.
        block: Rows and columns of a block; None: see `BLOCKS`.
        seed: The same seed gives the same parts.

    Returns:
        Part to regions (images are shared, masks are not). Groups are numbered through all places.

    Raises:
        ConfigurationError: If a name is unknown.
        LabelError: If no place is left to learn from, or there are fewer blocks than parts.
    """
    names = {pair.name for pair in pairs}
    unknown = sorted(set(test) - names)
    if unknown:
        raise ConfigurationError(f"There is no place {unknown[0]!r} to test on; there are {', '.join(sorted(names))}.")
    if block is None:
        enough = WANTED * len(_PARTS)
        sides = [side for side in BLOCKS if sum(_count(p, side) for p in pairs if p.name not in test) >= enough]
        block = (*sides, BLOCKS[-1])[0]
    units, first = [], 0
    for pair in pairs:
        own = _blocks(pair.mask, block)
        units.append(np.where(own >= 0, own + first, -1).astype(np.int32))
        first += int(own.max()) + 1
    learned = [position for position, pair in enumerate(pairs) if pair.name not in set(test)]
    if not learned:
        raise LabelError("All places are kept for the test, so that none is left to learn from; name fewer.")
    part_of = _assign([(pairs[k].mask, units[k]) for k in learned], first, np.array(shares), seed)
    result: dict[Part, tuple[Region, ...]] = {}
    for number, part in enumerate(_PARTS):
        result[part] = tuple(_region(pairs[k], units[k], part_of[units[k]] == number) for k in learned)
    result[Part.TEST] = tuple(
        _region(pair, units[k], np.ones(pair.mask.shape, bool)) for k, pair in enumerate(pairs) if k not in learned
    )
    return result


def _count(pair: LabelledPair, block: int) -> int:
    """Return how many blocks of a side a place has."""
    rows, cols = (int(side) for side in pair.mask.shape)
    return max(1, rows // block) * max(1, cols // block)


def _blocks(mask: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """Return the number of each labelled pixel's block, -1 elsewhere; blocks at the far border may be larger."""
    down, across = (np.minimum(np.arange(n) // block, max(1, n // block) - 1) for n in mask.shape)
    numbers = down[:, None] * (int(across.max()) + 1) + across[None, :]
    return np.where(mask != IGNORE, numbers, -1)


def _assign(
    labelled: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]], count: int, shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """Return the part of each unit (-1 of none)."""
    classes = 1 + max(int(mask.max()) for mask, _ in labelled)
    counts = np.zeros((count, classes), np.int64)
    for mask, units in labelled:
        known = mask != IGNORE
        np.add.at(counts, (units[known], mask[known]), 1)
    used = np.flatnonzero(counts.sum(axis=1))
    if len(used) < len(shares):
        raise LabelError(
            f"The places to learn from make {len(used)} blocks, fewer than the {len(shares)} parts; give more places."
        )
    best = best_assignments(counts[used], shares / shares.sum(), np.arange(len(shares)), np.random.default_rng(seed))[0]
    part_of = np.full(count, -1, np.int64)
    part_of[used] = best
    return part_of


def _region(pair: LabelledPair, units: NDArray[np.int32], inside: NDArray[np.bool_]) -> Region:
    here = inside & (pair.mask != IGNORE)
    mask, group = np.where(here, pair.mask, IGNORE), np.where(here, units, np.int32(-1)).astype(np.int32)
    return Region(pair.name, pair.image, mask, pair.dates, group)
