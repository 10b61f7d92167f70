"""Motion models of differential tomography: base functions of time, and the units of their parameters.

The displacement of a scatterer is `sum_m p_m tau_m(t)` away from the satellite (Lombardini, IEEE TGRS
43(1), 2005; Zhu & Bamler, "Let's Do the Time Warp", IEEE GRSL 8(4), 2011). `linear` has the velocity,
`seasonal` a sine and a cosine of one year (so the phase of the season is free), `thermal` is
proportional to the temperature. Base functions are centred: the amplitude's phase takes the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

MOTION_MODELS = ("linear", "seasonal", "thermal")
_MM = 1e-3


@dataclass(frozen=True)
class MotionModel:
    """One base function.

    Attributes:
        name: Name of its parameter.
        unit: Unit of its parameter.
        metres_per_unit: Displacement, metres, of one unit where the base function is 1.
        values: The centred base function at the acquisitions, `[N]`.
        default_range: Half of the default search range, in units of the parameter.
    """

    name: str
    unit: str
    metres_per_unit: float
    values: NDArray[np.float64]
    default_range: float


def motion_basis(
    names: Sequence[str], times_years: NDArray[np.float64] | None, temperatures_c: NDArray[np.float64] | None
) -> tuple[MotionModel, ...]:
    """Return the base functions of named motion models.

    Args:
        names: Of `linear`, `seasonal`, `thermal`; each at most once.
        times_years: Times in years, `[N]`.
        temperatures_c: Temperatures in degrees Celsius, `[N]`.

    Returns:
        One entry a parameter: velocity (mm/year), seasonal sine and cosine (mm), expansion (mm/K).

    Raises:
        ConfigurationError: If a model is unknown or named twice, or its times or temperatures are
            missing or all equal.
    """
    if len(set(names)) != len(names):
        raise ConfigurationError(f"A motion model is named twice in {', '.join(names)}; name each once.")
    models: list[MotionModel] = []
    for name in names:
        if name not in MOTION_MODELS:
            raise ConfigurationError(f"The motion model {name!r} is unknown; choose of: {', '.join(MOTION_MODELS)}.")
        if name == "thermal":
            values = _needed(temperatures_c, "thermal", "temperatures")
            models.append(MotionModel("expansion", "mm/K", _MM, values, 1.0))
            continue
        times = _needed(times_years, name, "acquisition times")
        if name == "linear":
            models.append(MotionModel("velocity", "mm/year", _MM, times, 30.0))
            continue
        for label, wave in (("sine", np.sin), ("cosine", np.cos)):
            base = wave(2.0 * np.pi * np.asarray(times_years))
            models.append(MotionModel(f"seasonal_{label}", "mm", _MM, base - base.mean(), 15.0))
    return tuple(models)


def _needed(values: NDArray[np.float64] | None, model: str, what: str) -> NDArray[np.float64]:
    if values is None:
        raise ConfigurationError(
            f"The {model} motion model needs the {what} of the stack; add them to the stack table."
        )
    if np.ptp(values) == 0:
        raise ConfigurationError(f"The {what} are all equal, so {model} motion cannot be seen; leave this model out.")
    return np.asarray(values - values.mean())
