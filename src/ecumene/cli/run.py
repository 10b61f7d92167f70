"""`ecumene run`: a whole study from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    study: Annotated[Path, typer.Argument(help="Study file (YAML).", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print stages, tiles, bytes to read, time and memory; change nothing.")
    ] = False,
) -> None:
    """Run a study: train, map, assess, report; the same command goes on where it stopped."""
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.study import run_study
    from ecumene.workflows.study_estimate import estimate_study

    if dry_run:
        for line in estimate_study(study).lines():
            typer.echo(line)
        return
    with progress_bar("run") as progress:
        paths = run_study(study, progress=progress)
    typer.echo(f"{paths.study.name}: done, see {paths.out}")
