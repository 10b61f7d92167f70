"""Methods of change between two dates by name."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ecumene.change.contract import ChangeMethod, ChangeResult, ImagePair, join_results
from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class ChangeMethodInfo:
    """What is known of a method before its module is imported.

    Attributes:
        name: What `build_change_method` takes.
        title: One line for people.
        intensities: True if it needs linear SAR intensities, False if any bands in physical units.
        module: Its module.
        class_name: Its class.
        options: Options that differ from the class's.
    """

    name: str
    title: str
    intensities: bool
    module: str
    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)


_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)
_MODULE = "ecumene.change."
_METHODS = {
    info.name: info
    for info in (
        ChangeMethodInfo("cva", "change vector analysis", False, _MODULE + "cva", "ChangeVectorAnalysis"),
        ChangeMethodInfo(
            "mad",
            "multivariate alteration detection",
            False,
            _MODULE + "irmad",
            "IterativelyReweightedMad",
            {"rounds": 1},
        ),
        ChangeMethodInfo(
            "irmad",
            "iteratively reweighted multivariate alteration detection",
            False,
            _MODULE + "irmad",
            "IterativelyReweightedMad",
        ),
        ChangeMethodInfo("sfa", "slow feature analysis", False, _MODULE + "sfa", "SlowFeatureAnalysis"),
        ChangeMethodInfo(
            "isfa", "iterated slow feature analysis", False, _MODULE + "sfa", "SlowFeatureAnalysis", {"rounds": 50}
        ),
        ChangeMethodInfo(
            "pca-kmeans",
            "principal components and k-means of neighbourhoods",
            False,
            _MODULE + "pca_kmeans",
            "PcaKMeans",
        ),
        ChangeMethodInfo("log-ratio", "logarithm of the ratio of local means", True, _MODULE + "ratio", "RatioMethod"),
        ChangeMethodInfo(
            "mean-ratio", "ratio of local means", True, _MODULE + "ratio", "RatioMethod", {"form": "mean"}
        ),
        ChangeMethodInfo(
            "likelihood-ratio",
            "test of equal reflectivity with a false alarm rate",
            True,
            _MODULE + "likelihood_ratio",
            "LikelihoodRatio",
        ),
        ChangeMethodInfo(
            "ratio-variation",
            "log-ratio with a smoothness prior, edges kept",
            True,
            _MODULE + "ratio_variation",
            "RatioVariation",
        ),
    )
}


def list_change_methods() -> tuple[ChangeMethodInfo, ...]:
    """Return all methods between two dates."""
    return tuple(_METHODS.values())


def change_method_info(name: str) -> ChangeMethodInfo:
    """Return what is known of a method.

    Args:
        name: Of the method.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in _METHODS:
        near = difflib.get_close_matches(name, _METHODS, n=1)
        hint = f"did you mean {near[0]}" if near else f"choose one of {', '.join(_METHODS)}"
        raise ConfigurationError(f"There is no change method {name!r}; {hint}.")
    return _METHODS[name]


def build_change_method(name: str, **options: Any) -> ChangeMethod:
    """Make a method.

    Args:
        name: Of the method.
        **options: Attributes of its class.

    Raises:
        ConfigurationError: If there is no such method or option.
    """
    info = change_method_info(name)
    kind = getattr(importlib.import_module(info.module), info.class_name)
    known = [entry.name for entry in dataclasses.fields(kind)]
    for option in options:
        if option not in known:
            raise ConfigurationError(f"The method {name} has no option {option!r}; it has {', '.join(known)}.")
    method: ChangeMethod = kind(**{**info.options, **_typed(name, kind, options)})
    return method


def _typed(name: str, kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the types that the method states for them.

    Raises:
        ConfigurationError: If a value is of another type.
    """
    stated, found = typing.get_type_hints(kind), {}
    for option, value in options.items():
        try:
            found[option] = TypeAdapter(stated[option], config=_ANY_TYPE).validate_python(value)
        except ValidationError as error:
            raise ConfigurationError(
                f"The option {option} of the method {name} cannot be {value!r}: {error.errors()[0]['msg']}."
            ) from error
    return found


def detect_change(pair: ImagePair, method: str | ChangeMethod, **options: Any) -> ChangeResult:
    """Find change between two dates with the whole result in memory.

    For scenes larger than memory use the method's `fit`, then `apply` for each of `pair.blocks(margin)`.

    Args:
        pair: The two dates.
        method: A name, or a method.
        **options: Of the method, if it is a name.

    Raises:
        ConfigurationError: If there is no such method or option.
        SceneError: If the data cannot be used; the sentence says why.
    """
    chosen = build_change_method(method, **options) if isinstance(method, str) else method
    fitted = chosen.fit(pair)
    return join_results(pair.shape, ((block, fitted.apply(block)) for block in pair.blocks(fitted.margin)))
