"""Convolution along the spectrum of one pixel, a baseline of hyperspectral work."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

METRICS = ("overall_accuracy", "average_accuracy", "kappa")

SYSTEM = System(
    name="hsi-cnn",
    title="convolutional network along the spectrum of one pixel",
    task="segmentation",
    reads="image",
    kind="network",
    network="spectral-cnn",
    network_arguments={},
    training={"epochs": 200, "batch_size": 128, "learning_rate": 3e-3, "patience": 200, "precision": "32"},
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
    paper="Hu et al.: Deep CNN for Hyperspectral Image Classification, J. Sensors 2015; Mou et al., TGRS 2017",
    figures=(
        PublishedFigure(
            data_set="Pavia University",
            metric="overall_accuracy",
            value=0.7927,
            protocol="fixed training map of 3,921 pixels, all 42,776 labelled pixels tested",
            verified=True,
            bench="fixed-overlapping",
        ),
    ),
    deviations=(
        "layer sizes after Hu et al. from memory, those of the comparison are not known; "
        "AdamW with warm-up and cosine instead of Adadelta (a rate of 1, quoted from memory); "
        "a tenth of the training pixels stops the training and another one calibrates; bands are standardised"
    ),
)
