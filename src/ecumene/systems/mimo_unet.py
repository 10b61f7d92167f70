"""MIMO U-Net: the members of an ensemble as sub-networks of one U-Net."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="mimo-unet",
    title="U-Net with two sub-networks in one, error bars from one pass (classes, or numbers with --target)",
    task="segmentation",
    reads="image",
    kind="network",
    network="mimo-unet",
    network_arguments={"members": 2, "width": 30, "repetition": 0.0, "temperature": 0.3},
    training={"epochs": 100, "learning_rate": 1e-3, "batch_size": 32, "patience": 40, "max_steps": 4000},
    patch_size=64,
    paper="Baumann, Rossberg, Schmitt: Probabilistic MIMO U-Net, ICCV workshop 2023, arXiv 2308.07477",
    deviations=(
        "bilinear upsampling with pixel edges aligned, so that maps do not depend on windows; AdamW with warm-up and "
        "cosine instead of Adam with steps; windows of 64 instead of 256 pixels; epochs bounded by steps; regression "
        "on standardised targets with limits on the log-variance instead of clamped parameters; classes beside numbers"
    ),
)
