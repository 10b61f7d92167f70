"""U-Net with a ResNet-18 encoder, the usual choice for whole scenes."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="unet-resnet18",
    title="U-Net with a ResNet-18 encoder, one date, any number of bands",
    task="segmentation",
    reads="image",
    kind="network",
    network="unet",
    network_arguments={"encoder": "resnet18"},
    training={"epochs": 60, "learning_rate": 1e-3, "patience": 20, "class_balance": "inverse-fourth-root"},
    patch_size=128,
    paper="Ronneberger, Fischer, Brox: U-Net, MICCAI 2015; He et al.: ResNet, CVPR 2016",
    deviations="decoder of segmentation-models-pytorch",
)
