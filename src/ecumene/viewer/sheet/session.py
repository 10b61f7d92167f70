"""One assessor at work: which point is next, what was answered, and when the map's own answer may be seen."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ecumene.core.errors import LabelError
from ecumene.legends import Legend
from ecumene.viewer.sheet.chips import VIEWS, Chips
from ecumene.viewer.sheet.labels import CONFIDENCES, JUDGED, OPEN, UNKNOWN, Answer, LabelFile
from ecumene.viewer.sheet.points import Sample, SamplePoint

MapAnswer = Callable[[SamplePoint], dict[str, Any]]
"""What the map says at a point: JSON with a `text`."""

_MOST_UNDONE = 100


def now() -> str:
    """Return the time (RFC 3339, UTC, whole seconds)."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Session:
    """Answers of one run of a sheet. Thread-safe.

    The map's answer leaves this class only for points that have been answered, and the file then says of every later
    answer to such a point that the map had been seen.
    """

    def __init__(
        self, sample: Sample, labels: LabelFile, legend: Legend, chips: Chips, ask_map: MapAnswer, title: str
    ) -> None:
        """Start, or go on with the answers that the file holds.

        Args:
            sample: The points.
            labels: Where answers are recorded.
            legend: Possible answers.
            chips: Pictures.
            ask_map: Reads the map at a point.
            title: Name of the map.
        """
        self.chips = chips
        self._sample, self._labels, self._legend = sample, labels, legend
        self._ask_map, self._title = ask_map, title
        self._shown: set[int] = {
            number for number, point in enumerate(sample.points) if labels.answer(point.row).map_seen
        }
        self._undone: list[tuple[int, Answer]] = []
        self._lock = threading.RLock()

    def point_at(self, number: int) -> SamplePoint:
        """Return a point by its number in the order of judging, from 0.

        Raises:
            LabelError: If there is none.
        """
        if not 0 <= number < len(self._sample.points):
            raise LabelError(f"There is no point {number + 1}; there are {len(self._sample.points)}.")
        return self._sample.points[number]

    def state(self) -> dict[str, Any]:
        """Return what the page needs at its start: classes, scenes, progress, and the first open point."""
        with self._lock:
            return {
                "title": self._title,
                "file": self._labels.path.name,
                "classes": [
                    {"name": entry.name, "colour": entry.colour, "description": entry.description}
                    for entry in self._legend.classes
                ],
                "confidences": list(CONFIDENCES),
                "scenes": self.chips.describe(),
                "views": dict(VIEWS),
                "outside": self._sample.outside,
                **self._progress(),
            }

    def _progress(self) -> dict[str, Any]:
        states = [self._labels.answer(point.row).status for point in self._sample.points]
        return {
            "total": len(states),
            "judged": states.count(JUDGED),
            "unknown": states.count(UNKNOWN),
            "next": states.index(OPEN) if OPEN in states else None,
            "undo": bool(self._undone),
        }

    def point(self, number: int) -> dict[str, Any]:
        """Return a point with its answer, and the map's where it has been shown.

        Raises:
            LabelError: If there is no such point.
        """
        place = self.point_at(number)
        with self._lock:
            answer = self._labels.answer(place.row)
            shown = answer.status != OPEN and number in self._shown
            return {
                "number": number,
                "lon": round(place.lon, 6),
                "lat": round(place.lat, 6),
                "status": answer.status,
                "class": answer.class_name or None,
                "confidence": answer.confidence or None,
                "map": self._ask_map(place) if shown else None,
                **self._progress(),
            }

    def answer(self, number: int, class_name: str | None, confidence: str, reveal: bool) -> dict[str, Any]:
        """Record an answer and write the file.

        Args:
            number: Of the point.
            class_name: Reference class; None: cannot tell.
            confidence: One of `CONFIDENCES`.
            reveal: Show the map's answer now.

        Returns:
            As `point`.

        Raises:
            LabelError: If point, class or confidence is unknown.
            ProductError: If the file cannot be written.
        """
        place = self.point_at(number)
        status = UNKNOWN if class_name is None else JUDGED
        with self._lock:
            before = self._labels.answer(place.row)
            given = Answer(status, class_name or "", confidence, now(), map_seen=number in self._shown)
            self._labels.record(place.row, given)
            self._undone = [*self._undone[1 - _MOST_UNDONE :], (number, before)]
            if reveal:
                self._shown.add(number)
            return self.point(number)

    def undo(self) -> dict[str, Any]:
        """Take the last answer of this run back; the point is as it was before.

        Raises:
            LabelError: If there is none.
            ProductError: If the file cannot be written.
        """
        with self._lock:
            if not self._undone:
                raise LabelError("There is no answer to take back.")
            number, before = self._undone[-1]
            if before.status == OPEN:
                before = replace(before, map_seen=number in self._shown)
            self._labels.record(self.point_at(number).row, before)
            self._undone.pop()
            return self.point(number)
