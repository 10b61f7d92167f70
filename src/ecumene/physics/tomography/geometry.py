"""The geometry of a stack of radar acquisitions, and what it means for elevation and motion.

Elevation `s` is the third coordinate of the radar, perpendicular to azimuth and to the line of sight;
height is `s * sin(incidence)`. Acquisition `n` with perpendicular baseline `b_n` samples the Fourier
transform of the reflectivity profile along `s` (Zhu & Bamler, IEEE TGRS 48(12), 2010, eq. 1-2):

    g_n = sum_k gamma_k exp(-j 2 pi xi_n s_k) + noise,      xi_n = -passes * b_n / (wavelength * slant_range)

`passes` is 2 where every acquisition transmits for itself (repeat pass), 1 where all share a transmitter
(bistatic TanDEM-X). A displacement `d` away from the satellite adds `exp(-j 2 pi * passes * d / wavelength)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.motion import MotionModel, motion_basis

_REL_EQUAL = 1e-9  # baselines closer than this share of the largest are one baseline


@dataclass(frozen=True)
class StackGeometry:
    """Baselines, times and radar constants of a coregistered stack.

    Attributes:
        baselines_m: Perpendicular baselines, metres, `[N]`; any common reference.
        wavelength_m: Radar wavelength, metres.
        slant_range_m: Distance from sensor to scene, metres.
        incidence_deg: Incidence angle, degrees, 0 < incidence < 90.
        times_years: Acquisition times, years relative to any epoch, `[N]`; needed for motion.
        temperatures_c: Air temperatures, degrees Celsius, `[N]`; needed for thermal motion.
        passes: 2 for repeat pass, 1 for a common transmitter (bistatic).
        sign: +1 for the phase convention of this module; -1 where a processor delivers the conjugate.
        motion: Names of motion models: `linear`, `seasonal`, `thermal`.
    """

    baselines_m: NDArray[np.float64]
    wavelength_m: float
    slant_range_m: float
    incidence_deg: float
    times_years: NDArray[np.float64] | None = None
    temperatures_c: NDArray[np.float64] | None = None
    passes: int = 2
    sign: int = 1
    motion: tuple[str, ...] = ()
    models: tuple[MotionModel, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Check the geometry and put arrays into float64."""
        set_ = object.__setattr__
        set_(self, "baselines_m", _vector(self.baselines_m, "baseline"))
        for name, what in (("times_years", "time"), ("temperatures_c", "temperature")):
            given = getattr(self, name)
            if given is not None:
                set_(self, name, _vector(given, what, self.count))
        set_(self, "motion", tuple(self.motion))
        self._check_constants()
        if self.count < 2 or self.baseline_span_m <= _REL_EQUAL * max(1.0, float(np.abs(self.baselines_m).max())):
            raise ConfigurationError(
                "All baselines are equal, so elevation cannot be seen; give different perpendicular baselines."
            )
        set_(self, "models", motion_basis(self.motion, self.times_years, self.temperatures_c))
        rates = self.phase_rates
        if np.linalg.matrix_rank(rates - rates.mean(axis=0)) < rates.shape[1]:
            raise ConfigurationError(
                "Baselines and motion are linearly dependent in this stack, so they cannot be told apart; "
                "leave out a motion model or add acquisitions."
            )

    def _check_constants(self) -> None:
        if not (np.isfinite(self.wavelength_m) and self.wavelength_m > 0):
            raise ConfigurationError(f"The wavelength must be a positive number of metres, not {self.wavelength_m}.")
        if not (np.isfinite(self.slant_range_m) and self.slant_range_m > 0):
            raise ConfigurationError(f"The slant range must be a positive number of metres, not {self.slant_range_m}.")
        if not 0 < self.incidence_deg < 90:
            raise ConfigurationError(
                f"The incidence angle must lie between 0 and 90 degrees, not {self.incidence_deg}."
            )
        if self.passes not in (1, 2):
            raise ConfigurationError(f"passes must be 2 (repeat pass) or 1 (bistatic), not {self.passes}.")
        if self.sign not in (-1, 1):
            raise ConfigurationError(f"The phase sign must be 1 or -1, not {self.sign}.")

    @property
    def count(self) -> int:
        """Number of acquisitions N."""
        return int(self.baselines_m.size)

    @property
    def baseline_span_m(self) -> float:
        """Largest minus smallest baseline, metres."""
        return float(np.ptp(self.baselines_m))

    @property
    def rayleigh_m(self) -> float:
        """Rayleigh resolution in elevation, metres: wavelength * range / (passes * baseline span)."""
        return self.wavelength_m * self.slant_range_m / (self.passes * self.baseline_span_m)

    @property
    def ambiguity_m(self) -> float:
        """Elevation after which the phase of the mean baseline spacing repeats, metres."""
        return self.rayleigh_m * (self.count - 1)

    @property
    def elevation_to_height(self) -> float:
        """Factor from elevation to height, sin(incidence)."""
        return float(np.sin(np.radians(self.incidence_deg)))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters of a scatterer: `elevation`, then those of the motion models."""
        return ("elevation", *(model.name for model in self.models))

    @property
    def parameter_units(self) -> tuple[str, ...]:
        """Units of the parameters."""
        return ("m", *(model.unit for model in self.models))

    @property
    def phase_rates(self) -> NDArray[np.float64]:
        """Phase of acquisition n per unit of parameter d, radians, `[N, D]`; steering is exp(j rates @ theta)."""
        cycles = self.passes / self.wavelength_m
        columns = [cycles * self.baselines_m / self.slant_range_m]
        columns += [-cycles * model.metres_per_unit * model.values for model in self.models]
        return np.ascontiguousarray(self.sign * 2.0 * np.pi * np.stack(columns, axis=1))

    def resolution(self) -> NDArray[np.float64]:
        """Rayleigh unit of every parameter, `[D]`: the change that turns the stack's phase span by one cycle."""
        span = np.ptp(self.phase_rates, axis=0)
        return np.asarray(2.0 * np.pi / span)


def make_geometry(
    baselines_m: ArrayLike,
    wavelength_m: float,
    slant_range_m: float,
    incidence_deg: float,
    *,
    times_years: ArrayLike | None = None,
    temperatures_c: ArrayLike | None = None,
    passes: int = 2,
    sign: int = 1,
    motion: Sequence[str] = (),
) -> StackGeometry:
    """Return a `StackGeometry` from anything that NumPy takes; see there for arguments and errors."""
    return StackGeometry(
        baselines_m=np.asarray(baselines_m, np.float64),
        wavelength_m=float(wavelength_m),
        slant_range_m=float(slant_range_m),
        incidence_deg=float(incidence_deg),
        times_years=None if times_years is None else np.asarray(times_years, np.float64),
        temperatures_c=None if temperatures_c is None else np.asarray(temperatures_c, np.float64),
        passes=passes,
        sign=sign,
        motion=tuple(motion),
    )


def _vector(values: NDArray[np.float64], what: str, count: int | None = None) -> NDArray[np.float64]:
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ConfigurationError(f"Give one {what} for each acquisition, as a list of numbers.")
    if count is not None and vector.size != count:
        raise ConfigurationError(f"There are {vector.size} {what} values for {count} acquisitions; give one for each.")
    if not np.isfinite(vector).all():
        raise ConfigurationError(f"The {what} of acquisition {int(np.argmin(np.isfinite(vector))) + 1} is not finite.")
    return vector
