"""Which scenes there are: from a STAC catalogue or a list of paths, restricted to an area and a period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.catalogue.area import Area, frame_in
from ecumene.catalogue.period import Period
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.contract import SceneSource
from ecumene.scenes.opening import describe_scenes
from ecumene.scenes.security import is_remote

_MAXIMUM_LIST_BYTES = 256 << 20


def scenes_of_catalogue(
    href: str,
    *,
    collection: str | None = None,
    area: Area | None = None,
    period: Period | None = None,
    sensor: str | None = None,
    level: str | None = None,
    bands: Sequence[str] | None = None,
    allowed_roots: Sequence[str | Path] | None = None,
) -> tuple[SceneSource, ...]:
    """Find the scenes of a STAC catalogue: a folder's `catalog.json`, a URL, or a search API.

    Args:
        href: Path or URL; a folder stands for the `catalog.json` or `collection.json` in it.
        collection: Only this collection.
        area: Only scenes that touch it.
        period: Only scenes of this time.
        sensor: What the Items do not say.
        level: What the Items do not say.
        bands: Only these bands.
        allowed_roots: Folders and URL prefixes that assets may lie in besides the catalogue's own.

    Returns:
        The scenes by time, then by name.

    Raises:
        SceneError: If nothing is found, or the catalogue or an asset cannot be read.
        ConfigurationError: If sensor, level, scale or offset are said nowhere.
        ContractError: If a band has no asset.
    """
    from ecumene.scenes.stac import scenes_from_stac

    found = scenes_from_stac(
        _catalogue_file(href),
        collection=collection,
        bbox=None if area is None or not area.clips else area.bounds,
        datetime=None if period is None else period.text,
        sensor=sensor,
        level=level,
        bands=bands,
        allowed_roots=allowed_roots,
    )
    return restricted(found, area, period)


def _catalogue_file(href: str) -> str:
    if is_remote(href):
        return href
    path = Path(href)
    if path.is_dir():
        for name in ("catalog.json", "collection.json"):
            if (path / name).is_file():
                return str(path / name)
        raise SceneError(f"{href} holds no catalog.json or collection.json; name the catalogue's file.")
    if not path.exists():
        raise SceneError(f"There is no catalogue {href}; check the path.")
    return href


def scenes_of_list(
    listed: str | Path | Sequence[str | Path],
    *,
    area: Area | None = None,
    period: Period | None = None,
    declaration: Mapping[str, Any] | None = None,
) -> tuple[SceneSource, ...]:
    """Describe the scenes of a list.

    Args:
        listed: A text file with one path a line (`#` begins a comment; relative paths are relative to the file),
            or the paths themselves.
        area: Only scenes that touch it.
        period: Only scenes of this time.
        declaration: What the files do not say (`describe_scene`'s options).

    Returns:
        The scenes by time, then by name.

    Raises:
        ConfigurationError: If the list cannot be read or is empty, or a scene without date meets a period.
        SceneError: If a scene cannot be opened, or none is left.
    """
    paths = read_list(listed) if isinstance(listed, str | Path) else [str(path) for path in listed]
    if not paths:
        raise ConfigurationError("The list of scenes is empty; write one path a line.")
    given = {key: value for key, value in (declaration or {}).items() if value is not None}
    return restricted(describe_scenes(paths, **given), area, period)


def read_list(path: str | Path) -> list[str]:
    """Read the paths in a text file.

    Raises:
        ConfigurationError: If it cannot be read as text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAXIMUM_LIST_BYTES:
            raise ConfigurationError(f"The list of scenes {path} is larger than 256 MiB; divide it.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The list of scenes {path} cannot be read; give a text file of paths.") from error
    entries = [line.split(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    return [entry if is_remote(entry) else str(path.parent / entry) for entry in entries if entry]


def restricted(sources: Sequence[SceneSource], area: Area | None, period: Period | None) -> tuple[SceneSource, ...]:
    """Return the scenes of an area and a period, by time, then by name.

    Raises:
        ConfigurationError: If a scene has no date although a period is asked for.
        SceneError: If none is left.
    """
    kept = list(sources)
    if period is not None:
        undated = [source.id for source in kept if source.time is None and source.quantity != "elevation"]
        if undated:
            raise ConfigurationError(
                f"The scene {undated[0]} has no date, so it cannot be chosen by period; declare its time."
            )
        kept = [source for source in kept if source.time is None or period.holds(source.time)]
        if not kept:
            raise SceneError(f"None of {len(sources)} scenes is from {period.text}; widen --period.")
    if area is not None and area.clips:
        there = len(kept)
        moved: dict[str, Any] = {}
        kept = [source for source in kept if _touches(source, area, moved)]
        if not kept:
            raise SceneError(f"The area lies outside of all {there} scenes; check its coordinates.")
    return tuple(sorted(kept, key=lambda source: (_moment(source), source.id)))


def _moment(source: SceneSource) -> str:
    return "9999" if source.time is None else str(source.time.astype("datetime64[s]"))


def _touches(source: SceneSource, area: Area, moved: dict[str, Any]) -> bool:
    """Whether a scene's frame meets the area, in the scene's own coordinate system, where no meridian cuts it.

    `moved` keeps the area in the coordinate systems met so far.
    """
    crs = _crs_text(source)
    if crs not in moved:
        moved[crs] = area.to(crs)
    if not np.isfinite(moved[crs].bounds).all():  # too far away to be shown in that system
        return bool(frame_in(source, area.crs).intersects(area.geometry))
    return bool(frame_in(source, crs).intersects(moved[crs]))


def _crs_text(source: SceneSource) -> str:
    crs = source.geobox.crs
    if crs is None:
        raise SceneError(f"Scene {source.id} has no coordinate reference system; declare it with --crs.")
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())
