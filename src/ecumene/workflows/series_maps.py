"""Which scenes make a map of a series: all of one day, or all of a calendar year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecumene.models.contract import ModelSpec
from ecumene.models.row_features import RowFeatures
from ecumene.scenes.contract import SceneSource


def maps_years(spec: ModelSpec) -> bool:
    """Return whether a model makes one map of all scenes of a calendar year."""
    return spec.kind != "network" and RowFeatures.of(spec).yearly_median


def scenes_of_maps(
    paths: Sequence[str], sources: Sequence[SceneSource], *, yearly: bool
) -> dict[np.datetime64, list[tuple[str, SceneSource]]]:
    """Return the scenes of each map by its day: all scenes of that day, or all of a year by the first of July.

    Args:
        paths: Of the scenes, in the order of time.
        sources: Their descriptions, each with its time.
        yearly: See `maps_years`.
    """
    groups: dict[np.datetime64, list[tuple[str, SceneSource]]] = {}
    for path, source in zip(paths, sources, strict=True):
        assert source.time is not None  # `series_input.check_dates` has refused scenes without a date
        day = np.datetime64(f"{str(source.time)[:4]}-07-01") if yearly else source.time.astype("datetime64[D]")
        groups.setdefault(day, []).append((path, source))
    return groups
