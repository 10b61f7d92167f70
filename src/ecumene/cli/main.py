"""Entry point of the `ecumene` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ecumene.cli import (
    assess,
    demo,
    despeckle,
    info,
    insar,
    listing,
    mapping,
    retrieve,
    sharpen,
    tomography,
    train,
    unmix,
)
from ecumene.core.errors import EcumeneError

app = typer.Typer(
    name="ecumene",
    help="Maps of the inhabited Earth from satellite images, each with its error bar and its outlier flag.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("info")(info.info)
app.command("train")(train.train)
app.command("map")(mapping.map_)
app.command("assess")(assess.assess)
app.command("demo")(demo.demo)
app.command("tomography")(tomography.tomography)
app.command("insar")(insar.insar)
app.command("unmix")(unmix.unmix)
app.command("sharpen")(sharpen.sharpen)
app.command("despeckle")(despeckle.despeckle)
app.command("retrieve")(retrieve.retrieve)
app.command("sensors")(listing.sensors)
app.command("systems")(listing.systems)


def _version(show: bool) -> None:
    if show:
        from ecumene._version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Maps of the inhabited Earth from satellite images, each with its error bar and its outlier flag."""


def main() -> None:
    """Run the command; print an `EcumeneError` as one sentence and exit with its code."""
    try:
        app(prog_name="ecumene")
    except EcumeneError as error:
        typer.echo(f"ecumene: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        # A training that is terminated leaves by a SystemExit of its own, without a code.
        if type(stop) is SystemExit or stop.code is not None:
            raise
        typer.echo("ecumene: terminated; the same command goes on where this one stopped.", err=True)
        sys.exit(143)
    except KeyboardInterrupt:
        typer.echo("ecumene: interrupted; the same command goes on where this one stopped.", err=True)
        sys.exit(130)
