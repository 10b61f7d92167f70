"""Runs a compiled kernel, which releases the interpreter lock, over ranges of pixels in threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_SMALLEST_RANGE = 64


def run_ranges(kernel: Callable[[int, int], None], pixels: int, threads: int | None = None) -> None:
    """Call `kernel(start, stop)` on ranges that cover all pixels.

    Args:
        kernel: Works on pixels start..stop; ranges never overlap, so results do not depend on `threads`.
        pixels: Number of pixels.
        threads: Threads; None: the processors that this process may use.
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Several ranges a thread, since pixels differ in cost.
    step = max(_SMALLEST_RANGE, -(-pixels // (8 * threads)))
    ranges = [(start, min(start + step, pixels)) for start in range(0, pixels, step)]
    if threads == 1 or len(ranges) == 1:
        for start, stop in ranges:
            kernel(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(kernel, start, stop) for start, stop in ranges]:
            future.result()
