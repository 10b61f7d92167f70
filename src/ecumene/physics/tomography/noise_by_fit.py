"""The noise level of a stack from what fitted scatterers leave, where no acquisition is to spare.

Motion models make the searched steering vectors fill all dimensions of a short stack, so that `noise.estimate_noise`
has none left. Then the residuals of the fit itself tell the noise: with the right number of scatterers
`2 RSS / sigma^2` is chi-square with as many degrees of freedom as are left. Number and noise depend on each other, so
they are found in turn, from a noise level that is too high.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography.grid import SearchGrid
from ecumene.physics.tomography.noise import NoiseEstimate
from ecumene.physics.tomography.sl1mmer import TomographyOptions, invert_stack

_PIXELS = 500
_ROUNDS = 6
_SETTLED = 0.02  # relative change of the level, below its own standard error for some hundred pixels
_LEAST_SAMPLES = 8  # degrees of freedom that a pixel must have left


def noise_by_fit(
    grid: SearchGrid, data: NDArray[np.complex128], options: TomographyOptions | None = None
) -> NoiseEstimate:
    """Estimate one noise level for all pixels from the residuals of their fits.

    The median over pixels is taken, so that pixels with more scatterers than allowed, or with another motion, do not
    count as long as they are the fewer. It starts from the power that the strongest atom leaves.

    Args:
        grid: The searched extent.
        data: `[P, N]`, finite; at most 500 pixels, evenly chosen, are used.
        options: How scatterers are searched.

    Returns:
        The estimate, the same for all P pixels; `dimensions` is the median of the degrees of freedom over 2.

    Raises:
        ConfigurationError: If the fits leave fewer than eight degrees of freedom, or no noise.
    """
    from scipy.stats import chi2

    chosen = options or TomographyOptions()
    used = data[:: max(1, len(data) // _PIXELS)][:_PIXELS]
    acquisitions, unknowns = grid.geometry.count, 2 + len(grid.axes)
    if 2 * acquisitions - chosen.max_scatterers * unknowns < _LEAST_SAMPLES:
        raise ConfigurationError(
            f"{acquisitions} acquisitions leave no room to estimate noise beside {chosen.max_scatterers} scatterers of "
            f"{unknowns} unknowns; state the noise level, or allow fewer scatterers or motions."
        )
    level = _start(grid, used)
    freedom = np.full(len(used), 2.0 * acquisitions)
    for _ in range(_ROUNDS):
        if not level > 0:
            break
        found = invert_stack(grid, used, noise_variance=level, options=replace(chosen, pooled_noise=True))
        freedom = 2.0 * acquisitions - found.count * float(unknowns)
        before, level = level, float(np.median(2.0 * found.residual / chi2.median(freedom)))
        if abs(level - before) <= _SETTLED * before:
            break
    if not (np.isfinite(level) and level > 0):
        raise ConfigurationError("The scatterers explain the stack without any noise; state the noise level.")
    middle = float(np.median(freedom))
    # Standard error of a median of P values, sqrt(pi / 2) times that of their mean.
    error = level * float(np.sqrt(2.0 / middle * np.pi / 2.0 / len(used)))
    return NoiseEstimate(np.full(len(data), level), np.full(len(data), error), int(middle / 2))


def _start(grid: SearchGrid, data: NDArray[np.complex128]) -> float:
    """Median power a sample that the strongest atom leaves, an upper bound of the noise."""
    energy = np.sum(np.abs(data) ** 2, axis=1)
    best = np.zeros(len(data))
    for first in range(0, grid.size, 4096):
        part = grid.dictionary[:, first : first + 4096]
        best = np.maximum(best, np.max(np.abs(data @ part.conj()) ** 2, axis=1))
    return float(np.median(energy - best / grid.geometry.count)) / grid.geometry.count
