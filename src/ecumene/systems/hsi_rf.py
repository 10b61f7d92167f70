"""Random forest of 200 trees on the bands of one pixel, a baseline of hyperspectral work."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

METRICS = ("overall_accuracy", "average_accuracy", "kappa")

SYSTEM = System(
    name="hsi-rf",
    title="random forest of 200 trees on the bands of one pixel",
    task="segmentation",
    reads="pixel",
    kind="forest",
    training={"n_trees": 200},
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
    paper="Breiman: Random Forests, Machine Learning 45, 2001; compared by Mou et al., TGRS 2017",
    figures=(
        PublishedFigure(
            data_set="Pavia University",
            metric="overall_accuracy",
            value=0.7137,
            protocol="fixed training map of 3,921 pixels, all 42,776 labelled pixels tested",
            verified=True,
            bench="fixed-overlapping",
        ),
    ),
    deviations=("a tenth of the training pixels calibrates"),
)
