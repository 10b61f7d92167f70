"""Words and tables that every section of `docs/results.md` is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]
REAL = "**Real data.**"
SIMULATED = "**SIMULATED data.**"


def number(value: float | None, digits: int = 3) -> str:
    """Format a number; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def share(value: float | None, digits: int = 1) -> str:
    """Format a share as per cent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def mean_and_spread(entry: Json | None, digits: int = 3) -> str:
    """Format what `benchmarks.common.spread` returned."""
    if entry is None:
        return "-"
    deviation = entry.get("standard_deviation")
    text = number(entry["mean"], digits)
    return text if deviation is None else f"{text} ± {number(deviation, digits)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def machine_note(results: Json) -> str:
    """Say on which machine and with which versions a file was made."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"Run {results['run'][:10]} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}; {versions}."
    )


def data_note(data: Sequence[Json]) -> str:
    """Name data sets with their checksums."""
    return "Data: " + "; ".join(f"{d['name']} ({d['kind']}, SHA-256 `{d['sha256'][:16]}…`)" for d in data) + "."


def words(name: str) -> str:
    """Turn a key into words."""
    return name.replace("_", " ")


def section(title: str, results: Json, *blocks: str) -> str:
    """Join the blocks of a section under its title."""
    return "\n".join([f"## {title}\n", machine_note(results) + "\n", *(block.rstrip("\n") + "\n" for block in blocks)])
