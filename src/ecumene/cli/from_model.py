"""Options of a training that goes on from a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning

START: Mapping[str, Any] = {
    "start_model": Annotated[
        Path | None,
        typer.Option("--from", help="Begin with this model's weights; other classes are fine.", show_default=False),
    ],
    "head_only": Annotated[
        bool | None, typer.Option("--head-only", help="With --from: learn the last layer alone.", show_default=False)
    ],
    "adapt_bands": Annotated[
        bool | None, typer.Option("--adapt-bands", help="With --from: take other bands too.", show_default=False)
    ],
}
"""Options of `ecumene train` that say what it begins with."""


def beginning(start: Mapping[str, Any]) -> Beginning | None:
    """Return what a training begins with, None without `--from`.

    Raises:
        ConfigurationError: If options that belong to `--from` were given alone.
        ModelError: If the model is damaged.
    """
    from ecumene.core.errors import ConfigurationError

    if start["start_model"] is None:
        if start["head_only"] or start["adapt_bands"]:
            raise ConfigurationError("--head-only and --adapt-bands belong to --from; name a model.")
        return None
    from ecumene.workflows.beginning import begin_with

    return begin_with(start["start_model"], head_only=bool(start["head_only"]), adapt_bands=bool(start["adapt_bands"]))
