"""Convolution along the spectrum of one pixel, a baseline of hyperspectral work."""

from ecumene.systems._hsi import DATA_SETS, PROTOCOLS, TRAINING_DEVIATIONS, figure
from ecumene.systems.contract import System

SYSTEM = System(
    name="hsi-cnn",
    title="convolutional network along the spectrum of one pixel",
    task="segmentation",
    reads="image",
    kind="network",
    network="spectral-cnn",
    network_arguments={},
    training={"epochs": 200, "batch_size": 128, "learning_rate": 3e-3, "patience": 200, "precision": "32"},
    data_sets=DATA_SETS,
    protocols=PROTOCOLS,
    paper="Hu et al.: Deep CNN for Hyperspectral Image Classification, J. Sensors 2015; Mou et al., TGRS 2017",
    figures=(figure(0.7927),),
    deviations=(
        "layer sizes after Hu et al. from memory, those of the comparison are not known; " + TRAINING_DEVIATIONS
    ),
)
