"""Sharing work out over threads: compiled kernels that release the interpreter lock, over ranges of pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ecumene.core.errors import ConfigurationError

_SHORTEST = 64


def available_threads() -> int:
    """Return how many processors this process may use; where the system does not say, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_threads(threads: int | None) -> int:
    """Return the number of threads that an option asks for.

    Args:
        threads: None: as many as this process may use.

    Raises:
        ConfigurationError: If it is not positive.
    """
    if threads is not None and threads < 1:
        raise ConfigurationError("The number of threads must be at least 1.")
    return threads or available_threads()


def run_ranges(
    work: Callable[[int, int], None], total: int, threads: int | None = None, *, length: int | None = None
) -> None:
    """Call `work(start, stop)` on ranges that cover `total` elements, on several threads.

    Args:
        work: Fills its part of results that exist already. Ranges never overlap, so results do not depend on the
            threads, unless what elements of one range share does: then state the length.
        total: Number of elements.
        threads: None: as many as this process may use.
        length: Elements of a range; None: eight ranges a thread, since elements differ in cost, but at least 64.

    Raises:
        ConfigurationError: If the number of threads is not positive.
    """
    count = count_threads(threads)
    step = length or max(_SHORTEST, -(-total // (8 * count)))
    ranges = [(start, min(start + step, total)) for start in range(0, total, step)]
    if count == 1 or len(ranges) < 2:
        for start, stop in ranges:
            work(start, stop)
        return
    with ThreadPoolExecutor(min(count, len(ranges))) as pool:
        for done in [pool.submit(work, start, stop) for start, stop in ranges]:
            done.result()
