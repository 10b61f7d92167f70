"""Published data sets by name. Adding one is adding a module here that defines its class, and its line below.

A class is a `DataSet` of images with answers, a `pairs.PairDataSet`, or `growth_sites.GrowthSites`.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from ecumene.core.errors import ConfigurationError
from ecumene.samples.datasets.contract import DataSet, DataSetInfo

Kind = TypeVar("Kind")

__all__ = [
    "DataSet",
    "DataSetInfo",
    "Described",
    "any_data_set_class",
    "class_of_kind",
    "data_set_class",
    "list_data_sets",
    "open_data_set",
]

_DATA_SETS: dict[str, tuple[str, str]] = {
    # name: (module, class)
    "eurosat": ("eurosat", "EuroSat"),
    "sen12ms": ("sen12ms", "Sen12Ms"),
    "ucm-multilabel": ("ucm_multilabel", "UcmMultiLabel"),
    "rsscn7": ("image_folders", "Rsscn7"),
    "image-folders": ("image_folders", "ImageFolders"),
    "so2sat-lcz42": ("so2sat_lcz42", "So2SatLcz42"),
    "pavia-university": ("cubes", "PaviaUniversity"),
    "indian-pines": ("cubes", "IndianPines"),
    "salinas": ("cubes", "Salinas"),
    "houston-2013": ("cubes", "Houston2013"),
    "sen12ms-cr": ("sen12ms_cr", "Sen12MsCr"),
    "sen12ms-cr-ts": ("sen12ms_cr_ts", "Sen12MsCrTs"),
    "oscd": ("oscd", "Oscd"),
    "growth-sites": ("growth_sites", "GrowthSites"),
}


class Described(Protocol):
    """What every data set is, whether it holds images with answers, pairs of dates or places."""

    info: ClassVar[DataSetInfo]


def any_data_set_class(name: str) -> type[Described]:
    """Return the class of a data set of any kind.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in _DATA_SETS:
        near = difflib.get_close_matches(name, _DATA_SETS, n=3) or sorted(_DATA_SETS)
        raise ConfigurationError(
            f"There is no data set {name!r}; did you mean {', '.join(near)}? `ecumene datasets` lists all."
        )
    module, class_name = _DATA_SETS[name]
    loaded: type[Described] = getattr(importlib.import_module(f"ecumene.samples.datasets.{module}"), class_name)
    return loaded


def class_of_kind(name: str, kind: type[Kind], otherwise: str) -> type[Kind]:
    """Return the class of a data set of one kind.

    Args:
        name: Of the data set.
        kind: What it must be.
        otherwise: What the sentence says of one that is something else, after its name.

    Raises:
        ConfigurationError: If there is none of that name, or it holds something else.
    """
    found = any_data_set_class(name)
    if not issubclass(found, kind):
        raise ConfigurationError(f"The data set {name} {otherwise}.")
    return found


def data_set_class(name: str) -> type[DataSet]:
    """Return the class of a data set of images with answers.

    Raises:
        ConfigurationError: If there is none of that name, or it holds something else.
    """
    otherwise = (
        "holds places at several dates, not images with one answer each;"
        " train a system that names it (`ecumene systems`)"
    )
    return class_of_kind(name, DataSet, otherwise)  # type: ignore[type-abstract]  # asked for, not made


def list_data_sets() -> tuple[DataSetInfo, ...]:
    """Return what is known of every data set, in the order of the list."""
    return tuple(any_data_set_class(name).info for name in _DATA_SETS)


def open_data_set(name: str, folder: str | Path, **options: Any) -> DataSet:
    """Open a data set by name.

    Raises:
        EcumeneError: If the name is unknown, or the files are missing or wrong.
    """
    data = data_set_class(name).open(folder, **options)
    data.options = dict(options)
    return data
