"""Where to label next for a model of a number: where its error bar is long, or nothing alike is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress
from ecumene.samples.labels import LabelRaster
from ecumene.trust.acquisition import Strategy
from ecumene.workflows.trust_pixels import Asker
from ecumene.workflows.trust_places import PLACE_PIXELS, STRANGE_WEIGHT, Cells, gather_columns

KINDS = 5
"""Quantile classes of the predicted number, over which choices are spread."""
_TAKEN = ("rank", "predicted", "deviation", "epistemic", "outlier_share", "strategy", "reason", "geometry", "fid")
LONG = 0.75
"""Rank among all places from which an error bar counts as long in a reason."""


def check_number_strategy(strategy: str) -> None:
    """Refuse a strategy that compares classes.

    Raises:
        ConfigurationError: If it does.
    """
    if strategy in ("margin", "entropy"):
        raise ConfigurationError(
            f"The strategy {strategy} compares classes, but this model gives a number; choose mixed, combined, "
            "epistemic, diversity, spread or random."
        )


@dataclass(frozen=True)
class NumberCells(Cells):
    """Cells that a model of a number describes; see `Cells`.

    Attributes:
        value: Mean predicted number `[N]`.
        deviation: Mean predicted standard deviation `[N]`.
    """

    value: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def kind(self) -> NDArray[np.int64]:
        """Quantile class of the predicted number."""
        if len(self.value) == 0:
            return np.empty(0, np.int64)
        edges = np.unique(np.quantile(self.value, np.linspace(0, 1, KINDS + 1)[1:-1]))
        return np.asarray(np.searchsorted(edges, self.value), np.int64)

    @property
    def bar_rank(self) -> NDArray[np.float64]:
        """Share of places whose bar (its epistemic part, where the model has one) is not longer, in (0, 1] `[N]`."""
        bar = self.deviation if self.epistemic is None else self.epistemic
        order = np.sort(bar)
        return np.asarray(np.searchsorted(order, bar, side="right") / max(1, len(bar)), np.float64)

    def doubt(self, strategy: Strategy) -> NDArray[np.float64]:
        """Return the error bar as a rank among all places, so that a few long ones do not decide alone.

        Raises:
            ConfigurationError: If the strategy compares classes, or the model gives no epistemic part.
        """
        check_number_strategy(strategy)
        if strategy == "epistemic":
            return self.known_epistemic()
        return np.asarray(self.bar_rank + STRANGE_WEIGHT * self.strange, np.float64)


def collect_number_cells(
    asker: Asker, labels: LabelRaster | None, progress: Progress, *, side: int = PLACE_PIXELS
) -> NumberCells:
    """Describe every cell with data that holds no number yet; arguments and refusals as `collect_cells`."""
    return NumberCells(**gather_columns(asker, labels, progress, side, _number_columns))


def _number_columns(layers: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"value": layers["value"], "deviation": layers["uncertainty"]}


def describe_number_places(
    cells: NumberCells, chosen: NDArray[np.int64], name: str, unit: str, strategy: str
) -> list[dict[str, Any]]:
    """Return the attributes of the chosen cells: why each, and what the model thinks of it.

    Args:
        cells: All cells.
        chosen: Numbers of the chosen ones.
        name: Of the number; its column is empty, for whoever measures it.
        unit: Of the number.
        strategy: That chose them.
    """
    ranks = cells.bar_rank
    shown = "" if unit == "1" else f" {unit}"
    column = f"{name}_measured" if name.lower() in _TAKEN else name
    rows = []
    for rank, number in enumerate(chosen, start=1):
        bar = f"{cells.value[number]:.3g} ± {cells.deviation[number]:.2g}{shown}"
        reasons = []
        if cells.strange[number] >= 0.5:
            reasons.append(f"unlike the training data in {cells.strange[number]:.0%} of the place")
        if ranks[number] >= LONG:
            what = "a longer error bar than" if cells.epistemic is None else "members that differ more than in"
            reasons.append(f"{what} {ranks[number]:.0%} of the places ({bar})")
        if not reasons:
            alike = strategy in ("mixed", "diversity")
            kind = "unlike the measured places" if alike else "spread over space and values"
            reasons.append(f"{kind}; the model says {bar}")
        rows.append(
            {
                "rank": rank,
                column: float("nan"),
                "predicted": round(float(cells.value[number]), 6),
                "deviation": round(float(cells.deviation[number]), 6),
                "epistemic": None if cells.epistemic is None else round(float(cells.epistemic[number]), 6),
                "outlier_share": round(float(cells.strange[number]), 4),
                "strategy": strategy,
                "reason": "; ".join(reasons),
            }
        )
    return rows
