"""Sums over patches of connected equal pixels, strip by strip, so that no map has to fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

_EIGHT = np.ones((3, 3), bool)
_FOUR = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


@dataclass(frozen=True)
class PatchTable:
    """Patches of a map.

    Attributes:
        code: int64 `[P]`, code of each patch.
        sums: float64 `[P]` each: what was summed over the pixels of a patch, by name.
    """

    code: NDArray[np.int64]
    sums: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.code)


@dataclass
class PatchSums:
    """Numbers patches over strips of rows that follow each other without gap, and sums quantities over them.

    Attributes:
        names: Quantities to sum.
        neighbours: 8 (FRAGSTATS' default) or 4.
    """

    names: tuple[str, ...]
    neighbours: int = 8
    _codes: list[NDArray[np.int64]] = field(default_factory=list)
    _sums: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    _links: list[NDArray[np.int64]] = field(default_factory=list)
    _last: NDArray[np.int64] | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        if self.neighbours not in (4, 8):
            raise ConfigurationError("Patches are connected over 4 or 8 neighbours.")
        self._sums = {name: [] for name in self.names}

    def add(
        self, codes: NDArray[np.integer], known: NDArray[np.bool_], quantities: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Add the next strip.

        Args:
            codes: `[h, W]`, the same W for all strips.
            known: `[h, W]`; pixels outside belong to no patch.
            quantities: `[h, W]` each, by the names given at first.
        """
        from scipy import ndimage

        labels = np.zeros(codes.shape, np.int64)
        found: list[NDArray[np.int64]] = []
        start = 0
        for code in np.unique(codes[known]).tolist():
            own, number = ndimage.label((codes == code) & known, structure=_EIGHT if self.neighbours == 8 else _FOUR)
            labels += np.where(own > 0, own + start, 0)
            found.append(np.full(number, code, np.int64))
            start += number
        flat = labels.ravel()
        for name in self.names:
            sums = np.bincount(flat, weights=quantities[name].ravel(), minlength=start + 1)[1:]
            self._sums[name].append(sums.astype(np.float64))
        self._codes.extend(found)
        shifted = np.where(labels > 0, labels + self._count, 0)
        if self._last is not None and len(shifted):
            self._link(self._last, shifted[0])
        self._count += start
        self._last = shifted[-1] if len(shifted) else self._last

    def _link(self, above: NDArray[np.int64], below: NDArray[np.int64]) -> None:
        """Note which patches touch across the border of two strips; only those of one code become one."""
        width = len(above)
        for shift in (-1, 0, 1) if self.neighbours == 8 else (0,):
            one = above[max(0, -shift) : width - max(0, shift)]
            two = below[max(0, shift) : width - max(0, -shift)]
            both = (one > 0) & (two > 0)
            if both.any():
                self._links.append(np.unique(np.stack([one[both], two[both]], axis=1), axis=0) - 1)

    def finish(self) -> PatchTable:
        """Join the parts of patches that reach over strips."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        if self._count == 0:
            return PatchTable(np.zeros(0, np.int64), {name: np.zeros(0) for name in self.names})
        codes = np.concatenate(self._codes)
        links = np.concatenate(self._links) if self._links else np.zeros((0, 2), np.int64)
        links = links[codes[links[:, 0]] == codes[links[:, 1]]]
        graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(self._count, self._count))
        number, part = connected_components(graph, directed=False)
        joined = np.zeros(number, np.int64)
        joined[part] = codes
        sums = {
            name: np.bincount(part, weights=np.concatenate(parts), minlength=number).astype(np.float64)
            for name, parts in self._sums.items()
        }
        return PatchTable(joined, sums)
