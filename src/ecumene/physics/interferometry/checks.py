"""Checks of arrays that the functions of this room share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError, ContractError


def phase_stack(phase: ArrayLike, pairs: int) -> NDArray[np.float64]:
    """Return unwrapped phases `[M, ...]` as float64; NaN means no data.

    Raises:
        ContractError: If the number of interferograms differs, a phase is infinite, or one has no data at all.
    """
    stack = np.asarray(phase, np.float64)
    if stack.ndim < 1 or stack.shape[0] != pairs:
        given = stack.shape[0] if stack.ndim else 0
        raise ContractError(f"There are {given} interferograms for {pairs} pairs; give one interferogram a pair.")
    if np.isinf(stack).any():
        raise ContractError("The phase is infinite somewhere; mark pixels without data as NaN or declare their nodata.")
    rows = stack.reshape(pairs, -1)
    empty = np.flatnonzero(~np.isfinite(rows).any(axis=1))
    if empty.size:
        raise ContractError(f"Interferogram {int(empty[0]) + 1} has no finite phase at all; leave it out.")
    return stack


def coherence_stack(coherence: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return coherence as float64 of a given shape, broadcasting leading numbers.

    Raises:
        ContractError: If the shape does not fit, a value lies outside of 0..1, or it is zero everywhere.
    """
    given = np.asarray(coherence, np.float64)
    try:
        stack = np.broadcast_to(given, shape)
    except ValueError as error:
        raise ContractError(
            f"The coherence has the shape {given.shape} where the phase has {shape}; give both on one grid."
        ) from error
    known = stack[np.isfinite(stack)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise ContractError("The coherence must lie between 0 and 1; declare its scale if it is stored otherwise.")
    if not (known > 0).any():
        raise ContractError("The coherence is zero everywhere, so no phase can be trusted; check the coherence file.")
    return stack


def positive_looks(looks: float) -> float:
    """Return the number of looks.

    Raises:
        ConfigurationError: If it is below one.
    """
    if not (np.isfinite(looks) and looks >= 1):
        raise ConfigurationError(f"The number of looks must be at least 1, not {looks}.")
    return float(looks)


def image(values: Any, what: str) -> NDArray[Any]:
    """Return a two-dimensional array.

    Raises:
        ContractError: If it is not one.
    """
    array = np.asarray(values)
    if array.ndim != 2 or min(array.shape) < 1:
        raise ContractError(f"The {what} must be an image with rows and columns, not of the shape {array.shape}.")
    return array
