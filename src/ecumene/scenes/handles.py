"""Open rasters, kept open: one handle per thread and file, bounded in number, with pinned GDAL options.

GDAL's data set handles must not be shared by threads, and opening a file costs more than reading a
window of it, so that every thread keeps its own few handles.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import rasterio
from rasterio.errors import RasterioError, RasterioIOError

from ecumene.core.errors import DamagedPixelsError, SceneError
from ecumene.core.object_access import gdal_options
from ecumene.scenes.remote.addresses import without_secrets
from ecumene.scenes.remote.trying import patiently

MAX_HANDLES = 64
"""Open rasters a thread keeps."""

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache, unless the environment variable GDAL_CACHEMAX says otherwise.

Enough for the blocks of 512 pixels under a tile of 2048 and its border with four bands of 16 bits (52 MB), or under a
window of 1024 with 13 bands (61 MB). Twice as much made no map faster, and is kept in memory until its end.
"""

_LOCAL = threading.local()
T = TypeVar("T")


def is_remote(href: str) -> bool:
    """Whether a href is fetched over a network."""
    return href.startswith(("http://", "https://", "s3://", "gs://", "az://", "/vsicurl", "/vsis3", "/vsigs", "/vsiaz"))


def _options(remote: bool, fresh: bool = False) -> dict[str, Any]:
    """GDAL options of a read; the sidecar search is only switched off where it costs a request.

    With `fresh`, nothing that GDAL has kept of a file from an earlier failure is used.
    """
    options: dict[str, Any] = {"GDAL_TIFF_INTERNAL_MASK": True}
    if "GDAL_CACHEMAX" not in os.environ:
        options["GDAL_CACHEMAX"] = CACHE_BYTES
    if remote:
        options |= {
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
            "GDAL_HTTP_TIMEOUT": "60",
            "GDAL_HTTP_CONNECTTIMEOUT": "10",
            "GDAL_HTTP_MAX_RETRY": "2",
            "GDAL_HTTP_RETRY_DELAY": "0.5",
            "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
            **gdal_options(),
        }
    if fresh:
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/"
    return options


@contextlib.contextmanager
def remote_environment(remote: bool, fresh: bool = False) -> Iterator[None]:
    """Apply the GDAL options of a read while the block runs."""
    with rasterio.Env(**_options(remote, fresh)):
        yield


def _stamp(href: str) -> tuple[int, int] | None:
    """Modification time and size of a local file, None for what is no plain file.

    Raises:
        SceneError: If a local file does not exist any more.
    """
    if is_remote(href) or href.startswith("/vsi"):
        return None
    try:
        status = Path(href).stat()
    except OSError as error:
        if ":" in href and not Path(href).is_absolute():  # a GDAL sub-dataset such as HDF5:file://path
            return None
        raise SceneError(f"{href} cannot be read ({error.strerror}); restore the file or leave it out.") from error
    return status.st_mtime_ns, status.st_size


def _handles() -> OrderedDict[Any, Any]:
    """Return this thread's open rasters; a forked child starts without its parent's."""
    if getattr(_LOCAL, "process", None) != os.getpid():
        _LOCAL.process = os.getpid()
        _LOCAL.handles = OrderedDict()
    handles: OrderedDict[Any, Any] = _LOCAL.handles
    return handles


def close_handles() -> None:
    """Close all rasters that this thread keeps open (before a file is replaced, or at a worker's end)."""
    handles = _handles()
    while handles:
        handles.popitem()[1].close()


@contextlib.contextmanager
def opened(href: str, fresh: bool = False) -> Iterator[Any]:
    """Yield this thread's open raster of a href, within pinned GDAL options.

    Any failure of GDAL inside of the block becomes a sentence; the handle is then dropped.

    Args:
        href: Local path, GDAL virtual path or URL.
        fresh: Use nothing that an earlier failure has left.

    Yields:
        A `rasterio.DatasetReader`; do not close it.

    Raises:
        SceneError: If the file is gone or is no raster, or the network fails.
        DamagedPixelsError: If a block of a local file that can be opened cannot be decoded (a `SceneError`).
    """
    key = (href, _stamp(href))
    handles = _handles()
    kind: type[SceneError] = SceneError
    with rasterio.Env(**_options(is_remote(href), fresh)):
        try:
            dataset = handles.pop(key, None)
            if dataset is None:
                dataset = rasterio.open(href)
                while len(handles) >= MAX_HANDLES:
                    handles.popitem(last=False)[1].close()
            handles[key] = dataset
            # What a network does not deliver is not damaged: it may come the next time.
            kind = SceneError if key[1] is None else DamagedPixelsError
            yield dataset
        except (RasterioError, RasterioIOError) as error:
            broken = handles.pop(key, None)
            if broken is not None:
                broken.close()
            raise kind(
                f"{without_secrets(href)} cannot be read: it is truncated, damaged or no raster; fetch the file again."
            ) from error


def with_raster(href: str, action: Callable[[Any], T]) -> T:
    """Return what `action` makes of this thread's open raster; a remote one is tried again where that can help.

    Args:
        href: Local path, GDAL virtual path or (unsigned) address.
        action: Called with a `rasterio.DatasetReader`, maybe several times; what it returns must not need the reader.

    Raises:
        SceneError: If it cannot be read.
    """

    def attempt(place: str, again: bool) -> T:
        with opened(place, fresh=again) as dataset:
            return action(dataset)

    return patiently(href, attempt)
