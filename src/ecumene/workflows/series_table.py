"""The verb `series` on single pixels: a CSV of dates and values, the changes of every pixel as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene import __version__
from ecumene.change.breaks import BreakModel, detect_breaks
from ecumene.change.breaks_monitoring import monitor_breaks
from ecumene.change.breaks_sequence import follow_changes
from ecumene.change.breaks_several import detect_several_breaks
from ecumene.change.patterns import PATTERNS, UNKNOWN, PatternModel, find_patterns
from ecumene.change.series import day_of, days_of
from ecumene.core.errors import ConfigurationError, ProductError, SceneError
from ecumene.core.files import atomic_path, ensure_writable_folder, multihash_of, write_json
from ecumene.mapping.product import ITEM_NAME
from ecumene.workflows.given_options import given_options, refuse_declared, refuse_others
from ecumene.workflows.series_options import (
    METHODS,
    SeriesOptions,
    check_method,
    refuse_foreign,
    refuse_several_values,
)
from ecumene.workflows.series_scenes import resolved_breaks
from ecumene.workflows.series_table_picture import draw_table

if TYPE_CHECKING:
    import pandas as pd

OF_TABLES = ("breaks", "sequence", "monitor", "patterns")
_RESULT = "series.json"
_OF_IMAGES = ("align", "animation")
_BANDS, _PIXELS = ("band", "sensor"), ("pixel", "id")
_MISSING = {"", "nan", "na", "null"}


@dataclass(frozen=True)
class PixelTable:
    """Series of single pixels.

    Attributes:
        days: Days since 1970-01-01, `[T]`.
        values: `[B, T, P]`, NaN where missing.
        bands: Names of what is measured.
        pixels: Names of the pixels.
    """

    days: NDArray[np.int64]
    values: NDArray[np.float64]
    bands: tuple[str, ...]
    pixels: tuple[str, ...]

    def select(self, bands: Sequence[str] | None) -> PixelTable:
        """Return some bands only, and the dates on which one of them is there.

        Raises:
            ConfigurationError: If a band is not there.
        """
        names = list(bands or self.bands)
        if missing := [name for name in names if name not in self.bands]:
            raise ConfigurationError(f"The table has no {missing[0]!r}; it has {', '.join(self.bands)}.")
        values = self.values[[self.bands.index(name) for name in names]]
        there = np.isfinite(values).any(axis=(0, 2))
        return PixelTable(self.days[there], values[:, there], tuple(names), self.pixels)


@dataclass(frozen=True)
class TableSeries:
    """What was found in a table.

    Attributes:
        folder: Where it is.
        title: Of the method.
        changes: A row a change, of a pixel without any change one row without dates.
        pixels: Number of pixels.
    """

    folder: Path
    title: str
    changes: pd.DataFrame
    pixels: int


def is_table(scenes: Sequence[str | Path]) -> bool:
    """Whether the input is one CSV instead of scenes."""
    return len(scenes) == 1 and Path(scenes[0]).suffix.lower() == ".csv"


def read_table(path: str | Path) -> PixelTable:
    """Read pixel series from CSV.

    Long: columns `date`, `value`, and where there are several of them `band` (or `sensor`) and `pixel` (or `id`). Wide:
    `date`, one column a band, and `pixel` (or `id`) where there are several. Empty fields and `nan` are missing values.

    Raises:
        SceneError: If the file cannot be read, a column is missing, or a number or a date is none or comes twice.
    """
    place = Path(path)
    try:
        with place.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SceneError(f"The table {place.name} cannot be read ({error}); give a CSV file in UTF-8.") from error
    columns = [name for name in (rows[0] if rows else {}) if name is not None]
    if not rows or "date" not in columns:
        raise SceneError(f"The table {place.name} has no column `date`; name its columns in the first line.")
    band = next((name for name in _BANDS if name in columns), None)
    pixel = next((name for name in _PIXELS if name in columns), None)
    measured = ["value"] if "value" in columns else [name for name in columns if name not in ("date", pixel)]
    if not measured:
        raise SceneError(f"The table {place.name} has no column of values; add `value`, or one column a band.")
    entries: dict[tuple[str, int, str], float] = {}
    for line, row in enumerate(rows, 2):
        day = _day(row["date"], place, line)
        for name in measured:
            key = (row[band] if "value" in columns and band else name, day, row[pixel] if pixel else "1")
            number = _number(row[name], place, line)
            if number is None:
                continue
            if key in entries:
                raise SceneError(
                    f"The table {place.name} has two values of {key[0]} of pixel {key[2]} on "
                    f"{np.datetime64(day, 'D')}; keep one of them, or merge them first."
                )
            entries[key] = number
    if not entries:
        raise SceneError(f"The table {place.name} holds no value; check its columns.")
    bands, pixels = tuple(dict.fromkeys(key[0] for key in entries)), tuple(dict.fromkeys(key[2] for key in entries))
    days = days_of(np.array(sorted({key[1] for key in entries}), np.int64), least=1)
    values = np.full((len(bands), days.size, len(pixels)), np.nan)
    for (name, day, where), number in entries.items():
        values[bands.index(name), np.searchsorted(days, day), pixels.index(where)] = number
    return PixelTable(days, values, bands, pixels)


def _day(text: str | None, place: Path, line: int) -> int:
    try:
        return day_of(str(text).strip()[:10])
    except ConfigurationError as error:
        raise SceneError(f"Line {line} of {place.name} has no date ({text!r}); write it as YYYY-MM-DD.") from error


def _number(text: str | None, place: Path, line: int) -> float | None:
    if text is None or text.strip().lower() in _MISSING:
        return None
    try:
        number = float(text)
    except ValueError as error:
        raise SceneError(f"Line {line} of {place.name} holds {text!r} instead of a number; correct it.") from error
    return number if np.isfinite(number) else None


def follow_table(
    scenes: Sequence[str | Path], out: str | Path, options: SeriesOptions, declaration: Mapping[str, Any] | None = None
) -> TableSeries:
    """Find the changes of every pixel of a table: `changes.csv`, `series.json` with provenance, a picture.

    Args:
        scenes: One CSV; see `read_table`.
        out: Folder to write.
        options: As for scenes; radar belongs in decibels; `monitor` follows the first band, or the one that is named.
        declaration: What is said of scenes; a table takes none of it.

    Returns:
        The changes.

    Raises:
        ConfigurationError: If options do not fit.
        ProductError: If the folder holds a series already, or a product of images.
        SceneError: If the table cannot be used, or has too few dates.
    """
    import pandas as pd

    refuse_declared(declaration or {}, "a table states its dates and bands itself")
    refuse_others([given for given in given_options(options) if given in _OF_IMAGES], (), "a table")
    check_method(options)
    name = "monitor" if options.method == "auto" and options.history is not None else options.method
    name = "breaks" if name == "auto" else name
    if name not in OF_TABLES:
        raise ConfigurationError(f"The method {name} needs images; of a table take one of: {', '.join(OF_TABLES)}.")
    refuse_foreign(name, options, ("use_bands",))
    path = Path(scenes[0])
    series = read_table(path).select(options.use_bands)
    if name == "monitor":
        refuse_several_values(options.use_bands or ())
        series = series.select(series.bands[:1])
    days_of(series.days, least=METHODS[name].least)
    folder = Path(out)
    if (folder / ITEM_NAME).exists():
        raise ProductError(f"{out} holds a product of images, which a table does not replace; give another --out.")
    if (folder / _RESULT).exists() and not options.overwrite:
        raise ProductError(f"{out} already holds a series; use --overwrite to replace it, or another --out.")
    if name == "breaks":
        breaks = resolved_breaks(options.breaks, lambda: series.values, series.days)
        options = replace(options, breaks=breaks)
    rows = _changes(name, series, options)
    folder = ensure_writable_folder(folder)
    (folder / _RESULT).unlink(missing_ok=True)  # from here on the folder holds no finished series
    changes = pd.DataFrame(rows)
    with atomic_path(folder / "changes.csv") as temporary:
        changes.to_csv(temporary, index=False)
    draw_table(folder / "quicklook.png", series, rows, METHODS[name].title)
    write_json(folder / _RESULT, _described(name, path, series, options, rows))
    return TableSeries(folder, METHODS[name].title, changes, len(series.pixels))


def _described(
    name: str, path: Path, series: PixelTable, options: SeriesOptions, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "type": "ecumene:pixel-series",
        "method": name,
        "parameters": {
            key: dict(value) if isinstance(value, Mapping) else value
            for key in METHODS[name].options
            if (value := getattr(options, key)) is not None
        },
        "input": {"name": path.name, "file:checksum": multihash_of(path)},
        "software": {"ecumene": __version__},
        "bands": list(series.bands),
        "pixels": len(series.pixels),
        "dates": [str(np.datetime64(int(day), "D")) for day in series.days],
        "changes": [
            {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}
            for row in rows
        ],
    }


def _changes(name: str, series: PixelTable, options: SeriesOptions) -> list[dict[str, Any]]:
    """Return a row a change."""
    values, days = series.values, series.days
    if name == "monitor":
        if options.history is None:
            raise ConfigurationError("Monitoring needs the last date of the stable history; state it with --history.")
        end = day_of(options.history, "end of the history")
        a = monitor_breaks(values[0], days, end, false_alarms=options.false_alarms, **options.breaks)
        known = np.where(np.isfinite(a.date), a.last_before, np.nan)
        return [
            _row(pixel, 1, a.date[p], known[p], a.date[p], {f"magnitude_{series.bands[0]}": a.magnitude[p]})
            for p, pixel in enumerate(series.pixels)
        ]
    if name == "patterns":
        return _patterns(series, options)
    if name == "breaks" and options.most == 1:
        b = detect_breaks(values, days, model=BreakModel(**{"level": options.interval, **options.breaks}))
        rows = []
        for p, pixel in enumerate(series.pixels):
            # The most probable date is shown where a break is improbable, too: its probability stands beside it.
            more = {"probability": b.probability[p], "last_before": _date(b.last_before[p])}
            more["first_after"] = _date(b.first_after[p])
            for k, band in enumerate(series.bands):
                more |= {f"magnitude_{band}": b.magnitude[k, p], f"error_{band}": b.magnitude_deviation[k, p]}
            rows.append(_row(pixel, 1, b.date[p], b.date_low[p], b.date_high[p], more))
        return rows
    if name == "breaks":
        model = BreakModel(**{"level": options.interval, **options.breaks})
        c = detect_several_breaks(values, days, model=model, most=options.most)
        return _several(series, c.date, c.date_low, c.date_high, c.magnitude, ("probability", c.probability))
    d = follow_changes(
        values, days, most=options.most, confirm=options.confirm, confidence=options.confidence, **options.breaks
    )
    return _several(series, d.date, d.date_low, d.date_high, d.magnitude, ("p_value", d.p_value))


def _several(
    series: PixelTable, date: NDArray[Any], low: NDArray[Any], high: NDArray[Any], magnitude: NDArray[Any],
    certainty: tuple[str, NDArray[Any]],
) -> list[dict[str, Any]]:  # fmt: skip
    rows = []
    for p, pixel in enumerate(series.pixels):
        for n in range(len(date)):
            if n and not np.isfinite(date[n, p]):
                break
            more = {certainty[0]: certainty[1][n, p]}
            more |= {f"magnitude_{band}": magnitude[n, k, p] for k, band in enumerate(series.bands)}
            rows.append(_row(pixel, n + 1, date[n, p], low[n, p], high[n, p], more))
    return rows


def _patterns(series: PixelTable, options: SeriesOptions) -> list[dict[str, Any]]:
    if options.objects:
        raise ConfigurationError("Single pixels make no objects; leave out --objects.")
    found = find_patterns(series.values, series.days, model=PatternModel(**options.breaks))
    low, high = found.interval(options.interval)
    rows = []
    for p, pixel in enumerate(series.pixels):
        code = int(found.pattern[p])
        more: dict[str, Any] = {
            "pattern": "unknown" if code == UNKNOWN else PATTERNS[code],
            "probability": float("nan") if code == UNKNOWN else found.probability[code, p],
            "duration": found.duration[p],
        }
        more |= {f"magnitude_{band}": found.amplitude[k, p] for k, band in enumerate(series.bands)}
        rows.append(_row(pixel, 1, found.date[p], low[p], high[p], more))
    return rows


def _row(pixel: str, number: int, date: Any, low: Any, high: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value if isinstance(value, str) else round(float(value), 6) for key, value in more.items()}
    shown = {"date": _date(date), "date_low": _date(low), "date_high": _date(high)}
    return {"pixel": pixel, "number": number if shown["date"] else 0, **shown, **told}


def _date(day: Any) -> str:
    """Return a day as text, nothing where there is none."""
    return str(np.datetime64(int(np.floor(float(day))), "D")) if np.isfinite(day) else ""
