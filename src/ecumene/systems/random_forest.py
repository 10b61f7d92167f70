"""Random forest on the bands of one pixel (all dates stacked)."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="random-forest",
    title="random forest on the bands of one pixel, one date or a fixed series",
    task="segmentation",
    reads="pixel",
    kind="forest",
    training={"n_trees": 200},
    paper="Breiman: Random Forests, Machine Learning 45, 2001, doi 10.1023/A:1010933404324",
)
