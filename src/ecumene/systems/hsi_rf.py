"""Random forest of 200 trees on the bands of one pixel, a baseline of hyperspectral work."""

from ecumene.systems._hsi import DATA_SETS, PROTOCOLS, figure
from ecumene.systems.contract import System

SYSTEM = System(
    name="hsi-rf",
    title="random forest of 200 trees on the bands of one pixel",
    task="segmentation",
    reads="pixel",
    kind="forest",
    training={"n_trees": 200},
    data_sets=DATA_SETS,
    protocols=PROTOCOLS,
    paper="Breiman: Random Forests, Machine Learning 45, 2001; compared by Mou et al., TGRS 2017",
    figures=(figure(0.7137),),
    deviations=("a tenth of the training pixels calibrates"),
)
