"""What may be chosen for a series: methods, their options, and which method is taken where none is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecumene.change.breaks import BreakModel
from ecumene.core.errors import ConfigurationError
from ecumene.scenes.contract import SceneSource
from ecumene.workflows.given_options import given_options, refuse_others
from ecumene.workflows.series_values import check_values

RULES = ("likelihood", "steps", "majority")
"""How the year of first built-up is found."""
_FEW_RADAR = 12
_NAMED = "named by the user"


@dataclass(frozen=True)
class SeriesOptions:
    """What may be chosen.

    Attributes:
        method: `auto`, one of `OF_SCENES` or `OF_MAPS`.
        model: Folder of a model of one date: every scene is mapped with it, and the maps are followed.
        index: Spectral indices to follow; None: NDBI and NDVI.
        use_bands: Bands to follow instead.
        align: Whether scenes or maps may lie on other grids than the first.
        mask_clouds: Whether the scenes' own cloud masks count.
        breaks: Of `breaks`, `sequence` and `monitor`: fields of `BreakModel`; order and trend are those of the model of
            the season; the autocorrelation of `breaks` may be `auto`.
        most: Of `breaks` and `sequence`: largest number of changes of a pixel.
        confirm: Of `sequence`: observations in a row that make a change.
        confidence: Of `sequence`: quantile of the scores of noise above which an observation leaves the model.
        history: Last date of the stable history of `monitor`, which follows one value: the one that is named, else the
            first.
        false_alarms: Of `monitor`: probability that a stable pixel raises an alarm.
        looks: Of `omnibus`: equivalent number of looks; None: estimated.
        significance: Of `omnibus`: level of each test.
        coupling: Of `patterns`: price of unlike neighbours, in units of log probability; 0: pixels by themselves.
        objects: Of `patterns`: write polygons of neighbouring pixels that changed alike.
        after: Of `cusum`: product of `patterns` of the dates before.
        built_up: Of `growth`: classes that are built-up; None: what is known of the legend.
        rule: Of `growth`: one of `RULES`.
        certainty: Of maps without probabilities: how sure their classes are.
        count: Of `days`: the class.
        season: Of `days`: month and day at which a season begins, `MM-DD`.
        second: Of `days`: maps of another sensor, or folders of such maps, which fill gaps of the same dates.
        stay: Of `switches`: probability that a class stays.
        last: Of `switches`: dates that a new class must last.
        margin: Of `switches`: by how much it must be more probable.
        urban_boundary: Of `growth`: write the urban functional boundaries of all years.
        interval: Level of intervals.
        keep_maps: Whether the maps of the single dates are kept, in `maps/`.
        animation: Whether an animated picture is written.
        overwrite: Replace a product in the folder.
    """

    method: str = "auto"
    model: str | Path | None = None
    index: Sequence[str] | None = None
    use_bands: Sequence[str] | None = None
    align: bool = False
    mask_clouds: bool = True
    breaks: Mapping[str, Any] = field(default_factory=dict)
    most: int = 1
    confirm: int = 6
    confidence: float = 0.99
    history: str | None = None
    false_alarms: float = 0.05
    looks: float | None = None
    significance: float = 0.01
    coupling: float = 1.0
    objects: bool = False
    after: str | Path | None = None
    built_up: Sequence[str] | None = None
    rule: str = "likelihood"
    certainty: float = 0.9
    count: str | None = None
    season: str = "01-01"
    second: Sequence[str | Path] = ()
    stay: float = 0.95
    last: int = 2
    margin: float = 0.2
    urban_boundary: bool = False
    interval: float = 0.9
    keep_maps: bool = False
    animation: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class SeriesKind:
    """A method of the verb.

    Attributes:
        title: Of its product.
        least: Dates that it needs.
        maps: Whether it follows classes of maps, else values of scenes.
        options: Options that belong to it, besides those that every method has.
        model: Fields of `BreakModel` that mean something to it.
    """

    title: str
    least: int
    maps: bool
    options: tuple[str, ...] = ()
    model: tuple[str, ...] = ()


_BREAK_FIELDS = tuple(entry.name for entry in dataclasses.fields(BreakModel) if entry.name != "level")
METHODS: Mapping[str, SeriesKind] = {
    "breaks": SeriesKind("Date of change", 3, False, ("breaks", "interval", "most"), _BREAK_FIELDS),
    "sequence": SeriesKind(
        "Changes one after another", 3, False, ("breaks", "most", "confirm", "confidence"), ("order", "trend")
    ),
    "monitor": SeriesKind("Alarms", 3, False, ("breaks", "history", "false_alarms"), ("order", "trend")),
    "omnibus": SeriesKind("Changes of intensity", 2, False, ("looks", "significance")),
    "patterns": SeriesKind(
        "Patterns of change", 6, False, ("breaks", "interval", "coupling", "objects"), ("prior", "least")
    ),
    "cusum": SeriesKind("Alarms after a known series", 1, False, ("after",)),
    "statistics": SeriesKind("Statistics over time", 1, False),
    "trends": SeriesKind("Trend of yearly values", 3, False, ("interval",)),
    "growth": SeriesKind(
        "Year of first built-up", 2, True, ("built_up", "rule", "certainty", "urban_boundary", "interval")
    ),
    "switches": SeriesKind("Lasting switches of class", 2, True, ("certainty", "stay", "last", "margin")),
    "days": SeriesKind("Days of a class", 1, True, ("count", "season", "second", "interval")),
}
"""Methods by name."""
OF_SCENES = tuple(name for name, kind in METHODS.items() if not kind.maps)
OF_MAPS = tuple(name for name, kind in METHODS.items() if kind.maps)
_ALWAYS = ("method", "align", "animation", "overwrite")
_OF_VALUES = ("index", "use_bands", "mask_clouds")


def check_method(chosen: SeriesOptions) -> None:
    """Refuse methods and rules that do not exist, a model where none is needed, and no change at all.

    Raises:
        ConfigurationError: If that is so.
    """
    known = ("auto", *METHODS)
    if chosen.method not in known:
        raise ConfigurationError(f"There is no method {chosen.method!r} for series; choose one of: {', '.join(known)}.")
    if chosen.model is not None and chosen.method in OF_SCENES:
        raise ConfigurationError(
            f"The method {chosen.method} needs no model; leave out --model, or choose growth, switches or days."
        )
    if chosen.rule not in RULES:
        raise ConfigurationError(f"There is no rule {chosen.rule!r} for growth; choose one of: {', '.join(RULES)}.")
    if chosen.most < 1:
        raise ConfigurationError("The largest number of changes, --most, must be at least 1.")


def method_of_scenes(sources: Sequence[SceneSource], chosen: SeriesOptions) -> tuple[str, str]:
    """Return the method that follows scenes, and why it was taken.

    Raises:
        ConfigurationError: If the method follows maps, or an option means nothing to it.
    """
    name, reason = (
        _usual_of_scenes(sources, chosen) if chosen.method == "auto" else (chosen.method, "named by the user")
    )
    if METHODS[name].maps:
        raise ConfigurationError(
            f"The method {name} follows classes; give products of `ecumene map`, or a model with --model."
        )
    refuse_foreign(name, chosen, _OF_VALUES)
    return name, reason


def _usual_of_scenes(sources: Sequence[SceneSource], chosen: SeriesOptions) -> tuple[str, str]:
    if chosen.history is not None:
        return "monitor", "a history is stated"
    if chosen.after is not None:
        return "cusum", "a product of the dates before is stated"
    dates = len({str(source.time)[:10] for source in sources if source.sensor == sources[0].sensor})
    if sources[0].quantity == "backscatter" and dates < _FEW_RADAR:
        return "omnibus", f"{dates} dates of radar: too few for a model of the season"
    return "breaks", "a model of season and trend finds the date of a break with its interval"


def method_of_maps(chosen: SeriesOptions, *, patches: bool, mapped: bool) -> tuple[str, str]:
    """Return the method that follows maps, and why it was taken.

    Args:
        chosen: Options.
        patches: Whether the maps have one answer for each patch of a scene.
        mapped: Whether the maps are made on the way, from scenes.

    Raises:
        ConfigurationError: If the method follows scenes, or an option means nothing to it or is out of range.
    """
    name, reason = chosen.method, _NAMED
    if name == "auto" and chosen.count is not None:
        name, reason = "days", "a class is named whose days are counted"
    elif name == "auto" and patches:
        name, reason = "switches", "patches change their class as a whole"
    elif name == "auto":
        name, reason = "growth", "maps of classes show since when land is built-up"
    if not METHODS[name].maps:
        raise ConfigurationError(f"The method {name} follows values of scenes, but the inputs are maps; choose growth.")
    refuse_foreign(name, chosen, ("model", "keep_maps", "mask_clouds") if mapped else ())
    if chosen.rule != "likelihood":
        refuse_others([name for name in given_options(chosen) if name == "interval"], (), f"the rule {chosen.rule}")
    check_values(chosen)
    return name, reason


def refuse_foreign(name: str, chosen: SeriesOptions, more: Sequence[str]) -> None:
    """Refuse options that mean nothing to a method.

    Args:
        name: Of the method.
        chosen: Options.
        more: Options that mean something because of the inputs.

    Raises:
        ConfigurationError: If there is such an option.
    """
    given = [option for option in given_options(chosen) if option != "breaks"]  # its fields are options of their own
    refuse_others(given, (*_ALWAYS, *METHODS[name].options, *more), f"the method {name}")
    refuse_others(chosen.breaks, METHODS[name].model, f"the method {name}")


def refuse_several_values(named: Sequence[str]) -> None:
    """Refuse several indices or bands where one is monitored.

    Raises:
        ConfigurationError: If more than one is named.
    """
    if len(named) > 1:
        raise ConfigurationError(f"Monitoring follows one value, but {', '.join(named)} are named; name one of them.")
