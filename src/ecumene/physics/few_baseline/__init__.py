"""Heights from 3 to 5 bistatic interferograms: non-local filtering, one robust height a pixel, one a building.

Bistatic pairs (TanDEM-X) see the scene at one instant, so there is no temporal decorrelation; with so few
baselines a pixel can have one height only, and noise must be beaten by averaging alike pixels.
"""

from ecumene.physics.few_baseline.buildings import BuildingHeights, building_heights
from ecumene.physics.few_baseline.heights import PixelHeights, estimate_heights
from ecumene.physics.few_baseline.nonlocal_filter import FilteredInterferograms, filter_interferograms

__all__ = [
    "BuildingHeights",
    "FilteredInterferograms",
    "PixelHeights",
    "building_heights",
    "estimate_heights",
    "filter_interferograms",
]
