"""Published legends by name; each is a YAML file in `data` with codes, names, colours and its source."""

from __future__ import annotations

from functools import cache
from importlib import resources

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
    text = (resources.files("ecumene.legends") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    return Legend.model_validate(yaml.safe_load(text))
