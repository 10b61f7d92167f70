"""Gradient boosting on the bands of one pixel (all dates stacked)."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="gradient-boosting",
    title="gradient-boosted trees (LightGBM) on the bands of one pixel, one date or a fixed series",
    task="segmentation",
    reads="pixel",
    kind="boosting",
    training={"n_trees": 200},
    paper="Ke et al.: LightGBM, NeurIPS 2017",
)
