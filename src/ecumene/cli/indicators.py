"""`ecumene indicators`: what the growth of cities means, in the figures that reports ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ecumene.cli import options as opt

_Names = list[str] | None
_CHOICES: Mapping[str, Any] = {
    "name_field": Annotated[str | None, typer.Option(help="Column with the cities' names; default: name.")],
    "built_up": Annotated[_Names, typer.Option(help="Class that is built-up; repeat for several.")],
    "green": Annotated[_Names, typer.Option(help="Class that is green; repeat for several.")],
    "farmland": Annotated[_Names, typer.Option(help="Class that is farmland; repeat for several.")],
    "open_space": Annotated[_Names, typer.Option(help="Class that is open space (SDG 11.7.1); repeat for several.")],
    "streets": Annotated[_Names, typer.Option(help="Class that is street (SDG 11.7.1); repeat for several.")],
    "population_unit": Annotated[
        str | None, typer.Option(help="Of population rasters: persons-per-pixel (default) or persons-per-km2.")
    ],
    "population_field": Annotated[str | None, typer.Option(help="Column with the persons of census zones.")],
    "distribute": Annotated[
        str | None,
        typer.Option(help="Persons within a cell or zone: even (default for rasters) or built-up (for census zones)."),
    ],
    "built_up_correlation": Annotated[
        float | None,
        typer.Option(help="Correlation of the errors of built-up land of two years, 0 to 1; default 0, the safe side."),
    ],
    "form": Annotated[
        str | None,
        typer.Option(help="Form of SDG 11.3.1 in sentences and charts: logarithmic (default) or metadata-2021."),
    ],
    "confidence": Annotated[float | None, typer.Option(help="Confidence of the intervals; default 0.95.")],
}
_ERRORS: Mapping[str, Any] = {
    "population_error": Annotated[
        _Names, typer.Option(help="Relative standard error of the population, 0.03 or YEAR=0.03.")
    ],
    "built_up_error": Annotated[
        _Names, typer.Option(help="Relative standard error of built-up land, 0.05 or YEAR=0.05.")
    ],
    "assessment": Annotated[_Names, typer.Option(help="YEAR=FILE: what `ecumene assess --out` wrote about the map.")],
}


@opt.grouped(choices=_CHOICES, errors=_ERRORS)
def indicators(
    products: Annotated[
        list[str],
        typer.Argument(
            help="Products of built-up land, one a year in the order of time (or YEAR=PRODUCT), or one product with "
            "the year of first built-up.",
            metavar="PRODUCT...",
            show_default=False,
        ),
    ],
    population: Annotated[
        list[str],
        typer.Option(help="YEAR=FILE: persons as GeoTIFF, or census zones as vector file.", show_default=False),
    ],
    boundaries: Annotated[Path, typer.Option(help="Vector file with the cities' polygons.", show_default=False)],
    out: opt.Out,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace indicators in the folder.")] = False,
    *,
    choices: opt.Group,
    errors: opt.Group,
) -> None:
    """Compute SDG 11.3.1 and what belongs to it for every city: table, GeoParquet, JSON and a page with charts."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.indicators import IndicatorOptions, compute_indicators

    chosen = IndicatorOptions(
        population_errors=_errors(errors["population_error"], "--population-error"),
        built_up_errors=_errors(errors["built_up_error"], "--built-up-error"),
        assessments={year: Path(text) for year, text in _by_year(errors["assessment"], "--assessment")},
        overwrite=overwrite,
        **{name: value for name, value in choices.items() if value not in (None, [])},
    )
    files = _by_year(population, "--population")
    with progress_bar("indicators") as progress:
        found = compute_indicators(products, files, boundaries, out, chosen, progress=progress)
    for text in (*found.sentences, *(f"note: {note}" for note in found.notes)):
        typer.echo(text)
    typer.echo(f"table, GeoParquet, JSON and page are in {found.folder}")


def _by_year(values: list[str] | None, option: str) -> list[tuple[int, str]]:
    """Return (year, text) of every `YEAR=TEXT`, in the order given."""
    from ecumene.core.errors import ConfigurationError

    found = []
    for value in values or []:
        year, equals, text = value.partition("=")
        if not (equals and text and year.isdecimal() and len(year) == 4):
            raise ConfigurationError(f"{option} {value!r} is not YEAR=VALUE; write for example {option} 2015=....")
        found.append((int(year), text))
    return found


def _errors(values: list[str] | None, option: str) -> dict[int, float]:
    """Return errors by year; a value without year stands under 0 for all."""
    from ecumene.core.errors import ConfigurationError

    found = {}
    for value in values or []:
        year, text = (0, value) if "=" not in value else _by_year([value], option)[0]
        try:
            found[year] = float(text)
        except ValueError as error:
            raise ConfigurationError(f"{option} {value!r} is not a number; write for example 0.03.") from error
    return found
