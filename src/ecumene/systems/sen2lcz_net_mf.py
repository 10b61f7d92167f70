"""Sen2LCZ-Net-MF: local climate zones with classifiers on four levels."""

from ecumene.systems.contract import PublishedFigure, System
from ecumene.systems.sen2lcz_net import DEVIATIONS, LCZ_PROTOCOLS, PAPER, TRAINING

SYSTEM = System(
    name="sen2lcz-net-mf",
    title="Sen2LCZ-Net-MF, local climate zones from the mean of classifiers on four levels",
    task="scene-classification",
    reads="scene",
    kind="network",
    network="sen2lcz",
    network_arguments={"depth": 17, "width": 16, "dropout": 0.2, "fusion": True},
    objective="scene-classification",
    training=TRAINING,
    patch_size=32,
    data_sets=("so2sat-lcz42",),
    protocols=LCZ_PROTOCOLS,
    paper=PAPER,
    figures=(
        PublishedFigure(
            data_set="So2Sat LCZ42",
            metric="overall_accuracy",
            value=0.70,
            protocol="trained on 42 cities, tested on the eastern halves of ten others; two digits, from memory",
            verified=False,
            bench="culture-10",
        ),
    ),
    deviations=DEVIATIONS,
)
