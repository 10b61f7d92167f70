"""What DSen2-CR with its loss and with the plain absolute error share."""

from ecumene.systems._restoration import METRICS, protocols
from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

_TRAINING = {
    "epochs": 8,
    "batch_size": 16,
    "optimiser": "nadam",
    "schedule": "constant",
    "warmup": 0.0,
    "learning_rate": 7e-5,
    "weight_decay": 0.0,
    "patience": 8,
}
_DEVIATIONS = (
    "clouds and shadows by the rule of the cloud mask instead of s2cloudless and a shadow index; gradients are clipped "
    "to the norm 1; PSNR with peak 1 of reflectance, which is the paper's with 10000 of digital numbers"
)
_PAPER = (
    "Meraner, Ebel, Zhu, Schmitt: Cloud removal in Sentinel-2 imagery using a deep residual neural network and "
    "SAR-optical data fusion, ISPRS JPRS 166, 2020, doi 10.1016/j.isprsjprs.2020.05.013"
)
HELD_OUT = "hold-out scenes of the paper's file list"


_LISTED = tuple(
    BenchProtocol(name=name, official="file-list", draws=1, metrics=METRICS, data_options=options)
    for name, options in (("file-list", {}), ("file-list-no-sar", {"inputs": "s2"}))
)
"""The paper's own split, by a list that does not come with SEN12MS-CR; figures of the paper belong to it."""


def dsen2_cr(name: str, title: str, loss: str, figures: tuple[PublishedFigure, ...]) -> System:
    """Return DSen2-CR with one of its losses.

    Args:
        name: Of the system.
        title: For people.
        loss: Argument of the objective.
        figures: Published figures.
    """
    return System(
        name=name,
        title=title,
        task="restoration",
        reads="image",
        kind="network",
        network="dsen2cr",
        network_arguments={"scaling": "resnet"},
        objective="restoration",
        objective_arguments={"loss": loss},
        training=_TRAINING,
        patch_size=256,
        data_sets=("sen12ms-cr",),
        data_options={"crop": 128},
        protocols=(*protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})), *_LISTED),
        paper=_PAPER,
        figures=figures,
        deviations=_DEVIATIONS,
    )
