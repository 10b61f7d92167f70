"""What the systems of hyperspectral pixels share: data sets, protocols and the comparison they were published in."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure

PAPER = "Mou, Ghamisi, Zhu: Deep Recurrent Neural Networks for Hyperspectral Image Classification, TGRS 2017"
DATA_SETS = ("pavia-university", "indian-pines", "salinas", "houston-2013")
METRICS = ("overall_accuracy", "average_accuracy", "kappa")
PROTOCOLS = (
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
)
RECURRENT_TRAINING = {"epochs": 100, "batch_size": 128, "learning_rate": 3e-3, "patience": 100, "precision": "32"}
TRAINING_DEVIATIONS = (
    "AdamW with warm-up and cosine instead of Adadelta (a rate of 1, quoted from memory); "
    "a tenth of the training pixels stops the training and another one calibrates; bands are standardised"
)


def figure(value: float) -> PublishedFigure:
    """Return the overall accuracy that `PAPER` reports for one of its methods on Pavia University."""
    return PublishedFigure(
        data_set="Pavia University",
        metric="overall_accuracy",
        value=value,
        protocol="fixed training map of 3,921 pixels, all 42,776 labelled pixels tested",
        verified=True,
        bench="fixed-overlapping",
    )
