"""Log lines for machines: one JSON object a line on standard error, off unless a program switches it on."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

_SECONDS_BETWEEN_PROGRESS = 1.0
_lock = threading.Lock()
_stream: TextIO | None = None


def enable(stream: TextIO | None = None) -> None:
    """Write events to a stream from now on.

    Args:
        stream: Where lines go; None: standard error.
    """
    global _stream  # one log a process, as with `logging`
    _stream = sys.stderr if stream is None else stream


def disable() -> None:
    """Write no more events."""
    global _stream
    _stream = None


def enabled() -> bool:
    """Whether events are written."""
    return _stream is not None


def emit(event: str, level: str = "info", **fields: Any) -> None:
    """Write one event, if events are written at all.

    Args:
        event: What happened, as a short constant name.
        level: `info`, `warning` or `error`.
        **fields: JSON-able details; anything else is written as text. Secrets do not belong here.
    """
    if _stream is None:
        return
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"time": stamp, "level": level, "event": event, **fields}, default=str, ensure_ascii=False)
    with _lock:
        print(line, file=_stream, flush=True)


class ProgressEvents:
    """A `Progress` that writes events: at most one a second, but always the first and the last.

    Args:
        task: What is being done.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._start = time.monotonic()
        self._last = float("-inf")

    def __call__(self, done: int, total: int, what: str) -> None:
        """Write progress with the seconds left, where they can be known."""
        now = time.monotonic()
        if done < total and now - self._last < _SECONDS_BETWEEN_PROGRESS:
            return
        self._last = now
        elapsed = now - self._start
        left = elapsed / done * (total - done) if done > 0 else None
        emit(
            "progress",
            task=self._task,
            what=what,
            done=done,
            total=total,
            seconds=round(elapsed, 1),
            seconds_left=None if left is None else round(left, 1),
        )
