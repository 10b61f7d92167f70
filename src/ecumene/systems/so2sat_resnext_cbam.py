"""ResNeXt-29 with block attention, the strongest baseline of So2Sat LCZ42."""

from ecumene.systems.contract import PublishedFigure, System
from ecumene.systems.sen2lcz_net import LCZ_PROTOCOLS, TRAINING
from ecumene.systems.so2sat_resnext import DEVIATIONS, PAPER

SYSTEM = System(
    name="so2sat-resnext-cbam",
    title="ResNeXt-29 (8 x 64d) with block attention on patches of Sentinel-2, baseline of So2Sat LCZ42",
    task="scene-classification",
    reads="scene",
    kind="network",
    network="resnext",
    network_arguments={"depth": 29, "cardinality": 8, "base_width": 64, "attention": True},
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
            value=0.61,
            protocol="culture-10, Sentinel-2; two digits, from memory",
            verified=False,
            bench="culture-10-v3",
        ),
    ),
    deviations=DEVIATIONS,
)
