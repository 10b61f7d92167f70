"""`ecumene view`: products in a browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecumene.cli import options as opt

if TYPE_CHECKING:
    from ecumene.workflows.view import Announcement, ViewOptions


@opt.grouped(declaration=opt.DECLARATION)
def view(
    products: Annotated[
        list[Path], typer.Argument(help="Folders of products or collections.", metavar="PRODUCT...", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one if it is in use.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    model: Annotated[
        list[Path] | None, typer.Option(help="Model that made a product: its figures become charts; repeatable.")
    ] = None,
    assessment: Annotated[
        Path | None, typer.Option(help="JSON of `ecumene assess --out`: accuracy and areas with intervals.")
    ] = None,
    basemap: Annotated[
        str | None, typer.Option(help="Map tiles below the product, https://host/{z}/{x}/{y}.png; default: none.")
    ] = None,
    attribution: Annotated[str, typer.Option(help="Who made the base map.")] = "",
    export: Annotated[
        Path | None, typer.Option(help="Write a static site here instead of serving: for any web server, no Python.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier --export.")] = False,
    assess: Annotated[
        Path | None, typer.Option(help="Sample points to judge from image chips, saved as reference labels in --out.")
    ] = None,
    scenes: Annotated[
        list[str] | None,
        typer.Option(help="Scene to judge --assess points from, or to explain places of --model's map; repeatable."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="GeoPackage of the labels of --assess; goes on where it ends.")
    ] = Path("labels.gpkg"),
    *,
    declaration: opt.Group,
) -> None:
    """Show maps with their error bars in a browser; compare them, slide through dates, ask single pixels."""
    from ecumene.core.errors import ConfigurationError
    from ecumene.workflows.view import ViewOptions, view_products

    if export is not None and assess is not None:
        raise ConfigurationError("--export and --assess are two things; give one of them.")
    if export is not None and scenes:
        raise ConfigurationError("A static site has no model to explain places with; leave --scenes out.")
    if assess is not None and len(products) != 1:
        raise ConfigurationError("--assess judges the sample of one map; give that product alone.")

    options = ViewOptions(
        host=host,
        port=port,
        browser=browser,
        models=tuple(model or ()),
        assessment=assessment,
        basemap=basemap,
        attribution=attribution,
        scenes=tuple(scenes or ()) if assess is None and export is None else (),
        declaration=declaration,
    )
    if export is not None:
        _export(products, export, options, overwrite)
    elif assess is not None:
        _assess(products[0], assess, out, scenes or [], options)
    else:
        view_products(products, options, announce=partial(_announce, browser))


def _announce(browser: bool, up: Announcement) -> None:
    from ecumene.core import events

    for warning in up.warnings:
        typer.echo(f"note: {warning}", err=True)
    opened = "" if up.opened or not browser else " (this machine has no browser: open the address in one)"
    typer.echo(f"{len(up.products)} product(s) at {up.address}{opened}; Ctrl-C ends it.")
    events.emit("serving", address=up.address, products=len(up.products))


def _export(products: list[Path], out: Path, options: ViewOptions, overwrite: bool) -> None:
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.view_export import export_products

    notes: list[str] = []
    with progress_bar("export") as progress:
        written = export_products(products, out, options, overwrite=overwrite, progress=progress, warn=notes.append)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"Site: {written}; put the folder on any web server or object store.")


def _assess(product: Path, points: Path, out: Path, scenes: list[str], options: ViewOptions) -> None:
    from ecumene.core import events
    from ecumene.workflows.view_assess import open_sheet, serve_sheet

    def announce(up: Announcement) -> None:
        for warning in up.warnings:
            typer.echo(f"note: {warning}", err=True)
        opened = "" if up.opened or not options.browser else " (this machine has no browser: open the address in one)"
        typer.echo(f"{up.products[0]}, saved in {out}: {up.address}{opened}; Ctrl-C ends it.")
        events.emit("serving", address=up.address, products=1)

    sheet = open_sheet(product, points, out, scenes, options.declaration)
    serve_sheet(sheet, options, announce=announce)
