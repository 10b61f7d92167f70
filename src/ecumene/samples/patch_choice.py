"""Which patches of a labelled area show one class, and which class that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.legends import Legend
from ecumene.samples.labels import LabelRaster

USUAL_SHARE = 0.9
"""Share of a patch's pixels that its class must cover."""


@dataclass(frozen=True)
class ChosenPatch:
    """A square of the grid with one class.

    Attributes:
        row: First row in the scene's grid.
        col: First column.
        index: Class index.
        share: Share of its pixels that the class covers.
    """

    row: int
    col: int
    index: int
    share: float


def translate(labels: LabelRaster, names: Mapping[str, str], legend: Legend) -> LabelRaster:
    """Return labels in another legend.

    Args:
        labels: In any legend.
        names: Target class by class name of the labels; an empty target leaves the class unlabelled.
        legend: The target.

    Raises:
        LabelError: If a class of the labels is not in `names`, or a target not in the legend.
    """
    strange = sorted({target for target in names.values() if target and target not in legend.names})
    if strange:
        raise LabelError(
            f"The crosswalk leads to {strange[0]!r}, which is no class of {legend.name}; it has: "
            f"{', '.join(legend.names)}."
        )
    counted = labels.pixels_per_class
    without = [name for name, count in zip(labels.legend.names, counted, strict=True) if count and name not in names]
    if without:
        raise LabelError(
            f"The labels hold {', '.join(map(repr, without[:6]))}, for which there is no class of {legend.name}; give "
            "a crosswalk that names a class, or null, for each."
        )
    targets = [names.get(name, "") for name in labels.legend.names]
    table = np.array([legend.index_of(target) if target else -1 for target in targets] + [-1], np.int16)
    classes = table[labels.classes]  # -1 takes the last entry
    if not (classes >= 0).any():
        raise LabelError("The crosswalk leaves no labelled pixel; give targets to classes that are in the scene.")
    return LabelRaster(
        labels.window, classes, labels.feature_id, legend, labels.geobox, (0,) * len(legend), source=labels.source
    )


def choose_patches(
    labels: LabelRaster, size: int, step: int, shares: Mapping[str, float] | None = None
) -> list[ChosenPatch]:
    """Return the squares of a regular grid that show one class.

    A class qualifies where it covers at least its share of all pixels of the square, labelled or not. Of several that
    do, the one that exceeds its share by the largest factor is taken, so that a narrow class with a small share (a
    road, a river) is not lost to the land around it; of equal ones, the first of the legend.

    Args:
        labels: Classes on the scene's grid.
        size: Side in pixels.
        step: Distance of neighbouring squares; they overlap where it is smaller than `size`.
        shares: Least share by class name; 0.9 for the others.

    Raises:
        ConfigurationError: If a share, the size or the step is out of range, or a class unknown.
    """
    if size < 1 or step < 1:
        raise ConfigurationError(f"The size and the step of patches are positive numbers, not {size} and {step}.")
    for name, share in (shares or {}).items():
        labels.legend.index_of(name)
        if not 0 < share <= 1:
            raise ConfigurationError(f"The least share of {name} is between 0 and 1, not {share}.")
    least = np.array([(shares or {}).get(name, USUAL_SHARE) for name in labels.legend.names])
    held = labels.window
    rows = _starts(held.row, held.height, size, step)
    cols = _starts(held.col, held.width, size, step)
    if not rows or not cols:
        return []
    shown = np.stack(
        [_covered(labels.classes == index, rows, cols, size, held.row, held.col) for index in range(len(least))]
    )
    factor = np.where(shown >= least[:, None, None] - 1e-9, shown / least[:, None, None], 0.0)
    best = factor.argmax(axis=0)
    chosen = []
    for i, j in np.argwhere(factor.max(axis=0) > 0):
        index = int(best[i, j])
        chosen.append(ChosenPatch(rows[i], cols[j], index, float(shown[index, i, j])))
    return chosen


def _starts(first: int, length: int, size: int, step: int) -> list[int]:
    """Return starts on multiples of `step` whose squares lie wholly in the window."""
    return list(range(-(-first // step) * step, first + length - size + 1, step))


def _covered(
    there: NDArray[np.bool_], rows: Sequence[int], cols: Sequence[int], size: int, row: int, col: int
) -> NDArray[np.float64]:
    """Return the covered share of each square from sums over rectangles (Crow 1984)."""
    total = np.zeros((there.shape[0] + 1, there.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(there, axis=0, dtype=np.int64), axis=1, out=total[1:, 1:])
    top, left = np.asarray(rows)[:, None] - row, np.asarray(cols)[None, :] - col
    inside = total[top + size, left + size] - total[top, left + size] - total[top + size, left] + total[top, left]
    covered: NDArray[np.float64] = inside / float(size * size)
    return covered
