"""How the C library keeps the memory that a run frees.

Every pass of a network takes and frees the same large arrays. By default glibc hands each one back to the system, which
then clears and maps its pages again for the next pass. Kept instead, in one arena for all threads, the same pages serve
again. What is kept is bounded: free memory beyond 256 MiB at the end of the arena goes back.

The few largest arrays of a pass, above 64 MiB, are not kept where the arena has no room for them: it would grow by
holes.
"""

from __future__ import annotations

from ecumene.core.memory import ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, set_allocator, trim

_SETTINGS = {MMAP_THRESHOLD: 64 << 20, TRIM_THRESHOLD: 256 << 20, ARENA_MAX: 1}


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the rest of the process, unless its environment variables say otherwise.

    Returns:
        Whether anything was changed; False where the C library is not glibc.
    """
    return set_allocator(_SETTINGS)


def return_freed_memory() -> None:
    """Hand back what loading a model has freed; the C library would keep it until the end."""
    trim()
