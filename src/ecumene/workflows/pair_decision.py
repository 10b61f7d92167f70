"""What a system of change looks for is settled by its training labels: which of two classes is the change."""

from __future__ import annotations

from typing import Any

from ecumene.objectives.contract import Objective
from ecumene.systems import System


def settle_change(system: System, objective: Objective, train: Any) -> Objective:
    """Return the objective that knows which class is the change: the rarer one of the training labels.

    That class is then put out where its probability is above a threshold, which `calibrate.fit_trust` chooses: of a
    rare class the larger probability would often call nothing.

    Args:
        system: Systems that read no pairs look for none; their objective is returned as it is.
        objective: Any; without two classes it is returned as it is.
        train: Training samples, which count their classes; of equally many the second one is the change.
    """
    legend = objective.legend
    if system.reads != "pair" or legend is None or len(legend) != 2:
        return objective
    counts = train.class_counts(2)
    return objective.looking_for(legend.names[0 if int(counts[0]) < int(counts[1]) else 1])
