"""Residual convolutions on hyperspectral patches that have first learned to rebuild them without labels."""

from ecumene.systems._hsi import DATA_SETS, METRICS
from ecumene.systems.contract import BenchProtocol, System

SYSTEM = System(
    name="hsi-res-conv",
    title="residual convolutions on hyperspectral patches, first learned without labels by rebuilding them",
    task="scene-classification",
    reads="scene",
    kind="network",
    network="residual-conv",
    network_arguments={"widths": [64, 128, 256], "patch": 15},
    objective="scene-classification",
    training={"epochs": 100, "batch_size": 64, "learning_rate": 1e-3, "patience": 30},
    pretraining={"widths": [64, 128, 256], "steps": 1000, "batch": 64, "learning_rate": 1e-3},
    patch_size=15,
    data_sets=DATA_SETS,
    data_options={"patch": 15},
    protocols=(
        BenchProtocol(
            name="fixed", split="official", data_options={"labels": "fixed", "patch": 15}, draws=5, metrics=METRICS
        ),
        BenchProtocol(
            name="random-10", split="random", train_share=0.1, data_options={"patch": 15}, draws=5, metrics=METRICS
        ),
        BenchProtocol(
            name="spatial-50", split="spatial", train_share=0.5, data_options={"patch": 15}, draws=5, metrics=METRICS
        ),
    ),
    paper=(
        "Mou, Ghamisi, Zhu: Unsupervised Spectral-Spatial Feature Learning via Deep Residual Conv-Deconv Network for "
        "Hyperspectral Image Classification, TGRS 2018"
    ),
    deviations=(
        "number and width of the stages, the patch and the hidden layer are choices, as the paper's are not known; "
        "Nadam without labels, then AdamW; patches of different parts overlap in a random split"
    ),
)
