"""Cloud removal by a conditional generative adversarial network (pix2pix) from radar and cloudy bands."""

from ecumene.systems._restoration import figures, protocols
from ecumene.systems.contract import System

GAN_TRAINING = {"epochs": 200, "batch_size": 4, "learning_rate": 2e-4, "weight_decay": 0.0}

SYSTEM = System(
    name="cgan-cloud-removal",
    title="cloud removal from one date with radar, U-Net against a discriminator of patches",
    task="restoration",
    reads="image",
    kind="network",
    network="pix2pix-unet",
    network_arguments={"scaling": "symmetric"},
    objective="restoration",
    objective_arguments={"loss": "l1"},
    training=GAN_TRAINING,
    adversarial={"game": "pix2pix", "weight": 100.0},
    patch_size=256,
    data_sets=("sen12ms-cr",),
    protocols=protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})),
    paper=(
        "Grohnfeldt, Schmitt, Zhu: A Conditional Generative Adversarial Network to Fuse SAR and Multispectral Optical "
        "Data for Cloud Removal from Sentinel-2 Images, IGARSS 2018"
    ),
    figures=(
        *figures(
            "SEN12MS-CR",
            "SAR-Opt-cGAN in a table of later work",
            {"mae": 0.043, "psnr": 25.59, "ssim": 0.764, "sam": 15.494},
            verified=False,
            bench="official",
        ),
        *figures(
            "SEN12MS-CR",
            "pix2pix on hold-out scenes, table 1 of Meraner et al. 2020",
            {"mae": 0.0292, "rmse": 0.0424, "psnr": 28.2, "sam": 13.68, "ssim": 0.844},
        ),
    ),
    deviations=(
        "all 13 bands; real clouds of SEN12MS-CR with --data; with scenes, clouds of another simulator than the "
        "paper's Perlin noise; running statistics and no dropout when a map is made"
    ),
)
