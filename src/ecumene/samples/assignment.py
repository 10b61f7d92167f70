"""Assigning spatial units (blocks, polygons) to parts so that every class is in every part.

Iterative stratification after Sechidis, Tsoumakas and Vlahavas (2011), "On the Stratification of
Multi-Label Data", ECML PKDD, with a first round that gives each part one unit of each class, because
with the few units of hand-drawn labels proportions alone leave small parts empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign_units(
    counts: NDArray[np.integer],
    fractions: NDArray[np.floating],
    order: NDArray[np.integer],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Assign each unit to one part.

    Args:
        counts: `[units, classes]` labelled pixels.
        fractions: `[parts]` wanted share of pixels, summing to 1; parts of share 0 get nothing.
        order: Parts in the order in which they get a class that has too few units for all.
        rng: Varies which of several suitable units is taken.

    Returns:
        int64 `[units]`: number of the part.
    """
    n_units = len(counts)
    amounts = counts.astype(np.float64)
    assigned = np.full(n_units, -1, np.int64)
    desire: NDArray[np.float64] = np.outer(fractions, amounts.sum(axis=0))
    jitter = rng.normal(0, 0.5, n_units)
    vague = amounts * np.exp(jitter)[:, None]
    wanted = [int(part) for part in order if fractions[part] > 0]

    def give(unit: int, part: int) -> None:
        assigned[unit] = part
        desire[part] -= amounts[unit]

    rarity = np.argsort((counts > 0).sum(axis=0), kind="stable")
    for index in rarity:
        for part in wanted:
            has = bool(((assigned == part) & (counts[:, index] > 0)).any())
            free = np.flatnonzero((assigned < 0) & (counts[:, index] > 0))
            if has or free.size == 0:
                continue
            # The unit whose size is nearest to what the part still lacks of this class.
            misfit = np.abs(np.log((amounts[free, index]) / max(desire[part, index], 1.0)))
            give(int(free[np.argmin(misfit + jitter[free])]), part)
    while (free := np.flatnonzero(assigned < 0)).size:
        remaining = (counts[free] > 0).sum(axis=0)
        index = int(np.argmin(np.where(remaining > 0, remaining, n_units + 1)))
        candidates = free[counts[free, index] > 0]
        if candidates.size == 0:
            candidates = free
        unit = int(candidates[np.argmax(vague[candidates, index])])
        lacking = np.array([desire[part, index] for part in wanted])
        total = np.array([desire[part].sum() for part in wanted])
        best = np.lexsort((rng.random(len(wanted)), -total, -lacking))[0]
        give(unit, wanted[int(best)])
    return assigned


def assignment_loss(
    counts: NDArray[np.integer], assigned: NDArray[np.integer], fractions: NDArray[np.floating]
) -> float:
    """Return how bad an assignment is: missing classes weigh most, then the deviation from the shares.

    The deviation counts in steps of 0.03, within which assignments are equally good, so that different
    seeds may give different splits.

    Args:
        counts: `[units, classes]`.
        assigned: `[units]`, the part of each, or -1.
        fractions: `[parts]`.

    Returns:
        1 for each (part, class) without pixels, plus the mean absolute deviation of class shares in steps.
    """
    table = np.stack([counts[assigned == part].sum(axis=0) for part in range(len(fractions))]).astype(np.float64)
    occurs = counts.sum(axis=0) > 0
    used = fractions > 0
    missing = int((table[used][:, occurs] == 0).sum())
    shares = table[:, occurs] / counts[:, occurs].sum(axis=0)
    return missing + 0.03 * float(np.floor(np.abs(shares - fractions[:, None]).mean() / 0.03))


def best_assignments(
    counts: NDArray[np.integer],
    fractions: NDArray[np.floating],
    order: NDArray[np.integer],
    rng: np.random.Generator,
    tries: int = 32,
) -> list[NDArray[np.int64]]:
    """Return the distinct assignments of several seeded tries, best first.

    Args:
        counts: `[units, classes]`.
        fractions: `[parts]`.
        order: See `assign_units`.
        rng: Source of the tries.
        tries: How many.
    """
    found: dict[bytes, tuple[float, NDArray[np.int64]]] = {}
    for _ in range(max(1, min(tries, 2_000_000 // max(1, counts.size * len(counts))) or 1)):
        assigned = assign_units(counts, fractions, order, rng)
        found.setdefault(assigned.tobytes(), (assignment_loss(counts, assigned, fractions), assigned))
    return [assigned for _, assigned in sorted(found.values(), key=lambda item: item[0])]
