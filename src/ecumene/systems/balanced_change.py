"""Change between two dates from radar and optical streams that learn in balance."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="balanced-change",
    title="new buildings between two dates from Sentinel-1 and Sentinel-2 streams that learn in balance",
    task="segmentation",
    reads="pair",
    kind="network",
    network="balanced-change-unet",
    network_arguments={"streams": "by sensor"},
    objective="jaccard-segmentation",
    training={
        "epochs": 100,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "schedule": "constant",
        "warmup": 0.0,
        "patience": 10,
        "gradient_clip": 1e6,
    },
    patch_size=64,
    data_sets=("growth-sites",),
    data_options={"dates": 2, "samples": 4, "bands": ["B02", "B03", "B04", "B08"]},
    paper=(
        "named after Hafner: Balanced Multi-Modal Learning from Sentinel-1 SAR and Sentinel-2 MSI Data for Improved "
        "Urban Change Detection (poster, 2022), which publishes neither method nor figures"
    ),
    deviations=(
        "a method of its own: the poster has a title only; on simulated sites, with one seed, balancing by gradients "
        "was worse than none (benchmarks/results/change_semi.json)"
    ),
)
