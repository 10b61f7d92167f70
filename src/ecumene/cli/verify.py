"""`ecumene verify`: which polygons of a land-use map disagree with the image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecumene.cli import options as opt


def verify(
    polygons: Annotated[Path, typer.Argument(help="Vector file with a class for each polygon.", show_default=False)],
    product: Annotated[Path, typer.Option(help="Folder of a map of classes.", show_default=False)],
    out: opt.Out,
    field: Annotated[str, typer.Option(help="Column with the class.")] = "class",
    layer: Annotated[str | None, typer.Option(help="Layer of a file with several.")] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="VALUE=NAME: class of the map for a value of the column; repeat, also for one."),
    ] = None,
    legend: Annotated[
        str | None, typer.Option(help="Published legend of the column's values; a crosswalk leads to the map's.")
    ] = None,
    inset: Annotated[float, typer.Option(help="Metres along the border of a polygon that are left out.")] = 0.0,
    prior: Annotated[float, typer.Option(help="Share of polygons that are wrong, beforehand.")] = 0.05,
    correlation: Annotated[
        float | None, typer.Option(help="Of the map's errors within a polygon, 0 to 1; else estimated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a verification in the folder.")] = False,
) -> None:
    """Rank polygons by how probably their class is wrong: GeoPackage, GeoParquet, CSV and a page with charts."""
    from rich.console import Console
    from rich.table import Table

    from ecumene.core.progress import progress_bar
    from ecumene.workflows.verify import VerifyOptions, verify_polygons

    chosen = VerifyOptions(
        column=field,
        layer=layer,
        classes=_classes(class_),
        legend=legend,
        inset=inset,
        prior=prior,
        correlation=correlation,
        overwrite=overwrite,
    )
    with progress_bar("verify") as progress:
        found = verify_polygons(polygons, product, out, chosen, progress=progress)
    shown = Table("rank", "row", field, "mapped", "pixels", "agree", "wrong", title="most doubtful polygons")
    for _, row in found.table.head(10).iterrows():
        shown.add_row(
            str(row["rank"]), str(row["row"]), str(row[field]), str(row["mapped"]), str(row["pixels"]),
            f"{row['share_agrees']:.1%}", f"{row['probability_wrong']:.3f}",
        )  # fmt: skip
    Console().print(shown)
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"all {len(found.table)} polygons are in {found.folder}")


def _classes(given: list[str] | None) -> dict[str, list[str]]:
    """Return classes by value of the column."""
    from ecumene.core.errors import ConfigurationError

    found: dict[str, list[str]] = {}
    for text in given or []:
        value, equals, name = text.partition("=")
        if not (equals and value.strip() and name.strip()):
            raise ConfigurationError(
                f"--class {text!r} is not VALUE=NAME; write for example --class residential=urban."
            )
        found.setdefault(value.strip(), []).append(name.strip())
    return found
