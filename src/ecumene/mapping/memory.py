"""How the C library keeps the memory that a run frees.

Every pass of a network takes and frees the same large arrays. By default glibc hands each one back to the system, which
then clears and maps its pages again for the next pass. Kept instead, in one arena for all threads, the same pages serve
again. What is kept is bounded: free memory beyond 256 MiB at the end of the arena goes back.

The bound was not tuned. A smaller one gives back more after a pass and clears more pages for the next; how much time
lies between one bound and another was not measured on a quiet machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_SETTINGS = (
    ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, 1 << 30),
    ("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, 256 << 20),
    ("MALLOC_ARENA_MAX", _M_ARENA_MAX, 1),
)


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the rest of the process, unless its environment variables say otherwise.

    Returns:
        Whether anything was changed; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL("libc.so.6")
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    results = [mallopt(number, value) for name, number, value in _SETTINGS if name not in os.environ]
    return any(results)


def return_freed_memory() -> None:
    """Hand back what loading a model has freed; the C library would keep it until the end."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
