"""`ecumene assess`: how good a map is, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def assess(
    product: Annotated[Path, typer.Argument(help="Folder of a product.", show_default=False)],
    reference: Annotated[Path, typer.Option(help="Vector file with reference labels.", show_default=False)],
    field: Annotated[
        str | None, typer.Option(help="Column of the reference; default: class, or the name of the map's number.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the assessment as JSON here.")] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the intervals.")] = 0.95,
) -> None:
    """Compare a map with reference labels: accuracy and areas of classes, errors and coverage of numbers."""
    from ecumene.cli.printing import print_assessment
    from ecumene.workflows.assess import assess_product

    print_assessment(assess_product(product, reference, field=field, out=out, confidence=confidence))
