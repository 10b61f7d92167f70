"""What the systems of So2Sat LCZ42 share: protocols, the training of the networks, all of a network but its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

DATA_SETS = ("so2sat-lcz42",)
PATCH_SIZE = 32
METRICS = (
    "overall_accuracy",
    "average_accuracy",
    "kappa",
    "macro_f1",
    "oa_built",
    "oa_natural",
    "oa_built_or_natural",
)
PROTOCOLS = (
    BenchProtocol(name="culture-10", split="official", official="official", draws=5, metrics=METRICS),
    *(
        BenchProtocol(name=name, official=variant, draws=5, metrics=METRICS, data_options={"variant": variant})
        for name, variant in (("random-80", "random"), ("block-80", "block"), ("culture-10-v3", "culture_10"))
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
    "monitor": "overall_accuracy",
    "stop_monitor": "validation_loss",
}
"""Of Sen2LCZ-Net."""

QIU = (
    "Qiu, Tong, Schmitt, Bechtel, Zhu: Multilevel Feature Fusion-Based CNN for Local Climate Zone Classification From "
    "Sentinel-2 Images, IEEE JSTARS 13:2793-2806, 2020, arXiv 2005.07983"
)
QIU_DEVIATIONS = (
    "bands are standardised by the training set, where the authors feed reflectances; flips, turns and small changes "
    "of radiometry augment the patches; gradients are clipped to the norm 1"
)
ZHU = (
    "Zhu et al.: So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate Zones, IEEE GRSM "
    "8(3):76-89, 2020, doi 10.1109/MGRS.2020.2964708; Xie et al.: Aggregated Residual Transformations, CVPR 2017"
)
ZHU_DEVIATIONS = (
    "cardinality 8 and width 64 are those of Xie et al. for small images, because the benchmark names the network "
    "only; the training, with its augmentation and clipped gradients, is that of sen2lcz-net"
)


def figure(value: float, protocol: str, bench: str) -> PublishedFigure:
    """Return a published overall accuracy, quoted from memory."""
    return PublishedFigure(
        data_set="So2Sat LCZ42",
        metric="overall_accuracy",
        value=value,
        protocol=f"{protocol}; two digits, from memory",
        verified=False,
        bench=bench,
    )


def _so2sat(name: str, title: str, network: str, arguments: Mapping[str, Any], **source: Any) -> System:
    return System(
        name=name,
        title=title,
        task="scene-classification",
        reads="scene",
        kind="network",
        network=network,
        network_arguments=dict(arguments),
        objective="scene-classification",
        training=TRAINING,
        patch_size=PATCH_SIZE,
        data_sets=DATA_SETS,
        protocols=PROTOCOLS,
        **source,
    )


def sen2lcz(name: str, title: str, *, fusion: bool, figures: tuple[PublishedFigure, ...] = ()) -> System:
    """Return Sen2LCZ-Net, with or without classifiers on several levels."""
    arguments = {"depth": 17, "width": 16, "dropout": 0.2, "fusion": fusion}
    return _so2sat(name, title, "sen2lcz", arguments, paper=QIU, deviations=QIU_DEVIATIONS, figures=figures)


def resnext(name: str, title: str, *, attention: bool, figures: tuple[PublishedFigure, ...] = ()) -> System:
    """Return ResNeXt-29 of the data set's paper, with or without block attention."""
    arguments = {"depth": 29, "cardinality": 8, "base_width": 64, "attention": attention}
    return _so2sat(name, title, "resnext", arguments, paper=ZHU, deviations=ZHU_DEVIATIONS, figures=figures)


def statistics_learner(
    name: str, title: str, kind: Literal["forest", "svm"], training: Mapping[str, Any], deviations: str
) -> System:
    """Return a baseline that sees statistics of the bands of a patch instead of its pixels."""
    return System(
        name=name,
        title=title,
        task="scene-classification",
        reads="scene",
        kind=kind,
        objective="scene-classification",
        training=dict(training),
        patch_size=PATCH_SIZE,
        data_sets=DATA_SETS,
        protocols=PROTOCOLS,
        paper=ZHU.partition(";")[0],
        deviations=(
            "mean, standard deviation and quartiles of each band are the features, a choice of this library, because "
            f"the benchmark names the learner only; training and validation patches are learned from; {deviations}"
        ),
    )
