"""Systems by name. Adding one is adding a module here that defines `SYSTEM`, and its name below."""

from __future__ import annotations

import difflib
import importlib

from ecumene.core.errors import ConfigurationError
from ecumene.systems.contract import PublishedFigure, System

__all__ = ["PublishedFigure", "System", "get_system", "list_systems"]

_MODULES = (
    "unet_small",
    "unet_resnet18",
    "ltae_series",
    "mimo_unet",
    "mlp_pixel",
    "random_forest",
    "gradient_boosting",
)


def list_systems() -> tuple[System, ...]:
    """Return all systems in the order of the list."""
    return tuple(importlib.import_module(f"ecumene.systems.{name}").SYSTEM for name in _MODULES)


def get_system(name: str) -> System:
    """Return a system by name.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    systems = {system.name: system for system in list_systems()}
    if name not in systems:
        near = difflib.get_close_matches(name, systems, n=3) or sorted(systems)
        raise ConfigurationError(
            f"There is no system {name!r}; did you mean {', '.join(near)}? `ecumene systems` lists all."
        )
    return systems[name]
