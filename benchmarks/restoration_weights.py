"""Does it help to weigh filled pixels by their error bars when a classifier learns from them?

    ECUMENE_DATA=... python benchmarks/restoration_weights.py [--seeds 5] [--quick]

Slovenia, land use of four classes, Sentinel-2 L1C of 2015-08-30. Clouds are put on the date and filled by the verb's
own choice, or by the least cloudy date; a random forest learns from observed and filled pixels of some blocks and is
tested on the true date in the others. Compared: filled pixels as they are; weighed by
`restoration.weights.reliability_weights`; left out; and the true date without clouds. Results:
benchmarks/results/restoration_weights.json.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from common import data_root, data_set, spread, store
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble
from ecumene.restoration.cloud_simulation import CloudOptions, simulate_clouds_on
from ecumene.restoration.holdout import choose_method
from ecumene.restoration.weights import reliability_weights
from ecumene.training.fit_trees import fit_forest
from restoration import fill_classical, sample_of
from restoration_data import Place, slovenia

DATE, CLASSES = 3, (1, 2, 3, 8)
NOISE = 0.005


def features(place: Place, seed: int, method: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return reflectance `[K, H, W]` with filled pixels, its standard deviation, and where it was filled."""
    moment = place.source.stack.times[DATE]
    assert moment is not None
    options = CloudOptions(cover=0.3, cirrus_cover=0.1)
    scene = simulate_clouds_on(
        place.image[DATE], place.channels, place.source.stack.geobox, moment, seed=seed, options=options
    )
    clear = place.usable.copy()
    clear[DATE] &= ~scene.covered
    series = place.series(clear)
    chosen = choose_method(sample_of(place, series, seed), method, seed=seed)
    assert chosen is not None
    mean, deviation, _ = fill_classical(place, series, DATE, chosen)
    image = np.where(scene.covered, mean, place.image[DATE])
    return image, np.where(scene.covered, deviation, np.float32(NOISE)), scene.covered


def accuracy(
    x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any] | None, truth: NDArray[Any], test_y: NDArray[Any], seed: int
) -> float:
    """Return the share of test pixels that a forest classifies rightly."""
    arrays = fit_forest(x, y, n_classes=len(CLASSES), n_trees=60, seed=seed, n_jobs=1, sample_weight=weight)
    said = TreeWalker(TreeEnsemble.from_arrays(arrays))(np.ascontiguousarray(truth, np.float32))
    return float(np.mean(np.argmax(said[:, : len(CLASSES)], axis=1) == test_y))


def run(place: Place, seed: int, method: str) -> dict[str, float]:
    """Return the accuracies of one set of clouds and blocks."""
    image, deviation, covered = features(place, seed, method)
    with rasterio.open(data_root() / "s2_eopatch_slovenia" / "lulc_raster.tif") as raster:
        codes = raster.read(1)
    rows, cols = np.mgrid[: place.shape[0], : place.shape[1]]
    block = (rows // 20) * 10 + cols // 20
    rng = np.random.default_rng(seed)
    training = np.isin(block, rng.permutation(np.unique(block))[: len(np.unique(block)) // 2])
    known = np.isin(codes, CLASSES) & np.isfinite(image).all(axis=0)
    inside, outside = training & known, ~training & known
    label = np.searchsorted(CLASSES, codes)
    x, truth = image[:, inside].T, place.image[DATE][:, outside].T
    y, test_y = label[inside], label[outside]
    weight = reliability_weights(deviation[:, inside], place.image[DATE].reshape(len(image), -1).std(axis=1))
    seen = ~covered[inside]
    return {
        "filled_share": float(1.0 - seen.mean()),
        "mean_weight_filled": float(weight[~seen].mean()),
        "filled_as_observed": accuracy(x, y, None, truth, test_y, seed),
        "filled_weighed": accuracy(x, y, weight, truth, test_y, seed),
        "filled_left_out": accuracy(x[seen], y[seen], None, truth, test_y, seed),
        "true_date": accuracy(place.image[DATE][:, inside].T, y, None, truth, test_y, seed),
    }


def main() -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, prints only")
    options = parser.parse_args()
    place = slovenia()
    results: dict[str, Any] = {"data": data_set("slovenia", place.files), "accuracy": {}}
    for method in ("auto", "least-cloudy"):
        runs = [run(place, seed, method) for seed in range(1 if options.quick else options.seeds)]
        results["accuracy"][method] = {key: spread([one[key] for one in runs]) for key in runs[0]}
        gains = [one["filled_weighed"] - one["filled_as_observed"] for one in runs]
        results["accuracy"][method]["gain_of_weights"] = spread(gains)
        print(method, {key: round(float(np.mean([one[key] for one in runs])), 4) for key in runs[0]}, gains)
    if not options.quick:
        print(store("restoration_weights", results))


if __name__ == "__main__":
    main()
