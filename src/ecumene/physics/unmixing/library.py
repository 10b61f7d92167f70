"""Spectral libraries brought to the bands of a sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError

_REACH = 2.0  # of a band's Gaussian response, in standard deviations; the library must cover it


def resample_library(wavelengths_um: Any, spectra: Any, centers_um: Any, widths_um: Any) -> NDArray[np.float64]:
    """Resample spectra to bands with Gaussian responses of given centre and full width at half maximum.

    The library is taken as piecewise linear between its samples and integrated by the trapezoidal rule on its own
    samples joined with nine points across each band, so that bands narrower than the sampling work as well.

    Args:
        wavelengths_um: Of the library, micrometres, ascending after sorting, `[L]`.
        spectra: `[L, p]`, any unit, finite.
        centers_um: Of the bands, `[B]`.
        widths_um: Full widths at half maximum, `[B]`.

    Returns:
        `[B, p]`, same unit.

    Raises:
        ContractError: If wavelengths repeat or are not positive, or a band reaches beyond the library.
    """
    waves, values = np.asarray(wavelengths_um, dtype=np.float64), np.asarray(spectra, dtype=np.float64)
    centers, widths = np.asarray(centers_um, dtype=np.float64), np.asarray(widths_um, dtype=np.float64)
    if waves.ndim != 1 or values.ndim != 2 or len(waves) != len(values) or len(waves) < 2:
        raise ContractError("A spectral library needs two or more wavelengths and one row of values for each.")
    order = np.argsort(waves)
    waves, values = waves[order], values[order]
    if not np.isfinite(waves).all() or waves[0] <= 0 or np.any(np.diff(waves) <= 0):
        raise ContractError("The wavelengths of the library must be positive and different from each other.")
    deviation = widths / (2.0 * np.sqrt(2.0 * np.log(2.0)))
    outside = (centers - _REACH * deviation < waves[0] - 1e-9) | (centers + _REACH * deviation > waves[-1] + 1e-9)
    if outside.any():
        band = int(np.argmax(outside))
        raise ContractError(
            f"The band at {centers[band]:.4g} um is not covered by the spectral library, which reaches from "
            f"{waves[0]:.4g} to {waves[-1]:.4g} um; leave out that band or use another library."
        )
    result = np.empty((len(centers), values.shape[1]))
    for band, (center, sigma) in enumerate(zip(centers, deviation, strict=True)):
        low, high = max(center - 4 * sigma, waves[0]), min(center + 4 * sigma, waves[-1])
        inside = waves[(waves > low) & (waves < high)]
        nodes = np.union1d(inside, np.linspace(low, high, 9))
        response = np.exp(-0.5 * ((nodes - center) / sigma) ** 2)
        sampled = np.column_stack([np.interp(nodes, waves, column) for column in values.T])
        total = np.trapezoid(response, nodes)
        result[band] = np.trapezoid(response[:, None] * sampled, nodes, axis=0) / total
    return result
