"""Sharpening: a coarse image of many bands made finer with a fine image of few, with error bars.

result = sharpen(low, high, ratio=2, method="joint-sparsity")   # low [B, h, w], high [M, 2h, 2w]
quality, _, _ = wald_protocol(low, high, 2, "mtf-glp")
"""

from ecumene.physics.sharpening.classical import (
    brovey,
    gram_schmidt,
    gram_schmidt_adaptive,
    interpolation,
    mtf_glp,
    principal_components,
)
from ecumene.physics.sharpening.cnmf import cnmf
from ecumene.physics.sharpening.errors import degrade_pair, fit_error_model
from ecumene.physics.sharpening.guides import FusionInput, prepare
from ecumene.physics.sharpening.joint_sparsity import JointCode, joint_matching_pursuit, joint_sparse_code
from ecumene.physics.sharpening.jsparsefi import joint_sparsity
from ecumene.physics.sharpening.quality import Quality, assess, ergas, q2n
from ecumene.physics.sharpening.registration import PairGeometry, estimate_geometry, shifted
from ecumene.physics.sharpening.result import INCONSISTENT, INVALID, NEAR_GAP, Sharpened
from ecumene.physics.sharpening.scales import ScalePair
from ecumene.physics.sharpening.sharpen import METHODS, sharpen, wald_protocol

__all__ = [
    "INCONSISTENT",
    "INVALID",
    "METHODS",
    "NEAR_GAP",
    "FusionInput",
    "JointCode",
    "PairGeometry",
    "Quality",
    "ScalePair",
    "Sharpened",
    "assess",
    "brovey",
    "cnmf",
    "degrade_pair",
    "ergas",
    "estimate_geometry",
    "fit_error_model",
    "gram_schmidt",
    "gram_schmidt_adaptive",
    "interpolation",
    "joint_matching_pursuit",
    "joint_sparse_code",
    "joint_sparsity",
    "mtf_glp",
    "prepare",
    "principal_components",
    "q2n",
    "sharpen",
    "shifted",
    "wald_protocol",
]
