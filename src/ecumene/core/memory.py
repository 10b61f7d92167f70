"""Telling glibc how to keep the memory that a process frees; other C libraries are left alone."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX"
"""Settings by the names of their environment variables."""

_OWN_PAGES = 1 << 20
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


def zeros_apart(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros; a large one in pages of its own, which the system gets back as soon as it is dropped.

    For what lives long among large arrays that come and go: in one heap with them it would leave holes.

    Args:
        shape: Of the array.
        dtype: Of the array.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _OWN_PAGES:
        return np.zeros(shape, kind)
    return np.frombuffer(mmap.mmap(-1, size), kind).reshape(shape)


def trim() -> None:
    """Hand back what is free at once; the C library would keep it until the end."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
