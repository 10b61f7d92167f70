"""Which classes of the published legends are built-up, green or farmland."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend

GROUPS = ("built-up", "green", "farmland")

_CODES: Mapping[str, Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "worldcover": {"built-up": (50,), "green": (10, 20, 30, 90, 95), "farmland": (40,)},
        "dynamic_world": {"built-up": (6,), "green": (1, 2, 3, 5), "farmland": (4,)},
        "igbp": {"built-up": (13,), "green": tuple(range(1, 12)), "farmland": (12, 14)},
        "igbp_simplified": {"built-up": (7,), "green": (1, 2, 3, 4, 5), "farmland": (6,)},
        "corine_level1": {"built-up": (1,), "green": (3, 4), "farmland": (2,)},
        "corine_level2": {"built-up": (11, 12, 13), "green": (14, 31, 32, 41, 42), "farmland": (21, 22, 23, 24)},
        "corine_level3": {
            "built-up": tuple(range(1, 10)),
            "green": (10, 11, *range(23, 30), *range(35, 40)),
            "farmland": tuple(range(12, 23)),
        },
        "urban_atlas": {
            "built-up": (*range(1, 13), 14),
            "green": (16, 17, 23, 24, 26),
            "farmland": (18, 19, 20, 21, 22),
        },
        "lcz": {"built-up": tuple(range(1, 11)), "green": (11, 12, 13), "farmland": ()},
        "simulated-city": {"built-up": (6, 7, 8), "green": (2, 3), "farmland": (4,)},
    }
)
"""Codes by name of the legend. Pastures are farmland where the legend has them; low plants of the local climate zones
may be either, and belong to neither."""


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
    known = _CODES.get(legend.name, {}).get(group)
    if known is not None:
        return tuple(code for code in known if code in legend.values)
    return tuple(code for code, name in zip(legend.values, legend.names, strict=True) if _plain(name) == _plain(group))


def _plain(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ").strip()
