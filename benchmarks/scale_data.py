"""Scenes and a small model for the benchmarks of scale: arithmetic of a real model, classes without a meaning."""

from __future__ import annotations

import numpy as np
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.mapping import MapOptions

BANDS = ("B02", "B03", "B04", "B08")
WEST, NORTH = 500_000.0, 5_000_000.0
OPTIONS = MapOptions(threads=1, quicklook=False, backend="torch", precision="fp32", tile=64)


def write_land(path, edge, empty=False):
    """Write a scene of Sentinel-2 L2A, `edge` x `edge` pixels of 10 m; an empty one holds no data anywhere."""
    from ecumene.simulate.writing import write_raster

    generator = np.random.default_rng(0)
    values = generator.integers(200, 4000, (4, edge, edge)).astype(np.uint16)
    if empty:
        values[:] = 0
    geobox = GeoBox((edge, edge), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32633")
    write_raster(path, values, geobox, names=BANDS, nodata=0)
    declared = {"sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": 0.0, "nodata": 0, "unit": "1"}
    declared |= {"bands": list(BANDS), "time": "2024-06-01T10:00:00Z"}
    path.with_name(path.stem + ".scene.yaml").write_text(yaml.safe_dump(declared))
    return path


def forest_model(classes=4):
    """Return a bundle of a small random forest, grown on made-up spectra."""
    from ecumene.legends import Legend
    from ecumene.models.bundle import Model
    from ecumene.models.contract import InputBand, ModelSpec
    from ecumene.objectives import Segmentation
    from ecumene.training.fit_trees import fit_forest

    generator = np.random.default_rng(1)
    spectra = generator.uniform(0.02, 0.4, (400, len(BANDS))).astype(np.float32)
    labels = np.argmax(spectra @ generator.normal(size=(len(BANDS), classes)), axis=1)
    arrays = fit_forest(spectra, labels, n_classes=classes, n_trees=8, max_depth=5, n_jobs=1)
    objective = Segmentation(Legend.from_names([f"class {k}" for k in range(classes)]))
    spec = ModelSpec(
        name="small-forest",
        created="2024-01-01T00:00:00Z",
        kind="forest",
        architecture={"name": "random-forest", "arguments": {"n_features": len(BANDS), "n_dates": 1}},
        objective=objective.to_config(),
        inputs=tuple(
            InputBand(sensor="sentinel-2", level="L2A", band=band, unit="1", mean=0.2, std=0.1) for band in BANDS
        ),
        temporal=False,
        resolution_m=10.0,
    )
    return Model(spec, objective, weights=arrays)
