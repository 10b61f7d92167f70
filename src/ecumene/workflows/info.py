"""What a scene is, in a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from ecumene.scenes.contract import SceneSource
from ecumene.scenes.grid import ground_sampling_m
from ecumene.scenes.statistics import SceneStatistics, scene_statistics
from ecumene.workflows.stacks import Declaration, Paths, open_sources


@dataclass(frozen=True)
class SceneInfo:
    """One scene's description and the statistics of a decimated read."""

    source: SceneSource
    statistics: SceneStatistics
    ground_sampling_m: float


def describe_contents(scenes: Paths, **declaration: Unpack[Declaration]) -> tuple[SceneInfo, ...]:
    """Describe scenes: sensor, level, bands, unit, date, grid, valid and cloud fraction.

    Args:
        scenes: Paths as for `open_scene`.
        **declaration: What the files do not say.

    Returns:
        One entry a scene, by time.
    """
    return tuple(
        SceneInfo(source, scene_statistics(source), ground_sampling_m(source.geobox))
        for source in open_sources(scenes, **declaration)
    )
