"""Which bundle a training goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.models.bundle import Model

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def begin_with(model: str | Path | Model, *, head_only: bool = False, adapt_bands: bool = False) -> Beginning:
    """Return a bundle as the beginning of a training.

    Args:
        model: A network's bundle, or its folder.
        head_only: Learn the head alone.
        adapt_bands: Begin with an adapted first layer where the data have other bands.

    Raises:
        ModelError: If the bundle is damaged or hostile.
        MissingDependencyError: If torch is not installed.
    """
    require("torch")
    from ecumene.training.from_bundle import Beginning

    bundle = Model.of(model)
    return Beginning(bundle, head_only, adapt_bands)


def system_of(model: Model, system: str = "auto") -> str:
    """Return the system to train: the named one, or for `auto` the one that the bundle was trained with.

    Raises:
        ConfigurationError: If the bundle does not say.
    """
    if system != "auto":
        return system
    known = model.spec.training.get("system")
    if not known:
        raise ConfigurationError(f"{model.spec.name} does not say which system it is; name it with --system.")
    return str(known)
