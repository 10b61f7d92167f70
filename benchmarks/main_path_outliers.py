"""Outliers under real shifts: a model of one Slovenian scene meets clouds and other countries, same bands, same level.

In distribution: labelled pixels of the blocks that nothing was fitted on. The yardsticks see the band means of the same
5 x 5 pixels and are fitted on the same training pixels: a Gaussian with covariance (Mahalanobis distance), and the mean
squared standardised distance, which knows means and spreads only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from common import data_root, data_set, spread
from ecumene import train_model
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.samples.contract import Part
from ecumene.samples.labels import read_labels
from ecumene.samples.split import split_blocks
from ecumene.scenes.grid import full_window
from ecumene.trust.measures import auroc, fpr_at_tpr
from ecumene.trust.outlier import MahalanobisDetector
from ecumene.workflows.stacks import open_stack

L1C = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
TRAINED_ON = "2015-07-11"
FIRST_SEED = 100
AVERAGE = 5


def _files() -> dict[str, Path]:
    root = data_root()
    slovenia = root / "s2_eopatch_slovenia"
    return {
        "clouded 2015-07-31": slovenia / "S2_L1C_2015-07-31.tif",
        "clouded 2015-08-20": slovenia / "S2_L1C_2015-08-20.tif",
        "Spain": root / "sen1floods11_spain_7370579" / "Spain_7370579_S2Hand.tif",
        "Pakistan": sorted((root / "ssl4eo_s12_patch_0000200" / "s2c" / "0000200").iterdir())[0],
    }


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the image `[C, H, W]` in the order of `BANDS` and its validity."""
    declared = {"bands": BANDS} if "Spain" in path.name else {}
    stack = open_stack(path, mask_clouds=False, **L1C, **declared).select([f"sentinel-2/{band}" for band in BANDS])
    block = stack.read(full_window(stack.geobox))
    return block.image[0], block.valid[0]


def _scores(model: Model, image: np.ndarray) -> np.ndarray:
    """Return the outlier score `[H, W]`, edges padded to the network's stride."""
    height, width = image.shape[1:]
    stride = max(1, model.spec.stride)
    padding = ((0, 0), (0, -height % stride), (0, -width % stride))
    padded = np.pad(image, padding, mode="edge")[None]
    return model.executor("torch", "fp32").run(np.ascontiguousarray(padded))[1][0, :height, :width]


def _band_means(image: np.ndarray) -> np.ndarray:
    """Return the mean of each band over 5 x 5 pixels, `[H, W, C]`."""
    filled = np.where(np.isfinite(image), image, 0.0)
    return np.stack([uniform_filter(band, AVERAGE, mode="nearest") for band in filled], axis=-1)


def _one(seed: int, system: str, labels: Path, scene: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        model = train_model(
            scene,
            labels,
            Path(folder) / "model",
            label_field="LULC_NAME",
            system=system,
            seed=seed,
            mask_clouds=False,
            **L1C,
        )
    stack = open_stack(scene, mask_clouds=False, **L1C)
    raster = read_labels(labels, "LULC_NAME", stack.geobox)
    split = split_blocks(raster, seed=seed)
    height, width = stack.geobox.shape
    parts = split.read(Window(0, 0, height, width))
    image, _ = _read(scene)
    inside = _scores(model, image)[parts == Part.TEST]
    means = _band_means(image)
    known = means[parts == Part.TRAIN]
    yardstick = MahalanobisDetector.fit(known, seed=seed)
    inside_means = yardstick.score(means[parts == Part.TEST])
    center, scale = known.mean(axis=0), known.std(axis=0)

    def plain(values: np.ndarray) -> np.ndarray:
        return np.square((values - center) / scale).mean(axis=-1)

    inside_plain = plain(means[parts == Part.TEST])
    threshold = model.detector.threshold
    shifts: dict[str, Any] = {}
    for name, path in _files().items():
        other, valid = _read(path)
        outside, other_means = _scores(model, other)[valid], _band_means(other)[valid]
        outside_means, outside_plain = yardstick.score(other_means), plain(other_means)
        shifts[name] = {
            "pixels": int(valid.sum()),
            "flagged_share": float((outside > threshold).mean()),
            "auroc": auroc(inside, outside),
            "fpr95": fpr_at_tpr(inside, outside),
            "auroc_band_means": auroc(inside_means, outside_means),
            "fpr95_band_means": fpr_at_tpr(inside_means, outside_means),
            "auroc_band_means_without_covariance": auroc(inside_plain, outside_plain),
            "fpr95_band_means_without_covariance": fpr_at_tpr(inside_plain, outside_plain),
        }
    return {
        "seed": seed,
        "in_distribution_pixels": int(inside.size),
        "flagged_share_in_distribution": float((inside > threshold).mean()),
        "shifts": shifts,
    }


def outliers(seeds: int) -> dict[str, Any]:
    """Measure AUROC and flagged shares of every shift for every seed."""
    folder = data_root() / "s2_eopatch_slovenia"
    labels, scene = folder / "lulc_vector.geojson", folder / f"S2_L1C_{TRAINED_ON}.tif"
    results: dict[str, Any] = {}
    for system in ("unet-small",):
        runs = [_one(seed, system, labels, scene) for seed in range(FIRST_SEED, FIRST_SEED + seeds)]
        names = list(runs[0]["shifts"])
        summary: dict[str, Any] = {
            "flagged_share_in_distribution": spread([run["flagged_share_in_distribution"] for run in runs])
        }
        for name in names:
            summary[name] = {
                key: spread([run["shifts"][name][key] for run in runs])
                for key in runs[0]["shifts"][name]
                if key != "pixels"
            }
            line = summary[name]
            print(
                f"outliers {name:20s} AUROC {line['auroc']['mean']:.6f} "
                f"(band means {line['auroc_band_means']['mean']:.6f}, "
                f"without covariance {line['auroc_band_means_without_covariance']['mean']:.6f})"
                f"  flagged {line['flagged_share']['mean']:.3f}",
                flush=True,
            )
        print(f"outliers in distribution: flagged {summary['flagged_share_in_distribution']}", flush=True)
        results[system] = {"summary": summary, "runs": runs}
    paths = [scene, labels]
    for path in _files().values():
        paths += sorted(path.glob("*.tif")) if path.is_dir() else [path]
    return {"data": data_set("s2_eopatch_slovenia and shifts", paths), "protocol": __doc__.strip(), "systems": results}
