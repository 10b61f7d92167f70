"""What the web map's server keeps in memory: every store has a limit of its own, so that their sum is one.

What a request needs while it is answered comes on top, and is bounded by the few threads that answer: those of
`tiles.TileMaker` draw, `ANSWERING_THREADS` read pixels, charts and shapes.

Two things are the process's own and are set here. GDAL's block cache has one limit for all threads; given as an option
of an environment it would change with every thread that enters or leaves one. And glibc, if it is left alone, learns
from large arrays that are freed to keep them in a heap a thread, between small ones that stay; a server that draws for
hours then grows although it holds no more.
"""

from __future__ import annotations

import os

from ecumene.core.memory import ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, set_allocator
from ecumene.scenes.handles import CACHE_BYTES

TILE_CACHE_BYTES = 48 << 20
"""The last tiles as PNG, with what it costs to find them."""

TILE_ENTRY_BYTES = 512
"""What a kept tile costs beside its picture."""

BLOCK_CACHE_BYTES = CACHE_BYTES
"""Decoded blocks of all rasters, kept by GDAL; the environment variable GDAL_CACHEMAX says otherwise.

Reading the scenes of a model sets a limit for the same cache, so that it is the same one.
"""

OPEN_FILES = 8
"""Rasters that each drawing thread keeps open."""

MOST_DRAWING_THREADS = 8
"""Drawing threads on a machine with more processors."""

ANSWERING_THREADS = 4
"""Threads that read pixels, charts and shapes."""

OPEN_PRODUCTS = 256
"""Products of a collection whose descriptions are kept."""

MOST_CONNECTIONS = 512
"""Connections at once; each holds at most one answer."""

_SETTINGS = {MMAP_THRESHOLD: 128 << 10, TRIM_THRESHOLD: 16 << 20, ARENA_MAX: 2}


def limit_block_cache() -> None:
    """Set the limit of GDAL's block cache for the whole process, unless GDAL_CACHEMAX is in the environment."""
    from rasterio.env import set_gdal_config

    if "GDAL_CACHEMAX" not in os.environ:
        set_gdal_config("GDAL_CACHEMAX", BLOCK_CACHE_BYTES)


def return_freed_memory() -> bool:
    """Tell glibc to hand large arrays back at once and to keep few heaps, for the rest of the process.

    Its environment variables go before. It is for processes that only serve: a run of a network is quicker with what
    `mapping.memory.keep_freed_memory` sets.

    Returns:
        Whether anything was changed; False where the C library is not glibc.
    """
    return set_allocator(_SETTINGS)
