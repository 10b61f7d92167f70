"""From one scene and a few polygons to a map with its error bar. The scene is simulated.

Usage: python examples/map_from_polygons.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from ecumene import assess_map, map_scenes, train_model
from ecumene.simulate import write_demo


def main(folder: Path) -> None:
    """Train a random forest, map the scene, compare the map with random reference points.

    Args:
        folder: Where everything is written.
    """
    data = write_demo(folder, seed=3, shape=(128, 128), n_polygons_per_class=15, n_reference=400)
    scene = data.sentinel2[-1]

    model = train_model(scene, data.labels, folder / "model", system="random-forest", split_by="feature", seed=0)
    held_out = model.spec.training["accuracy"]
    print(f"held-out polygons: overall accuracy {held_out['overall']['overall_accuracy']['value']:.3f}")

    product = map_scenes(folder / "model", scene, folder / "product")
    for layer in product.layers.values():
        print(f"{layer.path.name:24s} {layer.description}")

    assessment = assess_map(product, data.reference)
    overall = assessment.adjusted.overall
    print(f"random points: area-adjusted overall accuracy {overall.value:.3f} +- {overall.margin:.3f}")
    for name, area in zip(assessment.legend.names, assessment.adjusted.areas, strict=True):
        print(f"{name:24s} {area.value / 1e4:8.1f} +- {area.margin / 1e4:.1f} ha")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-map"))
