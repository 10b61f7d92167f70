"""Support vector machine with a Gaussian kernel on the bands of one pixel, the usual hyperspectral baseline."""

from ecumene.systems._hsi import DATA_SETS, PROTOCOLS, figure
from ecumene.systems.contract import System

SYSTEM = System(
    name="hsi-svm",
    title="support vector machine with a Gaussian kernel on the bands of one pixel",
    task="segmentation",
    reads="pixel",
    kind="svm",
    training={"folds": 5},
    data_sets=DATA_SETS,
    protocols=PROTOCOLS,
    paper="Cortes, Vapnik: Support-Vector Networks, Machine Learning 20, 1995; compared by Mou et al., TGRS 2017",
    figures=(figure(0.7882),),
    deviations=(
        "the grid of the 5-fold search is ours; bands are standardised; at most 10,000 pixels are learned from, and "
        "at most 2,000 searched; a tenth of the training pixels calibrates"
    ),
)
