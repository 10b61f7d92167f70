"""What systems that remove clouds share: data, protocols, published figures."""

from collections.abc import Mapping
from typing import Any

from ecumene.systems.contract import BenchProtocol, PublishedFigure

METRICS = ("mae", "rmse", "psnr", "ssim", "sam", "uce", "auce", "precision", "recall")


def protocols(*named: tuple[str, dict[str, Any]]) -> tuple[BenchProtocol, ...]:
    """Return the official protocol with options of the data for each name, and one that leaves places out."""
    official = tuple(
        BenchProtocol(name=name, split="official", official="official", draws=1, metrics=METRICS, data_options=options)
        for name, options in named
    )
    return (*official, BenchProtocol(name="spatial-80", split="spatial", train_share=0.8, draws=3, metrics=METRICS))


def figures(
    data_set: str, protocol: str, values: Mapping[str, float], *, verified: bool = True, bench: str = ""
) -> tuple[PublishedFigure, ...]:
    """Return published figures of one protocol by metric."""
    return tuple(
        PublishedFigure(
            data_set=data_set, metric=metric, value=value, protocol=protocol, verified=verified, bench=bench
        )
        for metric, value in values.items()
    )
