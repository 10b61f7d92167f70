"""A multi-layer perceptron on the bands of one pixel."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="mlp-pixel",
    title="multi-layer perceptron on the bands of one pixel, one date",
    task="segmentation",
    reads="image",
    kind="network",
    network="mlp",
    training={"epochs": 80, "batch_size": 512, "learning_rate": 2e-3, "patience": 15, "class_balance": "inverse-sqrt"},
    patch_size=1,
)
