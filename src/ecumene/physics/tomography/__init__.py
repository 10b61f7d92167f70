"""SAR tomography: where along elevation, and moving how, the scatterers of a pixel are, with error bars.

geometry = make_geometry(baselines_m, wavelength_m, slant_range_m, incidence_deg)
grid = make_grid(geometry, (-20.0, 150.0))
scatterers = invert_stack(grid, data)          # data: complex [pixels, acquisitions]
"""

from ecumene.physics.tomography.bounds import (
    cramer_rao,
    interference_factor,
    single_scatterer_bound,
    super_resolution_factor,
)
from ecumene.physics.tomography.fista import DenseProfiles, solve_fista
from ecumene.physics.tomography.forward import simulate_stack
from ecumene.physics.tomography.geometry import StackGeometry, make_geometry
from ecumene.physics.tomography.grid import SearchGrid, make_grid, steering
from ecumene.physics.tomography.l1 import SparseProfiles, solve_l1, universal_threshold
from ecumene.physics.tomography.noise import NoiseEstimate, estimate_noise
from ecumene.physics.tomography.noise_by_fit import noise_by_fit
from ecumene.physics.tomography.order import CRITERIA, order_penalties
from ecumene.physics.tomography.result import Scatterers
from ecumene.physics.tomography.sl1mmer import METHODS, TomographyOptions, invert_stack
from ecumene.physics.tomography.spectral import (
    beamforming,
    beamforming_power,
    capon,
    music,
    sample_covariance,
    svd_wiener,
)

__all__ = [
    "CRITERIA",
    "METHODS",
    "DenseProfiles",
    "NoiseEstimate",
    "Scatterers",
    "SearchGrid",
    "SparseProfiles",
    "StackGeometry",
    "TomographyOptions",
    "beamforming",
    "beamforming_power",
    "capon",
    "cramer_rao",
    "estimate_noise",
    "interference_factor",
    "invert_stack",
    "make_geometry",
    "make_grid",
    "music",
    "noise_by_fit",
    "order_penalties",
    "sample_covariance",
    "simulate_stack",
    "single_scatterer_bound",
    "solve_fista",
    "solve_l1",
    "steering",
    "super_resolution_factor",
    "svd_wiener",
    "universal_threshold",
]
