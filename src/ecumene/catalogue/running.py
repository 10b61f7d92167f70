"""Working through the units one after the other in this process, and what all ways of running share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ecumene.catalogue.plan import Settings, Unit
from ecumene.catalogue.store import Store
from ecumene.catalogue.work import Outcome, SharedModel, map_unit
from ecumene.core.errors import SceneError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.contract import MapModel

BUSY_SECONDS = 2.0
"""Pause before a unit that another run has is asked for again."""

ATTEMPTS = 3
"""How often a unit is tried whose scenes cannot be read; a network may fail for a moment, a wrong model does not."""


@dataclass
class Summary:
    """What became of the units of a run.

    Attributes:
        outcomes: Last outcome of every unit.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def count(self, state: str) -> int:
        """Number of units in a state."""
        return sum(1 for outcome in self.outcomes.values() if outcome.state == state)

    @property
    def failures(self) -> list[Outcome]:
        """Units that could not be mapped."""
        return [outcome for outcome in self.outcomes.values() if outcome.state == "failed"]

    @property
    def damaged(self) -> list[Outcome]:
        """Units that were mapped but for pixels that cannot be decoded."""
        return [outcome for outcome in self.outcomes.values() if outcome.message and outcome.state != "failed"]


def should_retry(outcome: Outcome, attempt: int) -> bool:
    """Whether a failed unit is tried again: only where scenes could not be read."""
    return outcome.state == "failed" and outcome.exit_code == SceneError.exit_code and attempt < ATTEMPTS


def run_here(
    units: Sequence[Unit],
    settings: Settings,
    store: Store,
    model: MapModel,
    *,
    executors: int = 1,
    progress: Progress = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Summary:
    """Work through the units in this process.

    A unit that another run has is put off until the others are done; when only such units are left, this waits
    for them, so that the collection is whole at the end whichever run ends last.

    Args:
        units: What to map.
        settings: What they have in common.
        store: Where products go.
        model: The model.
        executors: That run side by side on a unit.
        progress: Called with (units done, units, what).
        sleep: Waits for seconds.

    Returns:
        What became of each.
    """
    shared = model if isinstance(model, SharedModel) else SharedModel(model)
    summary = Summary()
    queue = deque((unit, 1) for unit in units)
    put_off = 0
    progress(0, len(units), "tiles")
    while queue:
        unit, attempt = queue.popleft()
        outcome = map_unit(unit, settings, store, shared, executors=executors)
        if outcome.state == "busy":
            queue.append((unit, attempt))
            put_off += 1
            if put_off >= len(queue):
                sleep(BUSY_SECONDS)
                put_off = 0
            continue
        put_off = 0
        if should_retry(outcome, attempt):
            queue.append((unit, attempt + 1))
            continue
        summary.outcomes[unit.id] = outcome
        progress(len(summary.outcomes), len(units), "tiles")
    return summary
