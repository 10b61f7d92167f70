"""Cloud removal with a cycle and cloud weights."""

from ecumene.systems._restoration import protocols
from ecumene.systems.cgan_cloud_removal import GAN_TRAINING
from ecumene.systems.contract import System

SYSTEM = System(
    name="sen12ms-cr-cyclegan",
    title="cloud removal from one date with radar, cycle-consistent and weighted by cloud probability",
    task="restoration",
    reads="image",
    kind="network",
    network="pix2pix-unet",
    network_arguments={"scaling": "symmetric"},
    objective="restoration",
    objective_arguments={"loss": "l1"},
    training=GAN_TRAINING,
    adversarial={"game": "cycle"},
    patch_size=256,
    data_sets=("sen12ms-cr",),
    protocols=protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})),
    paper=(
        "Ebel, Meraner, Schmitt, Zhu: Multi-Sensor Data Fusion for Cloud Removal in Global and All-Season Sentinel-2 "
        "Imagery, IEEE TGRS 59(7), 2021, arXiv 2009.07683"
    ),
    deviations=(
        "the paper's loss has these terms, their weights and the generator are chosen here: the U-Net of pix2pix, the "
        "weights of Zhu et al. 2017, and a cloud mask averaged over 7 x 7 pixels as probability; no pool of earlier "
        "images; no published figures are stated here"
    ),
)
