"""How far a window's border is felt: the error of a U-Net's output against the distance from the border.

A window in the middle of a large one has full context; the same pixels are seen again through a window that
ends at their distance. Printed for each distance: largest and mean difference of the class probabilities
and the share of other classes. Then the same for a whole seam as the engine blends it, for several overlaps.

    python benchmarks/engine_seams.py [--cache DIR] [--bands 4] [--windows 4]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine_data import SCALE, Landscape, model_for

SIDE, REACH = 512, 128
OVERLAPS = (32, 64, 96, 128)  # multiples of the network's stride, so that both windows pool alike


def probabilities(executor, model, image) -> NDArray[np.float32]:
    """Return class probabilities `[K, H, W]` of one image `[C, H, W]`."""
    output, _ = executor.run(np.ascontiguousarray(image[None]))
    return np.asarray(model.objective.moments(output))[0]


def measure(model, bands: int, windows: int) -> dict:
    """Compare cut windows with uncut ones, in all four directions."""
    from ecumene.mapping.blending import blend_columns

    executor = model.executor("torch", "fp32", 1)
    distance: list[NDArray[np.float64]] = []
    seams: dict[int, list[tuple[float, float, float]]] = {overlap: [] for overlap in OVERLAPS}
    half = SIDE // 2
    for number in range(windows):
        land = Landscape(SIDE, SIDE, 77_000 + number)
        image = land.image(land.classes(0, SIDE), 0, bands) * np.float32(SCALE)
        for turn in range(4):
            turned = np.ascontiguousarray(np.rot90(image, turn, axes=(1, 2)))
            whole = probabilities(executor, model, turned)
            cut = probabilities(executor, model, turned[:, :, half:])
            part = np.s_[:, REACH:-REACH, :REACH]
            reference, other = whole[:, :, half:][part], cut[part]
            step = np.abs(reference - other)
            changed = reference.argmax(axis=0) != other.argmax(axis=0)
            distance.append(np.stack([step.max(axis=(0, 1)), step.mean(axis=(0, 1)), changed.mean(axis=0)]))
            for overlap in OVERLAPS:
                start = half - 32 * (overlap // 64)
                later = probabilities(executor, model, turned[:, :, start:])[:, REACH:-REACH, :overlap]
                earlier = probabilities(executor, model, turned[:, :, : start + overlap])
                blended = blend_columns(earlier[:, REACH:-REACH, start:], later)
                truth = whole[:, REACH:-REACH, start : start + overlap]
                step = np.abs(blended - truth)
                moved = (blended.argmax(axis=0) != truth.argmax(axis=0)).mean()
                seams[overlap].append((float(step.max()), float(step.mean()), float(moved)))
    curve = np.mean(distance, axis=0)
    return {
        "by_distance": {
            str(d): {"largest": float(curve[0, d]), "mean": float(curve[1, d]), "other_class": float(curve[2, d])}
            for d in (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
        },
        "by_overlap": {
            str(overlap): dict(zip(("largest", "mean", "other_class"), np.mean(rows, axis=0).tolist(), strict=True))
            for overlap, rows in seams.items()
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("engine-benchmark"))
    parser.add_argument("--bands", type=int, default=4, choices=(4, 13))
    parser.add_argument("--windows", type=int, default=4)
    arguments = parser.parse_args()
    model = model_for(arguments.cache, arguments.bands, series=False)
    print(json.dumps(measure(model, arguments.bands, arguments.windows), indent=2))


if __name__ == "__main__":
    main()
