"""A compact U-Net for small scenes with few polygons."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="unet-small",
    title="compact U-Net, from a few polygons on one date",
    task="segmentation",
    reads="image",
    kind="network",
    network="unet-small",
    training={
        "epochs": 150,
        "max_steps": 2000,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "patience": 60,
        "class_balance": "inverse-sqrt",
        "ema_decay": 0.98,
    },
    patch_size=32,
    paper="Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, doi 10.1007/978-3-319-24574-4_28",
    deviations="padded convolutions, batch normalisation and fewer channels, so that it trains on a laptop",
)
