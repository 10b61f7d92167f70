"""Options that several verbs share, and how a verb takes a group of them as one dictionary."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

_SCENES = typer.Argument(
    help="Scenes: GeoTIFF, folder, .SAFE, Landsat MTL, STAC item or scene.yaml; join files of one scene with '+'.",
    metavar="SCENE...",
    show_default=False,
)
Scenes = Annotated[list[str], _SCENES]
ScenesOrNone = Annotated[list[str] | None, _SCENES]
Sensor = Annotated[str | None, typer.Option(help="Sensor id, e.g. sentinel-2 (see `ecumene sensors`).")]
Level = Annotated[str | None, typer.Option(help="Product level, e.g. L1C.")]
Scale = Annotated[float | None, typer.Option(help="physical = stored * SCALE + OFFSET.")]
Offset = Annotated[float | None, typer.Option(help="physical = stored * SCALE + OFFSET.")]
Nodata = Annotated[float | None, typer.Option(help="Stored value without data (nan is possible).")]
Unit = Annotated[str | None, typer.Option(help="Unit of the physical values, e.g. dB.")]
Crs = Annotated[str | None, typer.Option(help="CRS of files that state none, e.g. EPSG:32633.")]
Bands = Annotated[
    list[str] | None,
    typer.Option("--bands", "-b", help="Band names in file order: repeat the option, or separate them by commas."),
]
Time = Annotated[
    list[str] | None, typer.Option("--time", help="Acquisition time (UTC), once for all scenes or once per scene.")
]
CloudMask = Annotated[
    bool,
    typer.Option(
        "--cloud-mask/--no-cloud-mask",
        help="Leave out clouds and shadows (SCL, QA bits, or `mask: rule` in scene.yaml).",
    ),
]
CloudMaskOrNone = Annotated[
    bool | None, typer.Option("--cloud-mask/--no-cloud-mask", help="Leave out clouds; default: as in the training.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a product in the folder.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)]


def split_list(values: list[str] | None) -> list[str] | None:
    """Flatten repeated and comma-separated values; None stays None."""
    if not values:
        return None
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def split_pair(text: str, option: str, what: str = "two numbers") -> tuple[float, float]:
    """Return the two numbers of an option.

    Raises:
        ConfigurationError: If the text is not two numbers.
    """
    from ecumene.core.errors import ConfigurationError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"{option} must be {what} separated by a comma, not {text!r}.") from error
    return low, high


def parse_options(pairs: list[str] | None, option: str = "--data-option", example: str = "bands=rgb") -> dict[str, Any]:
    """Return NAME=VALUE pairs as a dictionary: JSON values as such, lists at commas, everything else as text.

    Args:
        pairs: As typed; hyphens in names count as underscores.
        option: Its name, for the sentence that refuses a pair.
        example: Of a pair.

    Raises:
        ConfigurationError: If a pair has no `=`, no name or no value.
    """
    import json

    from ecumene.core.errors import ConfigurationError

    options: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_")
        if not (equals and value and name.isidentifier()):
            raise ConfigurationError(f"{option} takes NAME=VALUE, such as {example}, not {pair!r}.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value.split(",") if "," in value else value
    return options


Group = dict[str, Any]
"""The values of a group of options, by name."""

DECLARATION: Mapping[str, Any] = {
    "sensor": Sensor,
    "level": Level,
    "scale": Scale,
    "offset": Offset,
    "nodata": Nodata,
    "unit": Unit,
    "bands": Bands,
    "time": Time,
    "crs": Crs,
}
"""What scenes' files may not say: option and annotation, in the order of `--help`."""


def grouped(**groups: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a verb take groups of options as one dictionary each, while its command line has every option by itself.

    Args:
        **groups: For a keyword-only parameter of the verb, the options in it: name and annotation; all default to None.

    Returns:
        A decorator. The values of a group named `declaration` have `bands` and `time` split at commas.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def command(**given: Any) -> None:
            collected = {group: {name: given.pop(name) for name in options} for group, options in groups.items()}
            if "declaration" in collected:
                said = collected["declaration"]
                said |= {name: split_list(said[name]) for name in ("bands", "time")}
            verb(**given, **collected)

        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(verb, eval_str=True).parameters.items():
            if name not in groups:
                parameters.append(parameter)
                continue
            parameters += [
                inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
                for option, annotation in groups[name].items()
            ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate
