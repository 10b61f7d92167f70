"""Published legends by name; each is a YAML file in `data` with codes, names, colours, groups and its source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ecumene.core.errors import ConfigurationError
from ecumene.legends.legend import Legend


@cache
def list_legends() -> tuple[str, ...]:
    """Return the names of all legends of the library, sorted."""
    folder = resources.files("ecumene.legends") / "data"
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


@cache
def get_legend(name: str) -> Legend:
    """Return a published legend.

    Args:
        name: One of `list_legends()`, such as `lcz`, `corine_level3`, `worldcover`.

    Returns:
        The legend; its `source` says where codes and colours come from.

    Raises:
        ConfigurationError: If there is no legend of that name.
    """
    if name not in list_legends():
        raise ConfigurationError(f"There is no legend {name!r}; there are: {', '.join(list_legends())}.")
    described = {key: value for key, value in _read(name).items() if key != "groups"}
    return Legend.model_validate(described)


def legend_groups(name: str) -> Mapping[str, tuple[int, ...]]:
    """Return the codes of the classes of a published legend that indicators take together.

    Args:
        name: One of `list_legends()`.

    Returns:
        `built-up`, `green` and `farmland`, as far as the legend's file says; pastures are farmland where the legend has
        them.

    Raises:
        ConfigurationError: If there is no legend of that name, or a group has a code that the legend has not.
    """
    known = set(get_legend(name).values)
    groups = {str(group): tuple(codes) for group, codes in _read(name).get("groups", {}).items()}
    for group, codes in groups.items():
        if not set(codes) <= known:
            raise ConfigurationError(f"The group {group} of the legend {name} has codes that the legend has not.")
    return groups


@cache
def _read(name: str) -> dict[str, Any]:
    text = (resources.files("ecumene.legends") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found
