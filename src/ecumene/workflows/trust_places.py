"""Where to label next: the places of a scene that would teach a model most, as polygons for a GIS."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import atomic_path
from ecumene.core.progress import Progress
from ecumene.core.window import Window
from ecumene.samples.labels import LabelRaster
from ecumene.trust.acquisition import (
    STRATEGIES,
    Candidates,
    Strategy,
    choose_places,
    entropy_doubt,
    margin_doubt,
)
from ecumene.workflows.trust_pixels import Asker, spread_tiles

Describe = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""From layers of a tile to columns `[B, h, w]` that are averaged over cells."""

PLACE_PIXELS = 3
TILE = 192
MOST_TILES = 100
MOST_KNOWN = 2000
"""Labelled cells that distances are measured to."""
STRANGE_WEIGHT = 0.5
"""What a place wholly of outliers adds to a doubt of at most 1."""
UNSURE = 0.5
"""Doubt from which a place counts as unsure in its reason."""


@dataclass(frozen=True)
class Cells(ABC):
    """Cells of `side` x `side` pixels of a scene that could be labelled.

    Attributes:
        row: First row of each `[N]`.
        col: First column of each `[N]`.
        side: Pixels on a side.
        epistemic: Mean epistemic part of the uncertainty `[N]`, where the model has one.
        strange: Share of outliers `[N]`.
        features: Mean standardised bands `[N, T * C]`.
        known: The same of cells that hold labels already, `[M, T * C]`.
        complete: Whether all of the scene was looked at, or evenly spread tiles of it.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    side: int
    epistemic: NDArray[np.float64] | None
    strange: NDArray[np.float64]
    features: NDArray[np.float64]
    known: NDArray[np.float64]
    complete: bool

    def __len__(self) -> int:
        return len(self.row)

    @property
    def xy(self) -> NDArray[np.float64]:
        """Centres in pixels, `[N, 2]`."""
        return np.asarray(np.stack([self.row, self.col], axis=1) + self.side / 2, np.float64)

    @property
    @abstractmethod
    def kind(self) -> NDArray[np.int64]:
        """Predicted class of each cell, or a class of its predicted number; choices are spread over them `[N]`."""

    @abstractmethod
    def doubt(self, strategy: Strategy) -> NDArray[np.float64]:
        """Return what a strategy goes by; outliers add to it.

        Raises:
            ConfigurationError: If the model does not give it.
        """

    def known_epistemic(self) -> NDArray[np.float64]:
        """Return the epistemic part.

        Raises:
            ConfigurationError: If the model gives none.
        """
        if self.epistemic is None:
            raise ConfigurationError(
                "The model does not tell what more labels would teach it; choose another --strategy or train with "
                "--uncertainty."
            )
        return np.asarray(self.epistemic, np.float64)


@dataclass(frozen=True)
class ClassCells(Cells):
    """Cells that a class model describes; see `Cells`.

    Attributes:
        probability: Mean class probabilities `[N, K]`.
        margin: Mean of 1 - (largest - second largest probability) `[N]`.
        entropy: Mean entropy over ln K `[N]`.
    """

    probability: NDArray[np.float64]
    margin: NDArray[np.float64]
    entropy: NDArray[np.float64]

    @property
    def kind(self) -> NDArray[np.int64]:
        """The most probable class."""
        return np.asarray(self.probability.argmax(axis=1), np.int64)

    def doubt(self, strategy: Strategy) -> NDArray[np.float64]:
        """See `Cells.doubt`."""
        if strategy == "epistemic":
            return self.known_epistemic()
        if strategy == "entropy":
            return self.entropy
        return np.asarray(self.margin + STRANGE_WEIGHT * self.strange, np.float64)


def collect_cells(
    asker: Asker, labels: LabelRaster | None, progress: Progress, *, side: int = PLACE_PIXELS
) -> ClassCells:
    """Describe every cell with data that holds no label yet, for a model of classes.

    Args:
        asker: Model and scenes.
        labels: Cells that hold any label are left out.
        progress: Called with tiles done.
        side: Pixels on a side of a cell.

    Raises:
        ConfigurationError: If the side is out of range.
    """
    return ClassCells(**gather_columns(asker, labels, progress, side, _class_columns))


def gather_columns(
    asker: Asker, labels: LabelRaster | None, progress: Progress, side: int, describe: Describe
) -> dict[str, Any]:
    """Return the arguments of `Cells`, and those columns that `describe` gives for layers of a tile.

    Raises:
        ConfigurationError: If the side is out of range.
    """
    if not 1 <= side <= TILE:
        raise ConfigurationError(f"The side of a place to label is 1 to {TILE} pixels, not {side}.")
    tiles, complete = spread_tiles(asker.stack, TILE // side * side, MOST_TILES)
    found: list[dict[str, NDArray[Any]]] = []
    for number, tile in enumerate(tiles):
        found.append(_cells_of(asker, labels, tile, side, describe))
        progress(number + 1, len(tiles), "places")
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    epistemic = joined.pop("epistemic")
    known = bool(np.isfinite(epistemic).all()) and len(epistemic) > 0
    return {"side": side, "complete": complete, "epistemic": epistemic if known else None, **joined}


def _class_columns(layers: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return probability `[K, h, w]`, and margin and entropy `[1, h, w]`."""
    p = layers["probability"]
    flat, shape = np.moveaxis(p, 0, -1).reshape(-1, len(p)), (1, *p.shape[1:])
    return {
        "probability": p,
        "margin": margin_doubt(flat).reshape(shape),
        "entropy": entropy_doubt(flat).reshape(shape),
    }


