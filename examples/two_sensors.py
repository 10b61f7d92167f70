"""Optical and radar scenes of several dates on one grid, as one input. The scenes are simulated.

Usage: python examples/two_sensors.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ecumene import align_scenes, describe_scene, map_scenes, open_scene, train_model
from ecumene.scenes.composites import median_composite
from ecumene.scenes.grid import full_window
from ecumene.simulate import write_demo


def main(folder: Path) -> None:
    """Look at the scenes, align them, train on both sensors, map.

    Args:
        folder: Where everything is written.
    """
    data = write_demo(folder, seed=5, shape=(128, 128), n_polygons_per_class=15)
    optical = [*data.sentinel2, data.cloudy]
    scenes = [*optical, data.sentinel1]

    # One acquisition as an xarray data set: float32, physical units, NaN where there are no data.
    radar = open_scene(data.sentinel1, chunks=None)
    print(f"{radar.sensor} {radar.product_level}: VV has a median of {float(radar.VV.median()):.1f} {radar.VV.units}")

    # All of them on the grid of the first; clouds are NaN. A composite then closes the gaps.
    stack = align_scenes([describe_scene(path) for path in optical])
    block = stack.read(full_window(stack.geobox))
    composite = median_composite(block.image)
    print(f"{len(stack.times)} optical dates, {len(stack.channels)} bands, {block.valid.mean():.1%} valid")
    print(f"median composite: {np.isfinite(composite.image).all(axis=0).mean():.1%} valid")

    # Verbs take the paths; bands are found by sensor and name.
    for title, inputs in (("one optical date", [optical[1]]), ("two dates and radar", [*optical[:2], data.sentinel1])):
        out = folder / title.replace(" ", "-")
        model = train_model(inputs, data.labels, out / "model", system="random-forest", split_by="feature", seed=0)
        accuracy = model.spec.training["accuracy"]["overall"]["overall_accuracy"]["value"]
        product = map_scenes(model, inputs, out / "product")
        unsure = product.layers["uncertainty"].statistics[0]["mean"]
        print(f"{title}: held-out accuracy {accuracy:.3f}, mean uncertainty {unsure:.3f}")
    print(f"{len(scenes)} scenes are in {folder / 'scenes'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-sensors"))
