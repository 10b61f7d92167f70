"""Per-pixel temporal attention on an image series."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="ltae-series",
    title="lightweight temporal attention on a series of dates, per pixel",
    task="segmentation",
    reads="series",
    kind="network",
    network="ltae",
    training={"epochs": 60, "batch_size": 128, "learning_rate": 3e-3, "patience": 60, "ema_decay": 0.98},
    patch_size=1,
    paper="Garnot, Landrieu: Lightweight Temporal Self-Attention, 2020, arXiv 2007.00586",
    deviations="the pixel-set encoder is replaced by a spectral encoder of the single pixel",
)
