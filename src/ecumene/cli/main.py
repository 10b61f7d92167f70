"""Entry point of the `ecumene` command."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from ecumene.cli import (
    assess,
    attention,
    bench,
    change,
    clear,
    convert,
    datasets,
    demo,
    despeckle,
    explain,
    export,
    indicators,
    info,
    insar,
    listing,
    mapping,
    patches,
    probe,
    report,
    retrieve,
    run,
    series,
    sharpen,
    simulate,
    tomography,
    train,
    trust,
    unmix,
    verify,
    view,
)
from ecumene.core import events
from ecumene.core.errors import INTERRUPTED, TERMINATED, EcumeneError, exit_codes

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
app.command("probe")(probe.probe)
app.command("map")(mapping.map_)
app.command("export")(export.export)
app.command("convert")(convert.convert)
app.command("assess")(assess.assess)
app.command("change")(change.change)
app.command("series")(series.series)
app.command("verify")(verify.verify)
app.command("indicators")(indicators.indicators)
app.command("report")(report.report)
app.command("run")(run.run)
app.command("trust")(trust.trust)
app.command("explain")(explain.explain)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("tomography")(tomography.tomography)
app.command("insar")(insar.insar)
app.command("unmix")(unmix.unmix)
app.command("sharpen")(sharpen.sharpen)
app.command("clear")(clear.clear)
app.command("despeckle")(despeckle.despeckle)
app.command("retrieve")(retrieve.retrieve)
app.command("bench")(bench.bench)
app.command("view")(view.view)
app.command("attention")(attention.attention)
app.command("patches")(patches.patches)
app.command("sensors")(listing.sensors)
app.command("systems")(listing.systems)
app.command("datasets")(datasets.datasets)


def _version(show: bool) -> None:
    if show:
        from ecumene._version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback(epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in exit_codes().items()))
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write events as JSON lines to standard error, instead of progress bars.")
    ] = False,
) -> None:
    """Maps of the inhabited Earth from satellite images, each with its error bar and its outlier flag."""
    if log_json:
        events.enable()
        events.emit("started", command=context.invoked_subcommand)


def _leave(code: int, sentence: str, kind: str) -> NoReturn:
    """Print (or log) why the command ends, and exit."""
    if events.enabled():
        events.emit("failed", level="error", kind=kind, message=sentence)
        events.emit("finished", exit_code=code)
    else:
        typer.echo(f"ecumene: {sentence}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command; print an `EcumeneError` as one sentence and exit with its code."""
    try:
        app(prog_name="ecumene")
    except EcumeneError as error:
        _leave(error.exit_code, str(error), type(error).__name__)
    except SystemExit as stop:
        # A training that is terminated leaves by a SystemExit of its own, without a code.
        if type(stop) is SystemExit or stop.code is not None:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            events.emit("finished", exit_code=code)
            raise
        _leave(TERMINATED, "terminated; the same command goes on where this one stopped.", "Terminated")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted; the same command goes on where this one stopped.", "Interrupted")
    except Exception as error:  # a defect of ours: machines that read the events learn of it, people see the traceback
        events.emit("failed", level="error", kind=type(error).__name__, message=str(error))
        events.emit("finished", exit_code=1)
        raise
