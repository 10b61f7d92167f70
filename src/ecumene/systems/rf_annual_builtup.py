"""Annual built-up ground: a random forest on a year's median and its indices."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="rf-annual-builtup",
    title="built-up ground of a year: random forest on median bands, NDVI, NDBI and NDWI; `series --model` by year",
    task="segmentation",
    reads="pixel",
    kind="forest",
    training={"n_trees": 300, "runs": 5},
    row_features={"yearly_median": True, "indices": ["NDVI", "NDBI", "NDWI"]},
    paper=(
        "Zhou, Lu, Guo et al.: Urban Sprawl and Changes in Land-Use Efficiency in the Beijing-Tianjin-Hebei Region, "
        "China from 2000 to 2020, Remote Sensing 13, 2021"
    ),
    deviations=(
        "as in the paper the forest is grown several times and the one of the best overall accuracy is kept, but that "
        "is measured on the validation part, and the card's accuracy on a test part that chose nothing: the paper "
        "reports the accuracy by which it chose, which is optimistic; runs differ by their seed, not by their split; "
        "composites are medians, NDWI is McFeeters', 300 trees and the square root of the features a split are "
        "choices, since the paper's are not known here"
    ),
)
