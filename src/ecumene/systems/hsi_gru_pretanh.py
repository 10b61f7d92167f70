"""Deep recurrent network on hyperspectral pixels: gated recurrent units with PRetanh."""

from ecumene.systems._hsi import DATA_SETS, PAPER, PROTOCOLS, RECURRENT_TRAINING, TRAINING_DEVIATIONS, figure
from ecumene.systems.contract import PublishedFigure, System

SYSTEM = System(
    name="hsi-gru-pretanh",
    title="recurrent network (GRU with PRetanh) along the spectrum of one pixel",
    task="segmentation",
    reads="image",
    kind="network",
    network="spectral-rnn",
    network_arguments={"cell": "gru-pretanh", "head": "all_states"},
    training=RECURRENT_TRAINING,
    data_sets=DATA_SETS,
    protocols=PROTOCOLS,
    paper=PAPER,
    figures=(
        figure(0.8499),
        PublishedFigure(
            data_set="Pavia University",
            metric="overall_accuracy",
            value=0.8885,
            protocol="the same, as other papers quote it",
            verified=False,
        ),
    ),
    deviations=(
        "the classifier reads the states of all bands, as the public port does, where the paper may read the last one; "
        + TRAINING_DEVIATIONS
    ),
)
