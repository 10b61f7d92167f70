"""What tomography gives: scatterers of every pixel with error bars and flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.physics.tomography.geometry import StackGeometry

INVALID = 1
"""No usable data (not finite, or zero everywhere)."""
POOR_FIT = 2
"""The residual is larger than the stated noise explains (chi-square test): not a few points in noise."""
AT_BORDER = 4
"""A scatterer lies at the border of the search grid: its true parameters may be outside."""
NOT_CONVERGED = 8
"""The L1 solver did not reach its tolerance; candidates may be missing."""
UNRESOLVED = 16
"""Two scatterers are closer than their joint standard deviation."""

OUTLIER_FLAGS = POOR_FIT | AT_BORDER | NOT_CONVERGED | UNRESOLVED
"""Flags with which a scatterer must not be trusted."""


@dataclass(frozen=True)
class Scatterers:
    """Scatterers of P pixels, at most K a pixel, strongest first; NaN where there is none.

    Attributes:
        geometry: The stack.
        count: Scatterers found, `[P]`.
        parameters: Elevation (m), then motion (its units), `[P, K, D]`.
        standard_deviation: Of the parameters: the Cramer-Rao bound at the estimate, `[P, K, D]`.
        amplitude: Complex amplitudes, phase at zero baseline and mean motion, `[P, K, M]`.
        amplitude_standard_deviation: Of the root mean square amplitude over snapshots, `[P, K]`.
        phase_standard_deviation: Of the phases, radians, `[P, K, M]`.
        noise_variance: sigma^2 that the error bars rest on, `[P]`.
        residual: Sum of squared residuals, `[P]`.
        coherence: Correlation of model and data, 0 to 1, `[P]`.
        scores: Penalised -2 ln likelihood of the orders 0..K (inf: not tried), `[P, K + 1]`.
        flags: Bits of this module, `[P]`.
    """

    geometry: StackGeometry
    count: NDArray[np.int64]
    parameters: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    amplitude: NDArray[np.complex128]
    amplitude_standard_deviation: NDArray[np.float64]
    phase_standard_deviation: NDArray[np.float64]
    noise_variance: NDArray[np.float64]
    residual: NDArray[np.float64]
    coherence: NDArray[np.float64]
    scores: NDArray[np.float64]
    flags: NDArray[np.uint8]

    @property
    def elevation_m(self) -> NDArray[np.float64]:
        """Elevations, metres, `[P, K]`."""
        return self.parameters[..., 0]

    @property
    def height_m(self) -> NDArray[np.float64]:
        """Heights above the reference surface, elevation * sin(incidence), metres, `[P, K]`."""
        return self.elevation_m * self.geometry.elevation_to_height

    @property
    def height_standard_deviation_m(self) -> NDArray[np.float64]:
        """Standard deviations of the heights, metres, `[P, K]`."""
        return self.standard_deviation[..., 0] * self.geometry.elevation_to_height

    @property
    def power(self) -> NDArray[np.float64]:
        """Mean squared amplitude over snapshots, `[P, K]`."""
        return np.asarray(np.mean(np.abs(self.amplitude) ** 2, axis=-1))

    @property
    def signal_to_noise_db(self) -> NDArray[np.float64]:
        """Power of each scatterer over the noise of one sample, decibel, `[P, K]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(10.0 * np.log10(self.power / self.noise_variance[:, None]))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with usable data, `[P]`."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Pixels whose scatterers must not be trusted, `[P]`."""
        return np.asarray((self.flags & OUTLIER_FLAGS) != 0)

    def parameter(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return value and standard deviation of a named parameter, `[P, K]` each (KeyError if there is none)."""
        names = self.geometry.parameter_names
        if name not in names:
            raise KeyError(name)
        column = names.index(name)
        return self.parameters[..., column], self.standard_deviation[..., column]
