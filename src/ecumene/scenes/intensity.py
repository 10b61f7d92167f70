"""Radar backscatter as linear power or as decibels, whatever it is stored as."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AMPLITUDE, DECIBEL = "amplitude", "dB"


def as_power(values: NDArray[np.floating], unit: str) -> NDArray[np.floating]:
    """Return backscatter as linear power.

    Args:
        values: In the unit; NaN stays.
        unit: `dB`, `amplitude`, or any other for linear power.
    """
    if unit == DECIBEL:
        return np.asarray(np.power(values.dtype.type(10.0), values / values.dtype.type(10.0)))
    return np.asarray(np.square(values)) if unit == AMPLITUDE else values


def as_decibels(values: NDArray[np.floating], unit: str) -> NDArray[np.floating]:
    """Return backscatter in decibels, NaN where the power is not positive.

    Args:
        values: In the unit; NaN stays.
        unit: As for `as_power`.
    """
    if unit == DECIBEL:
        return values
    factor = values.dtype.type(20.0 if unit == AMPLITUDE else 10.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(values > 0, factor * np.log10(values), values.dtype.type(np.nan)))
