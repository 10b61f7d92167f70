"""Whole remote files kept in a folder of limited size, shared by processes; the least recently used go first.

Off unless the environment variable `ECUMENE_CACHE` names a folder: windows of Cloud-Optimised GeoTIFFs are read by
range requests, which fetch less. It pays where the same scenes are read again and again, and it is the only way
where a server does not honour ranges.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ecumene.core.errors import ConfigurationError, ProductError, SceneError
from ecumene.core.files import atomic_path, ensure_writable_folder
from ecumene.scenes.remote.addresses import is_web, without_secrets
from ecumene.scenes.remote.fetching import fetch_file
from ecumene.scenes.remote.signing import signed

FOLDER, SIZE = "ECUMENE_CACHE", "ECUMENE_CACHE_SIZE"
DEFAULT_BYTES = 20 * 10**9
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_STALE_S = 24 * 3600.0


@dataclass(frozen=True)
class AssetCache:
    """Files by the address that they come from.

    Attributes:
        folder: Where they are.
        limit: Bytes of all files together; a single larger file is kept until the next one comes.
    """

    folder: Path
    limit: int = DEFAULT_BYTES

    def path_of(self, href: str) -> Path:
        """Return where the file of an address is, or would be."""
        name = without_secrets(href)
        suffix = PurePosixPath(urlsplit(name).path).suffix
        return self.folder / (hashlib.sha256(name.encode()).hexdigest() + suffix[:8])

    def fetch(self, href: str) -> Path:
        """Return the local copy of an address, fetching it if it is not there.

        Raises:
            SceneError: If it cannot be had whole.
            ProductError: If the folder cannot be written to or the disk is full.
        """
        target = self.path_of(href)
        if not target.is_file():
            ensure_writable_folder(self.folder)
            with atomic_path(target) as partial:
                try:
                    fetch_file(signed(href), partial)
                except SceneError as error:
                    if "(403)" not in str(error):
                        raise
                    fetch_file(signed(href, renew=True), partial)
            self.shrink(keep=target)
        with contextlib.suppress(OSError):
            os.utime(target)  # the file system's own access times are often off
        return target

    def shrink(self, keep: Path | None = None) -> None:
        """Delete what was used longest ago until the limit holds; open files stay readable on POSIX systems.

        Args:
            keep: A file that is needed now.
        """
        files, total = [], 0
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another process may have deleted it
                status = path.stat()
                abandoned = path.name.startswith(".") and time.time() - status.st_mtime > _STALE_S
                if abandoned:
                    path.unlink()
                elif path.is_file():
                    files.append((status.st_mtime, status.st_size, path))
                    total += status.st_size
        for _, size, path in sorted(files):
            if total <= self.limit:
                return
            if path != keep and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                total -= size


def current_cache() -> AssetCache | None:
    """Return the cache that the environment asks for, or None.

    Raises:
        ConfigurationError: If the size cannot be read.
    """
    folder = os.environ.get(FOLDER, "").strip()
    if not folder:
        return None
    text = os.environ.get(SIZE, "").strip()
    if not text:
        return AssetCache(Path(folder))
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise ConfigurationError(f"{SIZE} is {text!r}, which is no size; write it as 20GB.")
    return AssetCache(Path(folder), int(float(match[1]) * _UNITS[match[2].upper()]))


def local_or_signed(href: str, *, renew: bool = False) -> str:
    """Return what GDAL shall open for an address: a cached copy, or the signed address.

    Args:
        href: Path or unsigned address.
        renew: Use a new token.

    Raises:
        SceneError: If the file cannot be had.
    """
    if not is_web(href):
        return href
    cache = current_cache()
    if cache is None:
        return signed(href, renew=renew)
    try:
        return str(cache.fetch(href))
    except ProductError as error:
        raise SceneError(f"The cache {cache.folder} cannot be used: {error}") from error
