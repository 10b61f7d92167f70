"""Which crosswalk leads from the classes of a map or a data set to another legend."""

from __future__ import annotations

from pathlib import Path

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.legends import Legend
from ecumene.legends.crosswalk import Crosswalk, get_crosswalk, read_crosswalk
from ecumene.legends.library import get_legend, list_legends


def find_crosswalk(
    own: Legend, legend: str | None, crosswalk: str | Path | None, source: str | None, option: str
) -> Crosswalk:
    """Return the crosswalk for classes, in their order.

    That classes have the names of a published legend does not make them its classes: `Forest` and `River` are in many.
    So a legend counts as a published one by its own name, or because the user says so.

    Args:
        own: The classes.
        legend: Name of the published legend to go to; not needed with a crosswalk of one's own.
        crosswalk: A file of one's own instead of the published crosswalk.
        source: Published legend whose class names are used, where the own name does not say so.
        option: By which the user says so.

    Raises:
        ConfigurationError: If there is no such legend, or no way to it.
        LabelError: If nothing says which published legend the classes are of, or they are not its classes.
    """
    if crosswalk is not None:
        walk = read_crosswalk(crosswalk)
        if legend is not None and walk.target.name != legend:
            raise ConfigurationError(f"The crosswalk goes to {walk.target.name}, not to {legend}; leave out --legend.")
        return walk.of(own)
    if legend is None:
        raise ConfigurationError("Name the legend to go to with --legend, or give a --crosswalk.")
    get_legend(legend)
    name = source or own.name
    if source is None and name not in list_legends():
        fitting = [item for item in list_legends() if set(own.names) <= set(get_legend(item).names)]
        if not fitting:
            raise LabelError(
                f"The legend {own.name!r} is no published legend, and none has its classes "
                f"({', '.join(own.names[:6])}); give your own --crosswalk."
            )
        raise LabelError(
            f"The legend {own.name!r} is no published legend; if its classes mean those of {' or '.join(fitting)}, "
            f"say so with {option} {fitting[0]}."
        )
    return get_crosswalk(name, legend).of(own)
