"""Fills a date's clouds from its other dates, learned at other places."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="date-blend",
    title="fills clouds of one date from other dates brought to its light and season, with an error bar",
    task="restoration",
    reads="series",
    kind="network",
    network="date-blend",
    network_arguments={"scaling": "times-ten", "regress": True},
    objective="restoration",
    objective_arguments={"loss": "likelihood"},
    training={
        "epochs": 12,
        "batch_size": 4,
        "optimiser": "adamw",
        "schedule": "cosine",
        "learning_rate": 3e-3,
        "weight_decay": 1e-4,
        "patience": 12,
        "precision": "32",
    },
    patch_size=96,
    paper="",
    deviations=(
        "an own method; learned from scenes whose clear pixels are hidden (ecumene train SCENE...), not "
        "from a data set of clouded dates with another date as the target, which does not show it what it needs"
    ),
)
