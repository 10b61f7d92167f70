"""The answers of a sheet as a GeoPackage that is whole after every answer and can be gone on with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.core.files import atomic_path
from ecumene.viewer.sheet.points import Sample

if TYPE_CHECKING:
    import geopandas

LAYER = "reference_labels"
CONFIDENCES = ("sure", "likely", "unsure")
OPEN, JUDGED, UNKNOWN = "open", "judged", "cannot tell"
_DESIGN_COLUMN = "reference"  # what a sampling design leaves empty for the answer
_NEAR = 1e-6


@dataclass(frozen=True)
class Answer:
    """What is recorded of a point.

    Attributes:
        status: `open`, `judged` or `cannot tell`.
        class_name: Reference class; empty unless judged.
        confidence: `sure`, `likely` or `unsure`; empty where open.
        judged_at: When (RFC 3339, UTC); empty where open.
        map_seen: Whether the map's class had been shown before this answer was given.
    """

    status: str = OPEN
    class_name: str = ""
    confidence: str = ""
    judged_at: str = ""
    map_seen: bool = False


_COLUMNS = {"class_name": "class"}
"""Columns of the file that are named otherwise than the attributes of `Answer`."""


class LabelFile:
    """Answers of all points of a sample, in memory and on disk.

    Attributes:
        path: The GeoPackage.
    """

    def __init__(self, path: Path, sample: Sample, class_names: tuple[str, ...]) -> None:
        """Start a file, or go on with one that holds answers to the same points.

        Args:
            path: GeoPackage; it is written at the first answer.
            sample: The points.
            class_names: Classes of the map.

        Raises:
            ConfigurationError: If the name is no GeoPackage's.
            LabelError: If the file exists and holds something else.
        """
        if path.suffix.lower() != ".gpkg":
            raise ConfigurationError(f"Reference labels are a GeoPackage; name the file {path.stem or 'labels'}.gpkg.")
        self.path = path
        self._frame = sample.frame
        self._names = class_names
        self._answers = [Answer()] * len(sample.frame)
        if path.exists():
            self._answers = self._read()

    def answer(self, row: int) -> Answer:
        """Return what is recorded of a row of the points' file."""
        return self._answers[row]

    def record(self, row: int, answer: Answer) -> None:
        """Record an answer and write the file; if that fails, nothing is recorded.

        Raises:
            LabelError: If class or confidence is unknown.
            ProductError: If the file cannot be written.
        """
        if answer.status == JUDGED and answer.class_name not in self._names:
            raise LabelError(
                f"The class {answer.class_name[:80]!r} is not in the legend; it has: {', '.join(self._names)}."
            )
        if answer.status != OPEN and answer.confidence not in CONFIDENCES:
            raise LabelError(f"The confidence is one of: {', '.join(CONFIDENCES)}.")
        before, self._answers[row] = self._answers[row], answer
        try:
            self._write()
        except BaseException:
            self._answers[row] = before
            raise

    def _write(self) -> None:
        from pyogrio.errors import DataSourceError

        frame = self._filled()
        with atomic_path(self.path) as temporary:
            try:
                frame.to_file(temporary, layer=LAYER, driver="GPKG")
            except DataSourceError as error:
                raise ProductError(f"{self.path} cannot be written: {error}.") from error

    def _filled(self) -> geopandas.GeoDataFrame:
        """Return the points with a column for each part of the answers; unanswered rows have no class."""
        import pandas as pd

        frame = self._frame.copy()
        for part in fields(Answer):
            column = _COLUMNS.get(part.name, part.name)
            values: list[Any] = [asdict(answer)[part.name] for answer in self._answers]
            if part.name == "map_seen":
                frame[column] = np.array(values, dtype=np.int8)
            else:
                frame[column] = pd.array([value or None for value in values], dtype="string")
        if _DESIGN_COLUMN in self._frame.columns:
            frame[_DESIGN_COLUMN] = frame["class"]
        return frame

    def _read(self) -> list[Answer]:
        """Return the answers of an earlier session.

        Raises:
            LabelError: If the file holds no answers to these points.
        """
        import geopandas
        from pyogrio.errors import DataLayerError, DataSourceError

        other = LabelError(f"{self.path} exists and holds no answers to these points; choose another file with --out.")
        try:
            found = geopandas.read_file(self.path, layer=LAYER)
        except (DataSourceError, DataLayerError, ValueError, OSError) as error:
            raise other from error
        columns = {_COLUMNS.get(part.name, part.name) for part in fields(Answer)}
        if not columns <= set(found.columns) or not self._same_points(found):
            raise other
        answers = []
        for row in found.to_dict("records"):
            text = {
                part.name: row[_COLUMNS.get(part.name, part.name)] for part in fields(Answer) if part.name != "map_seen"
            }
            cleaned = {name: value if isinstance(value, str) else "" for name, value in text.items()}
            answers.append(Answer(**cleaned, map_seen=bool(row["map_seen"])))
        unknown = {answer.class_name for answer in answers if answer.class_name} - set(self._names)
        if unknown:
            raise LabelError(f"{self.path} holds the class {sorted(unknown)[0]!r}, which the map lacks; choose --out.")
        return answers

    def _same_points(self, found: geopandas.GeoDataFrame) -> bool:
        if len(found) != len(self._frame) or found.crs != self._frame.crs:
            return False
        here, there = (frame.geometry.get_coordinates().to_numpy() for frame in (self._frame, found))
        return here.shape == there.shape and bool(np.allclose(here, there, rtol=0, atol=_NEAR))
