"""ResNeXt-29 without attention, a baseline of So2Sat LCZ42."""

from ecumene.systems.contract import System
from ecumene.systems.sen2lcz_net import LCZ_PROTOCOLS, TRAINING

PAPER = (
    "Zhu et al.: So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate Zones, IEEE GRSM "
    "8(3):76-89, 2020, doi 10.1109/MGRS.2020.2964708; Xie et al.: Aggregated Residual Transformations, CVPR 2017"
)

DEVIATIONS = (
    "cardinality 8 and width 64 are those of Xie et al. for small images, because the benchmark names the network "
    "only; the training is that of sen2lcz-net"
)

SYSTEM = System(
    name="so2sat-resnext",
    title="ResNeXt-29 (8 x 64d) on patches of Sentinel-2, baseline of So2Sat LCZ42",
    task="scene-classification",
    reads="scene",
    kind="network",
    network="resnext",
    network_arguments={"depth": 29, "cardinality": 8, "base_width": 64, "attention": False},
    objective="scene-classification",
    training=TRAINING,
    patch_size=32,
    data_sets=("so2sat-lcz42",),
    protocols=LCZ_PROTOCOLS,
    paper=PAPER,
    deviations=DEVIATIONS,
)
