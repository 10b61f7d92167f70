"""How many reference points does a map need, where, and what do they say about areas. The scene is simulated.

The map is made first; its classes are the strata of a random sample. Here the simulator's truth answers for the
person who would look at every point.

Usage: python examples/reference_sample.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio

from ecumene import assess_map, map_scenes, train_model
from ecumene.indicators.sampling_design import draw_design
from ecumene.simulate import LEGEND, write_demo


def main(folder: Path) -> None:
    """Map, draw a stratified sample, answer it, assess, compare the areas with the truth.

    Args:
        folder: Where everything is written.
    """
    data = write_demo(folder, seed=9, shape=(192, 192), n_polygons_per_class=15)
    scene = data.sentinel2[-1]
    train_model(scene, data.labels, folder / "model", system="random-forest", split_by="feature", seed=0)
    product = map_scenes(folder / "model", scene, folder / "product")
    legend = product.legend
    if legend is None:
        raise SystemExit("This example needs a map of classes.")

    design = draw_design(product.path("value"), legend, target_standard_error=0.015, minimum=50, seed=0)
    print(f"{len(design.points)} points bring the standard error of overall accuracy to about 0.015")

    names = dict(zip(LEGEND.values, LEGEND.names, strict=True))
    with rasterio.open(data.truth["land_cover"]) as truth:
        cover = truth.read(1)
        places = [(point.x, point.y) for point in design.points.geometry]
        design.points["reference"] = [names[int(value[0])] for value in truth.sample(places)]
        pixel_ha = abs(truth.transform.a * truth.transform.e) / 1e4
    reference = design.write(folder / "reference_sample.gpkg")

    assessment = assess_map(product, reference, field="reference")
    overall = assessment.adjusted.overall
    print(f"overall accuracy {overall.value:.3f} +- {overall.margin:.3f}")
    print(f"{'class':24s} {'mapped':>8s} {'estimated':>18s} {'true':>8s}  hectares")
    adjusted = assessment.adjusted
    for name, mapped, area in zip(assessment.legend.names, adjusted.mapped_areas, adjusted.areas, strict=True):
        true = np.count_nonzero(cover == LEGEND.values[LEGEND.names.index(name)]) * pixel_ha
        estimate = f"{area.value / 1e4:.1f} +- {area.margin / 1e4:.1f}"
        print(f"{name:24s} {mapped / 1e4:8.1f} {estimate:>18s} {true:8.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-reference"))
