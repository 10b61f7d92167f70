"""One self-contained HTML page: pictures with their legends, charts, tables, provenance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ecumene.core.files import write_text
from ecumene.legends import Legend


@dataclass(frozen=True)
class Swatch:
    """One entry of a picture's legend: a colour `#rrggbb` and what it means."""

    colour: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Ramp:
    """The colour bar of a picture: a data URI of its colours from low to high, and the texts of both ends."""

    uri: str
    low: str
    high: str


@dataclass(frozen=True)
class Picture:
    """A picture as data URI with its caption.

    Attributes:
        title: Its name.
        uri: Data URI.
        caption: What is seen, in sentences.
        alt: The same for those who cannot see it; empty: title and caption.
        swatches: Legend of colours.
        ramp: Colour bar of numbers.
    """

    title: str
    uri: str
    caption: str
    alt: str = ""
    swatches: Sequence[Swatch] = ()
    ramp: Ramp | None = None


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
    """What the page shows, in this order.

    Attributes:
        title: Heading.
        subtitle: One sentence below it.
        pictures: Quick-looks.
        tables: Tables of the findings.
        provenance: What it was made from: (what, which).
        notices: Sentences that must not be overlooked; shown before everything else.
        legend: Classes of the pictures that have no legend of their own.
        diagrams: Charts, each with its numbers.
        facts: What it is, in short: (what, which); shown below the heading.
        origin: Tables of the provenance: inputs, files.
        card: Text of the model card.
    """

    title: str
    subtitle: str
    pictures: Sequence[Picture]
    tables: Sequence[Table]
    provenance: Sequence[tuple[str, str]]
    notices: Sequence[str] = field(default_factory=tuple)
    legend: Legend | None = None
    diagrams: Sequence[Diagram] = field(default_factory=tuple)
    facts: Sequence[tuple[str, str]] = ()
    origin: Sequence[Table] = ()
    card: str = ""


def _template(name: str) -> str:
    return (resources.files("ecumene.viewer") / "templates" / name).read_text("utf-8")


def content_security_policy(style: str) -> str:
    """Return the policy of the page: pictures from within, the one style whose text is given, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


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
    from markupsafe import Markup

    style = "\n" + _template("report.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_template("report.html.j2")).render(
        report=report,
        legend=report.legend.classes if report.legend else (),
        style=Markup(style),  # noqa: S704  # a file of the package
        policy=content_security_policy(style),
    )
    write_text(path, page + "\n")
    return path
