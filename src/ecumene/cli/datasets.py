"""`ecumene datasets`: published data sets that systems learn from."""

from __future__ import annotations


def datasets() -> None:
    """List the data sets whose official files `train --data` and `bench --data` read."""
    from rich.console import Console

    from ecumene.cli.listing import print_entry
    from ecumene.samples.datasets import list_data_sets
    from ecumene.samples.datasets.growth_sites import GrowthSites
    from ecumene.samples.datasets.pairs import list_pair_sets

    console = Console(highlight=False)
    for info in (*list_data_sets(), *list_pair_sets(), GrowthSites.info):
        lines = [f"task: {info.task}; images: {info.size:,}", f"files: {info.layout}"]
        lines += [f"{what}: {text}" for what, text in (("paper", info.paper), ("licence", info.licence)) if text]
        print_entry(console, info.name, info.title, lines)
