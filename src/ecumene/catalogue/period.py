"""A period of time as users write it: `2024-06/2024-08`, ends included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.declaration import parse_time

_UNITS = {4: "Y", 7: "M", 10: "D"}


@dataclass(frozen=True)
class Period:
    """First and last moment, both included; None is open.

    Attributes:
        text: As written, which is what STAC calls an interval.
        first: UTC, `datetime64[ns]`.
        last: UTC, `datetime64[ns]`.
    """

    text: str
    first: np.datetime64 | None
    last: np.datetime64 | None

    def holds(self, time: np.datetime64) -> bool:
        """Whether a moment lies inside."""
        moment = time.astype("datetime64[ns]")
        return (self.first is None or moment >= self.first) and (self.last is None or moment <= self.last)


def parse_period(text: str) -> Period:
    """Read a period.

    Args:
        text: `START/END`, each a year, a month, a day or a moment in UTC, or `..` for open; one of them alone
            is that year, month or day.

    Raises:
        ConfigurationError: If it is no period, or ends before it begins.
    """
    start, slash, end = (part.strip() for part in text.partition("/"))
    end = end if slash else start
    try:
        first = None if start in {"", ".."} else parse_time(_filled(start))
        last = None if end in {"", ".."} else _end_of(end)
    except ConfigurationError as error:
        raise ConfigurationError(f"{text!r} is no period; write it as 2024-06/2024-08 or 2024-06-01/..") from error
    if first is not None and last is not None and first > last:
        raise ConfigurationError(f"The period {text} ends before it begins; write the earlier date first.")
    return Period(text.strip(), first, last)


def _filled(text: str) -> str:
    return text + {4: "-01-01", 7: "-01"}.get(len(text), "")


def _end_of(text: str) -> np.datetime64:
    """The last nanosecond of a year, month or day; a moment as it is."""
    moment = parse_time(_filled(text))
    unit = _UNITS.get(len(text))
    if unit is None:
        return moment
    end: np.datetime64 = (moment.astype(f"datetime64[{unit}]") + 1).astype("datetime64[ns]") - np.timedelta64(1, "ns")
    return end
