"""One self-contained HTML page about a product: pictures, tables, reliability, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ecumene.core.files import write_text
from ecumene.legends import Legend


@dataclass(frozen=True)
class Picture:
    """A picture as data URI with its caption."""

    title: str
    uri: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of text cells."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Diagram:
    """A diagram: heading, what kind it is, picture as data URI, the sentences below it, and its numbers as a table."""

    title: str
    kind: str
    uri: str
    caption: str
    numbers: Table


@dataclass(frozen=True)
class Report:
    """What the page shows, in this order."""

    title: str
    subtitle: str
    pictures: Sequence[Picture]
    tables: Sequence[Table]
    provenance: Sequence[tuple[str, str]]
    notices: Sequence[str] = field(default_factory=tuple)
    legend: Legend | None = None
    diagrams: Sequence[Diagram] = field(default_factory=tuple)


def write_report(report: Report, path: Path) -> Path:
    """Write the page; it needs no other file and runs no script.

    Args:
        report: The content.
        path: The `.html` file.

    Returns:
        `path`.

    Raises:
        ProductError: If it cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    template = (resources.files("ecumene.viewer") / "templates" / "report.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(template).render(
        title=report.title,
        subtitle=report.subtitle,
        pictures=report.pictures,
        tables=report.tables,
        provenance=report.provenance,
        notices=report.notices,
        legend=report.legend.classes if report.legend else (),
        diagrams=report.diagrams,
    )
    write_text(path, page)
    return path
