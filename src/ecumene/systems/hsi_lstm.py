"""Recurrent network on hyperspectral pixels: long short-term memory."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

METRICS = ("overall_accuracy", "average_accuracy", "kappa")

SYSTEM = System(
    name="hsi-lstm",
    title="recurrent network (LSTM) along the spectrum of one pixel",
    task="segmentation",
    reads="image",
    kind="network",
    network="spectral-rnn",
    network_arguments={"cell": "lstm", "head": "all_states"},
    training={"epochs": 100, "batch_size": 128, "learning_rate": 3e-3, "patience": 100, "precision": "32"},
    data_sets=("pavia-university", "indian-pines", "salinas", "houston-2013"),
    protocols=(
        BenchProtocol(name="fixed", split="official", data_options={"labels": "fixed"}, draws=10, metrics=METRICS),
        BenchProtocol(
            name="fixed-overlapping",
            split="official",
            data_options={"labels": "fixed-overlapping"},
            draws=10,
            metrics=METRICS,
        ),
        BenchProtocol(name="random-10", split="random", train_share=0.1, draws=10, metrics=METRICS),
        BenchProtocol(name="spatial-50", split="spatial", train_share=0.5, draws=10, metrics=METRICS),
    ),
    paper="Mou, Ghamisi, Zhu: Deep Recurrent Neural Networks for Hyperspectral Image Classification, TGRS 2017",
    figures=(
        PublishedFigure(
            data_set="Pavia University",
            metric="overall_accuracy",
            value=0.7592,
            protocol="fixed training map of 3,921 pixels, all 42,776 labelled pixels tested",
            verified=True,
            bench="fixed-overlapping",
        ),
    ),
    deviations=(
        "the classifier reads the states of all bands; "
        "AdamW with warm-up and cosine instead of Adadelta (a rate of 1, quoted from memory); "
        "a tenth of the training pixels stops the training and another one calibrates; bands are standardised"
    ),
)
