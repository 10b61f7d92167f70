"""Which classes of the published legends are built-up, green or farmland."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.legends.library import legend_groups, list_legends
from ecumene.simulate.cover import GROUPS as SIMULATED_GROUPS
from ecumene.simulate.cover import LEGEND as SIMULATED

GROUPS = ("built-up", "green", "farmland")


def class_codes(legend: Legend, group: str, names: Sequence[str] | None = None) -> tuple[int, ...]:
    """Return the codes of a group of classes.

    Args:
        legend: Of the map.
        group: One of `GROUPS`.
        names: Classes by name, as the user says; None: what is known of a published legend of this name with these
            codes, else a class whose name is that of the group.

    Returns:
        Codes, ascending; none where nothing is known.

    Raises:
        ConfigurationError: If a named class is not in the legend.
    """
    if names is not None:
        if unknown := [name for name in names if name not in legend.names]:
            raise ConfigurationError(
                f"The map has no class {unknown[0]!r} to count as {group}; it has: {', '.join(legend.names)}."
            )
        return tuple(sorted(legend.values[legend.names.index(name)] for name in names))
    known = _groups(legend.name).get(group)
    if known is not None:
        return tuple(code for code in known if code in legend.values)
    return tuple(code for code, name in zip(legend.values, legend.names, strict=True) if _plain(name) == _plain(group))


def _groups(name: str) -> Mapping[str, tuple[int, ...]]:
    if name == SIMULATED.name:
        return SIMULATED_GROUPS
    return legend_groups(name) if name in list_legends() else {}


def _plain(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ").strip()
