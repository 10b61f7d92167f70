"""From paths and declarations to one stack on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.contract import SceneSource
from ecumene.scenes.opening import describe_scenes
from ecumene.scenes.stack import SceneStack, align_scenes

Paths = str | Path | Sequence[str | Path]


class Declaration(TypedDict, total=False):
    """What the user says where the files do not; the keys of `scene.yaml` and of the command line."""

    sensor: str | None
    level: str | None
    scale: float | None
    offset: float | None
    nodata: float | None
    unit: str | None
    bands: Sequence[str] | None
    time: str | Sequence[str] | None
    crs: str | None


def as_paths(scenes: Paths) -> list[str]:
    """Return one or many paths as a list of strings."""
    return [str(scenes)] if isinstance(scenes, str | Path) else [str(path) for path in scenes]


def open_sources(scenes: Paths, **declaration: Unpack[Declaration]) -> tuple[SceneSource, ...]:
    """Describe every scene, leaving out declarations that are None."""
    paths = as_paths(scenes)
    if not paths:
        raise ConfigurationError("No scene was given; name at least one file or folder.")
    given = {key: value for key, value in declaration.items() if value is not None}
    return describe_scenes(paths, **given)  # type: ignore[arg-type]


def open_in_order(scenes: Paths, **declaration: Unpack[Declaration]) -> tuple[SceneSource, ...]:
    """Describe every scene in the order given, for verbs to which the order means something.

    Raises:
        ConfigurationError: If there is no scene, or not one time for all or one for each.
    """
    paths = as_paths(scenes)
    times = declaration.get("time")
    stated = [times] * len(paths) if times is None or isinstance(times, str) else list(times)
    stated = stated * len(paths) if len(stated) == 1 else stated
    if len(stated) != len(paths):
        raise ConfigurationError(f"There are {len(paths)} scenes and {len(stated)} times; give one for each.")
    found: list[SceneSource] = []
    for path, time in zip(paths, stated, strict=True):
        told: Declaration = {**declaration, "time": time}
        found += open_sources([path], **told)
    if not found:
        raise ConfigurationError("No scene was given; name at least one file or folder.")
    return tuple(found)


def open_stack(scenes: Paths, *, mask_clouds: bool = True, **declaration: Unpack[Declaration]) -> SceneStack:
    """Open scenes and put them on the grid of the first one.

    Args:
        scenes: One path an acquisition; see `ecumene.scenes.opening.describe_scene`.
        mask_clouds: Treat cloud, shadow and defects as nodata.
        **declaration: `sensor`, `level`, `scale`, ... where the files do not say it.

    Returns:
        The stack.
    """
    return align_scenes(open_sources(scenes, **declaration), mask_clouds=mask_clouds)
