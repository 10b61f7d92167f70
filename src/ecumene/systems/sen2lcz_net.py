"""Sen2LCZ-Net: local climate zones from Sentinel-2 patches."""

from ecumene.systems.contract import BenchProtocol, System

PAPER = (
    "Qiu, Tong, Schmitt, Bechtel, Zhu: Multilevel Feature Fusion-Based CNN for Local Climate Zone Classification From "
    "Sentinel-2 Images, IEEE JSTARS 13:2793-2806, 2020, arXiv 2005.07983"
)

LCZ_METRICS = (
    "overall_accuracy",
    "average_accuracy",
    "kappa",
    "macro_f1",
    "oa_built",
    "oa_natural",
    "oa_built_or_natural",
)

LCZ_PROTOCOLS = (
    BenchProtocol(name="culture-10", split="official", official="official", draws=5, metrics=LCZ_METRICS),
    BenchProtocol(
        name="random-80", official="random", draws=5, metrics=LCZ_METRICS, data_options={"variant": "random"}
    ),
    BenchProtocol(name="block-80", official="block", draws=5, metrics=LCZ_METRICS, data_options={"variant": "block"}),
    BenchProtocol(
        name="culture-10-v3",
        official="culture_10",
        draws=5,
        metrics=LCZ_METRICS,
        data_options={"variant": "culture_10"},
    ),
)
"""Version 1, 2 or 4 (42 cities learn, the western and eastern halves of ten others validate and test), and the three
splits of version 3."""

TRAINING = {
    "epochs": 100,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "optimiser": "nadam",
    "schedule": "step",
    "step_epochs": 5,
    "step_factor": 0.5,
    "patience": 40,
}

DEVIATIONS = (
    "bands are standardised by the training set, where the authors feed reflectances; flips, turns and small changes "
    "of radiometry augment the patches; the best epoch and the end of the training are chosen by macro F1 of the "
    "validation part, where the authors keep the best accuracy and stop by the loss"
)

SYSTEM = System(
    name="sen2lcz-net",
    title="Sen2LCZ-Net, small network for local climate zones from 320 m patches of Sentinel-2",
    task="scene-classification",
    reads="scene",
    kind="network",
    network="sen2lcz",
    network_arguments={"depth": 17, "width": 16, "dropout": 0.2, "fusion": False},
    objective="scene-classification",
    training=TRAINING,
    patch_size=32,
    data_sets=("so2sat-lcz42",),
    protocols=LCZ_PROTOCOLS,
    paper=PAPER,
    deviations=DEVIATIONS,
)
