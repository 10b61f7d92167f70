"""`ecumene datasets`: published data sets that systems learn from."""

from __future__ import annotations


def datasets() -> None:
    """List the data sets whose official files `train --data` and `bench --data` read."""
    from rich.console import Console
    from rich.table import Column, Table

    from ecumene.samples.datasets import list_data_sets
    from ecumene.samples.datasets.growth_sites import GrowthSites
    from ecumene.samples.datasets.pairs import list_pair_sets

    table = Table(Column("data set", no_wrap=True), "what", "task", "images", "files", "published in", "licence")
    for info in (*list_data_sets(), *list_pair_sets(), GrowthSites.info):
        table.add_row(
            info.name, info.title, info.task, f"{info.size:,}", info.layout, info.paper or "-", info.licence or "-"
        )
    Console().print(table)
