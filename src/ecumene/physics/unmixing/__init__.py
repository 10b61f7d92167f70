"""Materials inside a pixel: endmembers, their number, and abundances with error bars.

found = vca(spectra, 4)                        # spectra [pixels, bands]
shares = fcls(spectra, found.spectra)          # .value, .standard_deviation, .residual_rms, .flags
"""

from ecumene.physics.unmixing.accuracy import UnmixingAccuracy, compare_with_reference, spectral_angle_deg
from ecumene.physics.unmixing.constrained import CONSTRAINTS, fcls, kkt_violation, nnls, solve_abundances, unmix
from ecumene.physics.unmixing.extraction import estimate_snr_db, n_findr, ppi, vca
from ecumene.physics.unmixing.hysime import SignalSubspace, estimate_noise, hysime
from ecumene.physics.unmixing.library import resample_library
from ecumene.physics.unmixing.residuals import estimate_residual_correlation, robust_limit
from ecumene.physics.unmixing.result import INVALID, NOT_CONVERGED, POOR_FIT, Abundances, Endmembers
from ecumene.physics.unmixing.sparse import SparseAbundances, sunsal
from ecumene.physics.unmixing.total_variation import sunsal_tv, total_variation

__all__ = [
    "CONSTRAINTS",
    "INVALID",
    "NOT_CONVERGED",
    "POOR_FIT",
    "Abundances",
    "Endmembers",
    "SignalSubspace",
    "SparseAbundances",
    "UnmixingAccuracy",
    "compare_with_reference",
    "estimate_noise",
    "estimate_residual_correlation",
    "estimate_snr_db",
    "fcls",
    "hysime",
    "kkt_violation",
    "n_findr",
    "nnls",
    "ppi",
    "resample_library",
    "robust_limit",
    "solve_abundances",
    "spectral_angle_deg",
    "sunsal",
    "sunsal_tv",
    "total_variation",
    "unmix",
    "vca",
]
