"""Writes the labels that training never saw, so that `assess` can use them as reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecumene.core.errors import LabelError
from ecumene.core.files import atomic_path
from ecumene.samples.contract import Part
from ecumene.samples.labels import LabelRaster
from ecumene.samples.split import Split


def write_holdout(path: Path, labels: LabelRaster, split: Split, *, seed: int, points_per_class: int = 400) -> int:
    """Write points at pixel centres of the test part, with the columns `class` and `block`.

    Args:
        path: GeoPackage or GeoJSON to write.
        labels: The labels.
        split: The split; its part TEST is written.
        seed: Of the draw.
        points_per_class: Most points of a class.

    Returns:
        Number of points.

    Raises:
        LabelError: If the test part is empty.
    """
    import geopandas

    generator = np.random.default_rng(seed)
    rows_all, cols_all, names, blocks = [], [], [], []
    for index, name in enumerate(labels.legend.names):
        rows, cols = np.nonzero((labels.classes == index) & (split.parts == Part.TEST))
        if len(rows) > points_per_class:
            keep = np.sort(generator.choice(len(rows), points_per_class, replace=False))
            rows, cols = rows[keep], cols[keep]
        rows_all.append(rows)
        cols_all.append(cols)
        names += [name] * len(rows)
        blocks.append(split.block_id[rows, cols])
    rows, cols = np.concatenate(rows_all), np.concatenate(cols_all)
    if len(rows) == 0:
        raise LabelError("The test part of the split has no labelled pixel, so no held-out labels can be written.")
    affine = labels.geobox.transform
    across, down = cols + labels.window.col + 0.5, rows + labels.window.row + 0.5
    x = affine.a * across + affine.b * down + affine.c
    y = affine.d * across + affine.e * down + affine.f
    frame = geopandas.GeoDataFrame(
        {"class": names, "block": np.concatenate(blocks)},
        geometry=geopandas.points_from_xy(x, y),
        crs=labels.geobox.crs.to_wkt() if labels.geobox.crs is not None else None,
    )
    driver = "GeoJSON" if path.suffix.lower() in {".geojson", ".json"} else "GPKG"
    with atomic_path(path) as temporary:
        frame.to_file(temporary, driver=driver, layer=path.stem)
    return len(frame)
