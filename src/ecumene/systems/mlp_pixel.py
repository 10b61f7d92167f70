"""A multi-layer perceptron on the bands of one pixel."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="mlp-pixel",
    title="multi-layer perceptron on the bands of one pixel, one date",
    task="segmentation",
    reads="image",
    kind="network",
    network="mlp",
    training={"epochs": 60, "batch_size": 128, "learning_rate": 2e-3, "patience": 40, "ema_decay": 0.98},
    patch_size=1,
)
