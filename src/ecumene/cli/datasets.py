"""`ecumene datasets`: published data sets that systems learn from."""

from __future__ import annotations


def datasets() -> None:
    """List the data sets whose official files `train --data` and `bench --data` read."""
    from rich.console import Console

    from ecumene.cli.listing import print_entry
    from ecumene.samples.datasets import list_data_sets

    console = Console(highlight=False)
    for info in list_data_sets():
        lines = [f"task: {info.task}; samples: {info.size:,}", f"files: {info.layout}"]
        lines += [f"{what}: {text}" for what, text in (("paper", info.paper), ("licence", info.licence)) if text]
        print_entry(console, info.name, info.title, lines)
