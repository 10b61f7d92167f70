"""The main path on real scenes: train, map, assess; openings and alignments; outliers under real shifts.

    ECUMENE_DATA=... python benchmarks/main_path.py [--seeds 5] [--only slovenia,outliers,...]

Writes `results/main_path.json`. Every part can be run alone; its figures replace the older ones of that part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from common import RESULTS, data_root, data_set, spread, store
from ecumene import assess_map, map_scenes, train_model
from ecumene.indicators.accuracy import number
from ecumene.mapping.product import Product

SLOVENIA = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
FIRST_SEED = 100
"""The systems' settings were chosen on seeds 0 to 4, the last U-Net setting after an earlier one was seen on these."""
CLEAR = ("2015-07-11", "2015-08-30", "2015-09-09")
CLOUDED = ("2015-07-31", "2015-08-20")


def slovenia_scene(date: str) -> Path:
    return data_root() / "s2_eopatch_slovenia" / f"S2_L1C_{date}.tif"


def train_map_assess(
    scenes: list[Path], labels: Path, folder: Path, *, field: str, declaration: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """Run the three verbs; the reference are the points that the split held out."""
    start = time.perf_counter()
    holdout = folder / "holdout.gpkg"
    model = train_model(scenes, labels, folder / "model", label_field=field, holdout=holdout, **options, **declaration)
    trained = time.perf_counter()
    product: Product = map_scenes(folder / "model", scenes, folder / "product", **declaration)
    mapped = time.perf_counter()
    assessment = assess_map(product.folder, holdout)
    card = model.spec.training["accuracy"]
    return {
        "system": model.spec.training["system"],
        "train_seconds": round(trained - start, 1),
        "map_seconds": round(mapped - trained, 1),
        "reference_points": assessment.sample_size,
        "overall_accuracy": assessment.measure("overall_accuracy"),
        "macro_f1": assessment.measure("macro_f1"),
        "kappa": assessment.measure("kappa"),
        "per_class_f1": dict(
            zip(assessment.legend.names, map(number, assessment.accuracy.measures["f1"]), strict=True)
        ),
        "area_adjusted_overall_accuracy": assessment.adjusted.overall.to_dict(),
        "held_out_pixels": {
            "pixels": card.get("pixels"),
            **{key: card["overall"][key] for key in ("overall_accuracy", "macro_f1", "kappa") if card},
        },
        "calibration": card.get("calibration", {}).get("expected_calibration_error"),
        "calibration_before": card.get("calibration", {}).get("expected_calibration_error_before"),
        "class_sets": card.get("class_sets"),
        "flagged_share_in_distribution": card.get("outlier", {}).get("flagged_share_in_distribution"),
    }


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds of the figures that are compared."""
    out: dict[str, Any] = {}
    for key in (
        "overall_accuracy",
        "macro_f1",
        "kappa",
        "train_seconds",
        "calibration",
        "flagged_share_in_distribution",
    ):
        values = [run[key] for run in runs if run.get(key) is not None]
        if values:
            out[key] = spread(values)
    return out


def compare(
    name: str,
    cases: dict[str, dict[str, Any]],
    labels: Path,
    field: str,
    declaration: dict[str, Any],
    seeds: int,
    **common: Any,
) -> dict[str, Any]:
    """Run every case with the same seeds, so with the same split."""
    results: dict[str, Any] = {}
    for case, setting in cases.items():
        runs = []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = train_map_assess(
                    setting["scenes"],
                    labels,
                    Path(folder),
                    field=field,
                    declaration=declaration,
                    seed=seed,
                    system=setting["system"],
                    **common,
                    **setting.get("options", {}),
                )
            runs.append({"seed": seed, **run})
            print(
                f"{name:12s} {case:24s} seed {seed}: OA {run['overall_accuracy']:.3f}  "
                f"macro F1 {run['macro_f1']:.3f}  {run['train_seconds']} s",
                flush=True,
            )
        results[case] = {"summary": summarise(runs), "runs": runs}
    return results


def slovenia(seeds: int) -> dict[str, Any]:
    """Land cover of one date and of all clear dates, networks beside forests on the same split."""
    first = [slovenia_scene(CLEAR[0])]
    series = [slovenia_scene(date) for date in CLEAR]
    labels = data_root() / "s2_eopatch_slovenia" / "lulc_vector.geojson"
    cases = {
        "unet, one date": {"scenes": first, "system": "unet-small"},
        "random forest, one date": {"scenes": first, "system": "random-forest"},
        "ltae, three dates": {"scenes": series, "system": "ltae-series"},
        "random forest, three dates": {"scenes": series, "system": "random-forest"},
    }
    results = compare("slovenia", cases, labels, "LULC_NAME", SLOVENIA, seeds, mask_clouds=False)
    return {
        "data": data_set("s2_eopatch_slovenia", [*series, labels]),
        "protocol": "spatial blocks, held-out points",
        "cases": results,
    }


def amazon(seeds: int) -> dict[str, Any]:
    """Another level: L2A with the offset of processing baseline 04.00 still in."""
    folder = data_root() / "s2_amazon_village"
    scenes, labels = [folder / "S2_L2A_12band.tif"], folder / "training_polygons.gpkg"
    declaration = {"sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": -0.1}
    cases = {
        "unet": {"scenes": scenes, "system": "unet-small"},
        "random forest": {"scenes": scenes, "system": "random-forest"},
    }
    results = compare("amazon", cases, labels, "class", declaration, seeds, split_by="feature")
    return {
        "data": data_set("s2_amazon_village", [*scenes, labels]),
        "protocol": "whole polygons held out",
        "cases": results,
    }


def landsat(seeds: int) -> dict[str, Any]:
    """Another sensor: Landsat 5 of 1988, reflectance and temperature from its metadata file."""
    folder = data_root() / "landsat5_para_1988"
    scenes, labels = [folder / "LT52240631988227CUB02_MTL.txt"], folder / "training_polygons.gpkg"
    declaration: dict[str, Any] = {}
    cases = {
        "unet": {"scenes": scenes, "system": "unet-small"},
        "random forest": {"scenes": scenes, "system": "random-forest"},
    }
    results = compare("landsat", cases, labels, "class", declaration, seeds, split_by="feature")
    return {
        "data": data_set("landsat5_para_1988", [folder / "LT5_1988-08-14_dn.tif", *scenes, labels]),
        "protocol": "whole polygons held out",
        "cases": results,
    }


PARTS = {"slovenia": slovenia, "amazon": amazon, "landsat": landsat}


def main() -> None:
    from main_path_openings import openings
    from main_path_outliers import outliers

    parts = {**PARTS, "outliers": outliers, "openings": openings}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default=",".join(parts))
    chosen = parser.parse_args()
    path = RESULTS / "main_path.json"
    results = json.loads(path.read_text())["parts"] if path.exists() else {}
    for name in chosen.only.split(","):
        results[name] = parts[name](chosen.seeds)
        store("main_path", {"parts": results})
    print(path)


if __name__ == "__main__":
    main()
