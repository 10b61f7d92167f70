"""From the values of a label column to a legend and class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.legends import Legend, LegendClass

_MOST_CLASSES = 255


def normalise_values(values: Sequence[Any] | NDArray, field: str) -> list[str] | list[int]:
    """Return class values as all text or all integers.

    Booleans become `false` and `true`; whole-number floats (integer columns with gaps) become integers.

    Raises:
        LabelError: If the column holds fractions or dates.
    """
    listed = list(values.tolist() if isinstance(values, np.ndarray) else values)
    if all(isinstance(item, bool | np.bool_) for item in listed):
        return ["true" if item else "false" for item in listed]
    if all(isinstance(item, str) for item in listed):
        return [item.strip() for item in listed]
    if all(isinstance(item, int | float | np.number) for item in listed):
        if not all(float(item).is_integer() for item in listed):
            raise LabelError(
                f"The field {field!r} holds fractions, which are no classes; choose a text or integer field, "
                "or read it as a numeric target."
            )
        return [int(item) for item in listed]
    raise LabelError(f"The field {field!r} holds neither text nor numbers; choose a text or integer field.")


def legend_of(values: list[str] | list[int], name: str = "classes") -> Legend:
    """Make the legend of values: alphabetical for text, ascending for integers.

    Integers that all fit 0..254 keep their value as code; otherwise codes are 1..n.
    """
    distinct: list[Any] = sorted(set(values))
    if len(distinct) > _MOST_CLASSES - 1:
        raise LabelError(
            f"The labels have {len(distinct)} different values, more than the {_MOST_CLASSES - 1} classes that a "
            "map can hold; choose a field with fewer."
        )
    legend = Legend.from_names([str(item) for item in distinct], name=name)
    if all(isinstance(item, int) and 0 <= item < _MOST_CLASSES for item in distinct):
        classes = tuple(
            LegendClass(value=int(code), name=item.name, colour=item.colour)
            for code, item in zip(distinct, legend.classes, strict=True)
        )
        return Legend(name=name, classes=classes)
    return legend


def match_values(values: list[str] | list[int], legend: Legend, what: str) -> NDArray[np.int64]:
    """Return the channel of each value: text by class name, integers by code (or by a name of digits).

    Raises:
        LabelError: If a value is not in the legend.
    """
    names = {name: index for index, name in enumerate(legend.names)}
    codes = {code: index for index, code in enumerate(legend.values)}
    # The names 'str(number)' come from a legend made of integers that do not fit into a code.
    digits = all(name.lstrip("-").isdigit() for name in names)
    table: dict[str | int, int] = {}
    unknown: list[str] = []
    distinct: dict[str | int, None] = dict.fromkeys(values)
    for value in distinct:
        index = names.get(str(value)) if isinstance(value, str) or digits else codes.get(value)
        if index is None and isinstance(value, str) and value.isdigit():
            index = codes.get(int(value))  # a code typed into a text column
        if index is None:
            unknown.append(str(value))
        else:
            table[value] = index
    if unknown:
        shown = ", ".join(repr(item) for item in unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        raise LabelError(
            f"The {what} hold classes that are not in the legend: {shown}; it has: "
            f"{', '.join(f'{code} {name}' for code, name in zip(legend.values, legend.names, strict=True))}."
        )
    return np.array([table[value] for value in values], dtype=np.int64)


def drop_ignored(values: Sequence[Any], ignore: Sequence[str | int]) -> NDArray[np.bool_]:
    """Return which values stay, comparing as text so that `'0'` from a command line equals 0."""
    refused = {str(item) for item in ignore}
    return np.array([str(value) not in refused for value in values], dtype=bool)
