"""The outlier detectors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.trust.detector import OutlierDetector
from ecumene.trust.gaussian import CombinedDetector, MahalanobisDetector
from ecumene.trust.head_scores import GradNormDetector, ReactDetector, VimDetector
from ecumene.trust.logit_scores import EnergyDetector, MaxSoftmaxDetector, OdinDetector
from ecumene.trust.neighbours import NeighbourDetector
from ecumene.trust.tardis import TardisDetector

__all__ = [
    "DETECTORS",
    "CombinedDetector",
    "EnergyDetector",
    "GradNormDetector",
    "MahalanobisDetector",
    "MaxSoftmaxDetector",
    "NeighbourDetector",
    "OdinDetector",
    "OutlierDetector",
    "ReactDetector",
    "TardisDetector",
    "VimDetector",
    "build_detector",
]

DETECTORS: dict[str, type[OutlierDetector]] = {
    built.name: built
    for built in (
        CombinedDetector,
        MahalanobisDetector,
        NeighbourDetector,
        VimDetector,
        TardisDetector,
        EnergyDetector,
        MaxSoftmaxDetector,
        OdinDetector,
        GradNormDetector,
        ReactDetector,
    )
}
"""Detectors by the name in a bundle; the first is the default."""


def build_detector(config: Mapping[str, Any], arrays: Mapping[str, NDArray[np.floating]]) -> OutlierDetector:
    """Rebuild a detector from `to_config` and `to_arrays`.

    Raises:
        ModelError: If the name is unknown, or parts are missing or do not fit each other.
    """
    name = config.get("name")
    if not isinstance(name, str) or name not in DETECTORS:
        raise ModelError(f"The model has an outlier detector {name!r} that this version does not know; update ecumene.")
    return DETECTORS[name].from_parts(config, arrays)
