"""Progress with time left, handed down as a plain callable so that no room depends on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ecumene.core import events

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what)."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """Show a bar with the time left on standard error while the block runs, or write events where they are on.

    Args:
        description: What is being done, shown before the bar.

    Yields:
        A `Progress` callable.
    """
    if events.enabled():
        yield events.ProgressEvents(description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{description} {what}".strip())

        yield report
