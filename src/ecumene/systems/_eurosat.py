"""What the systems of EuroSAT share."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

PAPER = (
    "Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover "
    "Classification, IEEE JSTARS 12(7), 2217-2226, 2019, doi 10.1109/JSTARS.2019.2918242"
)
METRICS = ("overall_accuracy", "macro_f1", "kappa")
PROTOCOLS = (
    BenchProtocol(name="random-80", split="random", train_share=0.8, metrics=METRICS),
    *(
        BenchProtocol(
            name=f"random-80-{bands}", split="random", train_share=0.8, metrics=METRICS, data_options={"bands": bands}
        )
        for bands in ("swir", "ci", "all")
    ),
    *(
        BenchProtocol(name=f"random-{share}", split="random", train_share=share / 100, metrics=METRICS)
        for share in (10, 20, 30, 40, 50, 60, 70, 90)
    ),
    BenchProtocol(name="spatial-80", split="spatial", train_share=0.8, metrics=METRICS),
    BenchProtocol(name="longitude", split="official", official="spatial", metrics=METRICS),
)


def figure(value: float, bands: str, bench: str, *, verified: bool) -> PublishedFigure:
    """Return a published overall accuracy on 20 % of the images."""
    return PublishedFigure(
        data_set="EuroSAT",
        metric="overall_accuracy",
        value=value,
        protocol=f"{bands}, random split, 80 % of the images for training",
        verified=verified,
        bench=bench,
    )


def eurosat(name: str, title: str, trunk: str, figures: tuple[PublishedFigure, ...]) -> System:
    """Return the system that fine-tunes one trunk on EuroSAT."""
    return System(
        name=name,
        title=title,
        task="scene-classification",
        reads="scene",
        kind="network",
        network="scene-cnn",
        network_arguments={"trunk": trunk, "input_size": 224, "encoder_weights": "if-present"},
        objective="scene-classification",
        training={
            "epochs": 60,
            "batch_size": 64,
            "optimiser": "rmsprop",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "patience": 20,
            "ema_decay": 0.99,
        },
        patch_size=64,
        data_sets=("eurosat",),
        data_options={"bands": "rgb"},
        protocols=PROTOCOLS,
        paper=PAPER,
        figures=figures,
        deviations=(
            "ImageNet weights only where they are on the machine (the card says what the network began with); RMSProp "
            "as published, its rate within the published range of 0.01 to 0.0001, but along a warm-up and a cosine and "
            "for all layers at once instead of for the last layer first; flips, turns and small changes of radiometry "
            "augment the images; gradients are clipped to the norm 1; a moving average of the weights; 10 % of the "
            "training images each stop the training and calibrate; the band triple of SWIR is a choice (B12, B8A, "
            "B04); bands are standardised, not stretched to 8 bit"
        ),
    )
