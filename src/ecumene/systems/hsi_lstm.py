"""Recurrent network on hyperspectral pixels: long short-term memory."""

from ecumene.systems._hsi import DATA_SETS, PAPER, PROTOCOLS, RECURRENT_TRAINING, TRAINING_DEVIATIONS, figure
from ecumene.systems.contract import System

SYSTEM = System(
    name="hsi-lstm",
    title="recurrent network (LSTM) along the spectrum of one pixel",
    task="segmentation",
    reads="image",
    kind="network",
    network="spectral-rnn",
    network_arguments={"cell": "lstm", "head": "all_states"},
    training=RECURRENT_TRAINING,
    data_sets=DATA_SETS,
    protocols=PROTOCOLS,
    paper=PAPER,
    figures=(figure(0.7592),),
    deviations=("the classifier reads the states of all bands; " + TRAINING_DEVIATIONS),
)
