"""What went into a map, by content: names and checksums of the scenes' files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict

from ecumene.core.errors import SceneError
from ecumene.core.files import multihash_of
from ecumene.scenes.contract import SceneSource


class InputFile(BaseModel):
    """One file of a scene: its name (never its private path) and content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    checksum: str | None = None


class InputRecord(BaseModel):
    """One scene that went into a map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    sensor: str
    level: str
    time: str | None
    licence: str | None
    files: tuple[InputFile, ...]


def time_text(time: np.datetime64 | None) -> str | None:
    """Return a UTC time as RFC 3339 text."""
    return None if time is None else str(np.datetime_as_string(time, unit="s")) + "Z"


def public_name(href: str) -> str:
    """Return what may be published of an href: a file's name, or a URL without query and credentials."""
    parts = urlsplit(href)
    if parts.scheme in {"http", "https", "s3", "gs"}:
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    return PurePosixPath(href.replace("\\", "/")).name


def input_records(sources: Iterable[SceneSource]) -> tuple[InputRecord, ...]:
    """Record scenes with the SHA-256 multihash of every local file (each file is read once).

    Raises:
        SceneError: If a file of a scene cannot be read.
    """
    known: dict[str, str | None] = {}
    records = []
    for source in sources:
        hrefs = dict.fromkeys([*source.files, *(band.href for band in source.bands)])
        if source.mask is not None and source.mask.href:
            hrefs[source.mask.href] = None
        files = []
        for href in hrefs:
            if href not in known:
                known[href] = _checksum(href, source.id)
            if known[href] is not None or href in source.files or urlsplit(href).scheme:
                files.append(InputFile(name=public_name(href), checksum=known[href]))
        properties = source.properties
        licence = properties.get("license") or properties.get("licence")
        records.append(
            InputRecord(
                id=source.id,
                sensor=source.sensor,
                level=source.level,
                time=time_text(source.time),
                licence=str(licence) if licence else None,
                files=tuple(dict.fromkeys(files)),
            )
        )
    return tuple(records)


def _checksum(href: str, scene: str) -> str | None:
    path = Path(href)
    try:
        if not path.is_file():
            return None
        state = path.stat()
        return _content(str(path), state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise SceneError(f"The file {path.name} of scene {scene} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=4096)
def _content(path: str, modified: int, size: int) -> str:
    """Checksum of a file state: a scene under many tiles is read once, a changed file again."""
    return multihash_of(path)
