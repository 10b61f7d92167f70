"""Telling glibc how to keep the memory that a process frees; other C libraries are left alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX"
"""Settings by the names of their environment variables."""

_NUMBERS = {TRIM_THRESHOLD: -1, MMAP_THRESHOLD: -3, ARENA_MAX: -8}


def set_allocator(settings: dict[str, int]) -> bool:
    """Set limits of glibc's allocator for the rest of the process; environment variables have the last word.

    Args:
        settings: Bytes (or the number of arenas) by `TRIM_THRESHOLD`, `MMAP_THRESHOLD` or `ARENA_MAX`.

    Returns:
        Whether anything was changed; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    done = [mallopt(_NUMBERS[name], value) for name, value in settings.items() if name not in os.environ]
    return any(done)


def trim() -> None:
    """Hand back what is free at once; the C library would keep it until the end."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
