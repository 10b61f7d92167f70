"""Published values of SDG 11.3.1, shown beside one's own as context, never as a reference to be met."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRatio:
    """A published ratio of land consumption rate to population growth rate."""

    place: str
    years: tuple[int, int]
    ratio: float


BEIJING_TIANJIN_HEBEI_SOURCE = (
    "Zhou, Lu, Guo et al. (2021), Urban Sprawl and Changes in Land-Use Efficiency in the Beijing-Tianjin-Hebei Region, "
    "China from 2000 to 2020, Remote Sensing 13"
)
BEIJING_TIANJIN_HEBEI: tuple[PublishedRatio, ...] = (
    PublishedRatio("Beijing-Tianjin-Hebei", (2000, 2005), 1.142),
    PublishedRatio("Beijing-Tianjin-Hebei", (2005, 2010), 0.946),
    PublishedRatio("Beijing-Tianjin-Hebei", (2010, 2015), 2.232),
    PublishedRatio("Beijing-Tianjin-Hebei", (2015, 2020), 1.538),
)
"""Ratios of the whole region; published, not computed here: their inputs are not public."""
