"""Penalised likelihood for the number of scatterers.

The order K minimises `-2 ln likelihood + penalty(K)`. A scatterer has 2 M real amplitudes (M snapshots) and D
nonlinear parameters (elevation, motion); N M complex samples are 2 N M real ones.

- `aic`: Akaike 1974, 2 a parameter; chooses too many scatterers, kept for comparison.
- `bic`: Schwarz 1978 / Rissanen's MDL, ln(2 N M) a parameter.
- `map`: Djuric, IEEE TSP 44(7), 1996 (also Stoica & Selen, IEEE SPM 21(4), 2004): a nonlinear parameter of an
  exponential is known to the order N^(-3/2) and so counts three times.

The penalties assume that the parameters are free of one another; because elevation is searched over its
whole extent, `bic` takes noise for a second scatterer more often than its name suggests, which is why `map`
is the default.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

CRITERIA = ("map", "bic", "aic")


def order_penalties(
    criterion: str, max_scatterers: int, acquisitions: int, dimensions: int, snapshots: int = 1
) -> NDArray[np.float64]:
    """Return the penalty of 0, 1, ..., `max_scatterers` scatterers.

    Args:
        criterion: `map`, `bic` or `aic`.
        max_scatterers: Largest order.
        acquisitions: N.
        dimensions: D, nonlinear parameters a scatterer.
        snapshots: M.

    Returns:
        `[max_scatterers + 1]`, in the scale of -2 ln likelihood.

    Raises:
        ConfigurationError: If the criterion is unknown, or there are fewer samples than unknowns.
    """
    if criterion not in CRITERIA:
        raise ConfigurationError(f"The order criterion {criterion!r} is unknown; choose of: {', '.join(CRITERIA)}.")
    unknowns = max_scatterers * (2 * snapshots + dimensions)
    samples = 2 * acquisitions * snapshots
    if max_scatterers < 1:
        raise ConfigurationError(f"The largest number of scatterers must be at least 1, not {max_scatterers}.")
    if unknowns >= samples:
        raise ConfigurationError(
            f"{acquisitions} acquisitions give {samples} numbers a pixel for {unknowns} unknowns of {max_scatterers} "
            "scatterers; allow fewer scatterers or motion models, or add acquisitions."
        )
    linear, nonlinear = {
        "aic": (2.0, 2.0),
        "bic": (np.log(samples), np.log(samples)),
        "map": (np.log(samples), 3.0 * np.log(samples)),
    }[criterion]
    return np.asarray(np.arange(max_scatterers + 1) * (2 * snapshots * linear + dimensions * nonlinear))
