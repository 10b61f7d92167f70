"""What a bundle that removes clouds states of itself: bands, radar, dates, clouds, and which date it restores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecumene.models.contract import ModelSpec
from ecumene.networks import network_class
from ecumene.scenes.contract import Channel
from ecumene.systems import System

STATEMENT = "restoration"
"""Key of `ModelSpec.training` under which a model says what it needs and gives."""
FIRST_DATE = "first-date"
PREDICTS = {
    "same-date": "the same date without clouds",
    FIRST_DATE: "the first given date; the others follow in any order",
    "clear-state": "the clear state of the ground around the given dates, not a given one of them",
}
"""Which date a model restores, by what `networks.restoration.RestorationNetwork.target_date` says."""


def target_date(system: System) -> str:
    """Return which date a system's network restores, a key of `PREDICTS` (imports torch)."""
    from ecumene.networks.restoration import RestorationNetwork

    assert system.network is not None  # systems of this task are networks
    found = network_class(system.network)
    assert issubclass(found, RestorationNetwork)
    return found.target_date


def state(targets: tuple[str, ...], channels: tuple[Channel, ...], dates: int, predicts: str) -> dict[str, Any]:
    """Return what a user of the bundle must know.

    Args:
        targets: Bands that are restored, the first channels.
        channels: Of the images.
        dates: That it sees.
        predicts: A key of `PREDICTS`.
    """
    return {
        "bands": list(targets),
        "unit": "1 (reflectance)",
        "radar": [channel.key for channel in channels[len(targets) :]],
        "dates": dates,
        "clouds": "masked" if predicts == FIRST_DATE else "as measured",
        "each_date": "all bands, and radar of a near day where there is radar; a date without data does not count",
        "target_date": predicts,
        "predicts": PREDICTS[predicts],
    }


def stated_of(spec: ModelSpec) -> Mapping[str, Any]:
    """Return what a model states; empty where it removes no clouds."""
    found = spec.training.get(STATEMENT)
    return found if isinstance(found, dict) else {}


def fills_given_date(stated: Mapping[str, Any]) -> bool:
    """Whether a model restores the first of the dates that it is given, whose clouds have no data."""
    return stated.get("target_date") == FIRST_DATE and stated.get("clouds") == "masked"
