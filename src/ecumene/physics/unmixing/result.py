"""What unmixing gives: abundances of every pixel with error bars and flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INVALID = 1
"""The spectrum is not finite."""
POOR_FIT = 2
"""The residual is larger than the noise, or than the stated limit: another material, or a non-linear mixture."""
NOT_CONVERGED = 4
"""The optimality conditions were not met; the abundances are feasible but not the best."""


@dataclass(frozen=True)
class Abundances:
    """Abundances of P pixels and p endmembers.

    Attributes:
        value: Shares, `[P, p]`, NaN where the spectrum is not finite.
        standard_deviation: Of the shares, `[P, p]`. For a share above zero that of the equality-constrained least
            squares on the support, with what absent endmembers could take; for a share at zero the root mean square
            of what the data leave above zero.
        residual_rms: Root mean square of y - E a over the bands, `[P]`, unit of the spectra; of the whitened
            spectra (unit noise) where noise was given.
        flags: Bits of this module, `[P]`.
    """

    value: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    residual_rms: NDArray[np.float64]
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with a usable spectrum, `[P]`."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Pixels whose abundances must not be trusted, `[P]`."""
        return np.asarray((self.flags & (POOR_FIT | NOT_CONVERGED)) != 0)


@dataclass(frozen=True)
class Endmembers:
    """Spectra of pure materials found in an image.

    Attributes:
        spectra: `[B, p]`, columns in the order in which they were found.
        index: Pixel of each endmember, `[p]`.
        score: What the method ranks by, `[p]`: projection length (VCA), volume ratio at the last exchange
            (N-FINDR), times on an end of a skewer (PPI).
    """

    spectra: NDArray[np.float64]
    index: NDArray[np.int64]
    score: NDArray[np.float64]
