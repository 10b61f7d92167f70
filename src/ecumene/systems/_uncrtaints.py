"""What the variants of UnCRtainTS share."""

from typing import Any

from ecumene.systems._restoration import protocols
from ecumene.systems.contract import PublishedFigure, System

PAPER = (
    "Ebel, Garnot, Schmitt, Wegner, Zhu: UnCRtainTS: Uncertainty Quantification for Cloud Removal in Optical Satellite "
    "Time Series, CVPR EarthVision workshop 2023, arXiv 2304.05464"
)
TRAINING = {
    "epochs": 20,
    "batch_size": 4,
    "optimiser": "adam",
    "schedule": "constant",
    "warmup": 0.0,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "patience": 20,
}
DEVIATIONS = (
    "the paper's likelihood for each sample instead of the released code's log-determinant, which weighs by the batch "
    "size (released_log_determinant); gradients are clipped to the norm 1; samples are turned and flipped; cloud "
    "shares by the rule of the cloud mask instead of s2cloudless; a target's own date is never an input"
)


def uncrtaints(
    name: str,
    title: str,
    *,
    network: str = "uncrtaints",
    arguments: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    published: tuple[PublishedFigure, ...] = (),
    training: dict[str, Any] | None = None,
    paper: str = PAPER,
    deviations: str = DEVIATIONS,
) -> System:
    """Return a variant: series of three dates, or single dates for the network without attention."""
    series = network != "uncrtaints-mono"
    return System(
        name=name,
        title=title,
        task="restoration",
        reads="series" if series else "image",
        kind="network",
        network=network,
        network_arguments={"scaling": "times-ten", **(arguments or {})},
        objective="restoration",
        objective_arguments={"loss": "likelihood", **(objective or {})},
        training={**TRAINING, **(training or {})},
        patch_size=256,
        data_sets=("sen12ms-cr-ts",) if series else ("sen12ms-cr",),
        data_options={"dates": 3} if series else {},
        protocols=protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})),
        paper=paper,
        figures=published,
        deviations=deviations,
    )