def _cells_of(
    asker: Asker, labels: LabelRaster | None, tile: Window, side: int, describe: Describe
) -> dict[str, NDArray[Any]]:
    layers, score, valid, image = asker.predict(tile)
    down, across = tile.height // side, tile.width // side

    def means(values: NDArray[Any]) -> NDArray[np.float64]:
        """Average `[B, h, w]` over the cells: `[cells, B]`."""
        cut = values[:, : down * side, : across * side].astype(np.float64)
        return np.asarray(cut.reshape(-1, down, side, across, side).mean(axis=(2, 4)).reshape(len(values), -1).T)

    threshold = asker.model.outlier_threshold
    strange = np.zeros(score.shape) if threshold is None else score > threshold
    taken = ~valid if labels is None else ~valid | (labels.read(tile) >= 0)
    epistemic = layers.get("epistemic", np.full((1, *score.shape), np.nan, np.float32))
    with np.errstate(invalid="ignore"):
        bands = _standardised(asker, image)
    rows, cols = np.meshgrid(tile.row + side * np.arange(down), tile.col + side * np.arange(across), indexing="ij")
    # A cell with any pixel without data is neither free nor known.
    whole = means(valid[None])[:, 0] == 1
    free, held = whole & (means(taken[None])[:, 0] == 0), whole & (means(taken[None])[:, 0] > 0)
    columns = {
        "row": rows.ravel(),
        "col": cols.ravel(),
        "epistemic": means(epistemic)[:, 0],
        "strange": means(strange[None])[:, 0],
        "features": means(bands),
    }
    for name, described in describe(layers).items():
        found = means(described)
        columns[name] = found if name == "probability" else found[:, 0]
    return {name: values[free] for name, values in columns.items()} | {"known": columns["features"][held]}


