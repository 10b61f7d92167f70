"""Patterns of neighbouring pixels: a smoothness prior on families, and objects of one pattern and date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ecumene.change.patterns import UNKNOWN, PatternModel, Patterns, find_patterns
from ecumene.core.errors import ConfigurationError

Single = NDArray[np.float32]
_OPTIONS: Any = {"cache": True, "nogil": True, "error_model": "numpy"}
_LEAST = 1e-12  # no family is less probable than this: neighbours can always overrule it in the end


@dataclass(frozen=True)
class ChangeObject:
    """Neighbouring pixels that changed alike.

    Attributes:
        number: Of the object in the labels, from 1.
        pattern: Family.
        pixels: Number of pixels.
        date: Day since 1970-01-01, mean of its pixels weighted by their precision.
        date_deviation: Standard deviation of the date, days: the weighted one of its pixels, since neighbours share
            speckle and their errors do not average out.
        duration: Mean days of a ramp or pulse, 0 of steps.
        amplitude: `[B]`, mean over its pixels.
        box: First row, first column, end of rows, end of columns.
    """

    number: int
    pattern: int
    pixels: int
    date: float
    date_deviation: float
    duration: float
    amplitude: tuple[float, ...]
    box: tuple[int, int, int, int]


def couple_families(probability: Any, *, coupling: float = 1.0, sweeps: int = 20) -> NDArray[np.uint8]:
    """Return the families of a Potts model: each pixel's own probabilities, and a price for unlike neighbours.

    The energy is the sum of -ln P(family) over pixels and of `coupling` over unlike pairs of neighbours (1 beside each
    other, 1 / sqrt(2) over a corner). It is lowered by iterated conditional modes (Besag 1986, JRSS B 48(3):259-302)
    from the most probable families, in four colours of pixels so that the result does not depend on an order, until
    nothing changes: a local minimum, not the global one of a graph cut.

    Args:
        probability: `[F, rows, cols]`; NaN: no data, which is no neighbour.
        coupling: Price of an unlike pair, in units of log probability; 0: no coupling.
        sweeps: At most.

    Returns:
        uint8 `[rows, cols]`, 255 without data.

    Raises:
        ConfigurationError: If shapes or options are wrong.
    """
    shares = np.asarray(probability, np.float64)
    if shares.ndim != 3 or not coupling >= 0.0 or sweeps < 1:
        raise ConfigurationError(
            "Coupling needs probabilities [families, rows, cols], a price of at least 0 and a sweep."
        )
    there = np.isfinite(shares).all(axis=0)
    costs = -np.log(np.maximum(np.where(there, shares, 1.0), _LEAST))
    labels = np.where(there, costs.argmin(axis=0), UNKNOWN).astype(np.uint8)
    for _ in range(sweeps):
        moved = 0
        for row in (0, 1):
            for col in (0, 1):
                moved += _sweep(costs, labels, coupling, row, col)
        if moved == 0:
            break
    return labels


@njit(**_OPTIONS)
def _sweep(costs: Any, labels: Any, coupling: float, first_row: int, first_col: int) -> int:
    """Give every pixel of one colour its best family for the neighbours it has; return how many changed."""
    families, rows, cols = costs.shape
    votes = np.empty(families)
    moved = 0
    for row in range(first_row, rows, 2):
        for col in range(first_col, cols, 2):
            if labels[row, col] >= families:
                continue
            votes[:] = 0.0
            for y in range(max(row - 1, 0), min(row + 2, rows)):
                for x in range(max(col - 1, 0), min(col + 2, cols)):
                    if (y != row or x != col) and labels[y, x] < families:
                        votes[labels[y, x]] += 1.0 if y == row or x == col else 0.7071067811865476
            best, least = labels[row, col], np.inf
            for k in range(families):
                energy = costs[k, row, col] - coupling * votes[k]
                if energy < least - 1e-12:
                    best, least = k, energy
            if best != labels[row, col]:
                labels[row, col] = best
                moved += 1
    return moved


def couple_patterns(
    found: Patterns,
    values: Any,
    valid: Any = None,
    *,
    model: PatternModel | None = None,
    coupling: float = 1.0,
    sweeps: int = 20,
    threads: int | None = None,
) -> Patterns:
    """Couple the families of neighbouring pixels and fit those that changed again.

    Args:
        found: Of `find_patterns`, with pixels `[rows, cols]`.
        values: The series that it came from, `[B, T, rows, cols]`.
        valid: Its mask.
        model: Its model.
        coupling: See `couple_families`.
        sweeps: See there; a label reaches at most four pixels a sweep.
        threads: None: all.

    Returns:
        The same with coupled families; probabilities stay those of the pixels alone.

    Raises:
        ConfigurationError: If shapes or options are wrong.
        SceneError: As `find_patterns`.
    """
    labels = couple_families(found.probability, coupling=coupling, sweeps=sweeps)
    moved = labels != found.pattern
    if not moved.any():
        return found
    series = np.asarray(values)
    if series.shape[2:] != found.pattern.shape:
        raise ConfigurationError("The series must have the pixels of the patterns; give the one that they came from.")
    mask = None if valid is None else np.asarray(valid, np.bool_)[..., moved]
    again = find_patterns(series[:, :, moved], found.days, mask, model=model, family=labels[moved], threads=threads)
    parts: dict[str, Any] = {}
    for name in ("pattern", "date", "date_deviation", "duration", "duration_deviation", "amplitude",
                 "amplitude_deviation", "level", "scale"):  # fmt: skip
        part = getattr(found, name).copy()
        part[..., moved] = getattr(again, name)
        parts[name] = part
    return replace(found, **parts)


def change_objects(
    found: Patterns, *, tolerance: float = 60.0, fewest: int = 4
) -> tuple[NDArray[np.int32], list[ChangeObject]]:
    """Join neighbouring pixels of one family whose dates differ by no more than a tolerance.

    Pixels are joined over all eight neighbours; a row of pixels may drift in its dates by more than the tolerance from
    one end to the other, as a building site does that moves on.

    Args:
        found: With pixels `[rows, cols]`.
        tolerance: Largest difference of the dates of two neighbours, days.
        fewest: Pixels of an object; smaller ones are left out.

    Returns:
        (numbers of the objects int32 `[rows, cols]`, 0 for none; the objects in the order of their first pixel).

    Raises:
        ConfigurationError: If the pixels are no image, or an option is out of range.
    """
    if found.pattern.ndim != 2 or not tolerance >= 0.0 or fewest < 1:
        raise ConfigurationError(
            "Objects need patterns [rows, cols], a tolerance of at least 0 and at least one pixel."
        )
    roots = _join(found.pattern, found.date, found.changed, float(tolerance)).reshape(found.pattern.shape)
    inside = roots >= 0
    kept, first, counts = np.unique(roots[inside], return_index=True, return_counts=True)
    kept = kept[np.argsort(first)][counts[np.argsort(first)] >= fewest]
    numbers = np.zeros(roots.size, np.int32)
    numbers[kept] = np.arange(1, kept.size + 1)
    labels = np.where(inside, numbers[np.maximum(roots, 0)], 0).astype(np.int32)
    order = np.argsort(labels, axis=None, kind="stable")
    ends = np.searchsorted(labels.ravel()[order], np.arange(1, kept.size + 2))
    parts = [order[ends[k] : ends[k + 1]] for k in range(kept.size)]
    return labels, [_described(found, part, number) for number, part in enumerate(parts, 1)]


@njit(**_OPTIONS)
def _root(parents: Any, place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@njit(**_OPTIONS)
def _join(pattern: Any, date: Any, changed: Any, tolerance: float) -> Any:
    """Return the smallest pixel of each pixel's object, -1 outside of objects."""
    rows, cols = pattern.shape
    parents = np.arange(rows * cols)
    for row in range(rows):
        for col in range(cols):
            if not changed[row, col]:
                continue
            for y, x in ((row, col - 1), (row - 1, col - 1), (row - 1, col), (row - 1, col + 1)):
                if y < 0 or x < 0 or x >= cols or not changed[y, x] or pattern[y, x] != pattern[row, col]:
                    continue
                if abs(date[y, x] - date[row, col]) > tolerance:
                    continue
                one, two = _root(parents, row * cols + col), _root(parents, y * cols + x)
                parents[max(one, two)] = min(one, two)
    roots = np.full(rows * cols, -1, np.int64)
    for place in range(rows * cols):
        if changed[place // cols, place % cols]:
            roots[place] = _root(parents, place)
    return roots


def _described(found: Patterns, pixels: NDArray[np.intp], number: int) -> ChangeObject:
    rows, cols = np.divmod(pixels, found.pattern.shape[1])
    place = rows, cols
    precision = 1.0 / np.maximum(found.date_deviation[place].astype(np.float64), 0.5) ** 2
    precision /= precision.sum()
    dates = found.date[place].astype(np.float64)
    date = float(precision @ dates)
    spread = float(precision @ (found.date_deviation[place].astype(np.float64) ** 2 + (dates - date) ** 2))
    return ChangeObject(
        number,
        int(found.pattern[place][0]),
        int(rows.size),
        date,
        spread**0.5,
        float(found.duration[place].mean()),
        tuple(float(band[place].mean()) for band in found.amplitude),
        (int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1),
    )