def _standardised(asker: Asker, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the bands of all dates in units of the training's standard deviation, `[T * C, h, w]`; 0 without data."""
    inputs = asker.model.spec.inputs
    mean = np.array([band.mean for band in inputs], np.float32)[:, None, None]
    std = np.array([band.std for band in inputs], np.float32)[:, None, None]
    scaled = np.nan_to_num((image - mean) / std)
    return np.asarray(scaled.reshape(-1, *image.shape[-2:]), np.float32)


def choose_cells(
    cells: Cells, count: int, strategy: Strategy, labels: LabelRaster | None, seed: int = 0
) -> NDArray[np.int64]:
    """Return the numbers of the cells to label next, the most useful first.

    Raises:
        ConfigurationError: If the strategy is unknown or not possible, or no cell is left.
    """
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"The strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}.")
    candidates = Candidates(cells.xy, cells.doubt(strategy), cells.kind, cells.features)
    known = None if labels is None else _labelled_cells(labels, cells.side)
    features = cells.known[np.linspace(0, len(cells.known) - 1, min(len(cells.known), MOST_KNOWN)).astype(int)]
    return choose_places(
        candidates,
        count,
        strategy=strategy,
        known_xy=known,
        known_features=features if len(features) else None,
        seed=seed,
    )


def _labelled_cells(labels: LabelRaster, side: int, most: int = MOST_KNOWN) -> NDArray[np.float64] | None:
    """Return the centres of cells that hold labels, at most so many."""
    rows, cols = np.nonzero(labels.classes >= 0)
    cells = np.unique(
        np.stack([(rows + labels.window.row) // side, (cols + labels.window.col) // side], axis=1), axis=0
    )
    if len(cells) > most:
        cells = cells[np.linspace(0, len(cells) - 1, most).astype(int)]
    return np.asarray(cells * float(side) + side / 2, np.float64) if len(cells) else None


def describe_places(
    cells: ClassCells, chosen: NDArray[np.int64], names: tuple[str, ...], strategy: str
) -> list[dict[str, Any]]:
    """Return the attributes of the chosen cells: why each, and what the model thinks of it."""
    rows = []
    for rank, number in enumerate(chosen, start=1):
        p = cells.probability[number]
        order = np.argsort(-p, kind="stable")
        reasons = []
        if cells.strange[number] >= 0.5:
            reasons.append(f"unlike the training data in {cells.strange[number]:.0%} of the place")
        if cells.margin[number] >= UNSURE:
            reasons.append(
                f"undecided between {names[order[0]]} ({p[order[0]]:.0%}) and {names[order[1]]} ({p[order[1]]:.0%})"
            )
        if not reasons:
            kind = (
                "unlike the labelled places" if strategy in ("mixed", "diversity") else "spread over space and classes"
            )
            reasons.append(f"{kind}; the model says {names[order[0]]} ({p[order[0]]:.0%})")
        rows.append(
            {
                "rank": rank,
                "class": "",
                "suggested": names[order[0]],
                "probability": round(float(p[order[0]]), 4),
                "second": names[order[1]],
                "margin_doubt": round(float(cells.margin[number]), 4),
                "entropy": round(float(cells.entropy[number]), 4),
                "epistemic": None if cells.epistemic is None else round(float(cells.epistemic[number]), 4),
                "outlier_share": round(float(cells.strange[number]), 4),
                "strategy": strategy,
                "reason": "; ".join(reasons),
            }
        )
    return rows


def write_places(path: Path, cells: Cells, chosen: NDArray[np.int64], rows: list[dict[str, Any]], geobox: Any) -> None:
    """Write the chosen cells as polygons into a GeoPackage; the empty column `class` is for whoever labels them.

    Args:
        path: `.gpkg`.
        cells: All cells.
        chosen: Numbers of the chosen ones.
        rows: Their attributes.
        geobox: Grid of the scene.
    """
    import geopandas
    from shapely.geometry import Polygon

    shapes = []
    for number in chosen:
        row, col = int(cells.row[number]), int(cells.col[number])
        corners = [(col, row), (col + cells.side, row), (col + cells.side, row + cells.side), (col, row + cells.side)]
        shapes.append(Polygon([geobox.affine * corner for corner in corners]))
    table = geopandas.GeoDataFrame(rows, geometry=shapes, crs=geobox.crs.to_wkt())
    if cells.epistemic is None:
        table = table.drop(columns="epistemic")
    with atomic_path(path) as temporary:
        table.to_file(temporary, driver="GPKG", layer="label_next")
