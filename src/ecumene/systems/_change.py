"""What systems of change between two dates share.

The epoch is chosen by the validation loss: a network that calls nothing changed yet has the same F1 in one epoch after
the other, and the first of them would be taken.
"""

from ecumene.systems.contract import PublishedFigure, System

OSCD = "oscd"
_FC_PAPER = (
    "Caye Daudt, Le Saux, Boulch: Fully Convolutional Siamese Networks for Change Detection, ICIP 2018, 4063-4067"
)
_FC_PROTOCOL = "13 bands, official training cities, pixels of the ten official test cities together"
_RECNN_PAPER = (
    "Mou, Bruzzone, Zhu: Learning Spectral-Spatial-Temporal Features via a Recurrent Convolutional Neural Network for "
    "Change Detection in Multispectral Imagery, IEEE TGRS 57(2), 2019, arXiv 1803.02642"
)


def figure(metric: str, value: float, protocol: str, verified: bool = True) -> PublishedFigure:
    """Return a published figure on the Onera data set."""
    return PublishedFigure(data_set=OSCD, metric=metric, value=value, protocol=protocol, verified=verified)


def fully_convolutional(name: str, title: str, fusion: str, figures: dict[str, float]) -> System:
    """Return one of the three networks of Caye Daudt et al.

    Args:
        name: Of the system.
        title: For people.
        fusion: Argument of the network.
        figures: Published figures on the Onera data set (quoted from second hand).
    """
    return System(
        name=name,
        title=title,
        task="segmentation",
        reads="pair",
        kind="network",
        network="fc-siam",
        network_arguments={"fusion": fusion},
        training={
            "epochs": 400,
            "max_steps": 1500,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "optimiser": "adamw",
            "patience": 100,
            "monitor": "validation_loss",
            "class_balance": "inverse-sqrt",
        },
        standardised=True,
        crops={"per_region": 80, "candidates": 1},
        patch_size=96,
        data_sets=(OSCD,),
        paper=_FC_PAPER,
        figures=tuple(figure(key, value, _FC_PROTOCOL, verified=False) for key, value in figures.items()),
        deviations=(
            "windows of 96 pixels are drawn at random instead of side by side with half an overlap; classes are "
            "weighted by the inverse square root of their share (the authors weigh the change a tenth of its inverse "
            "share, which is about the same on their data); cosine schedule; gradients are clipped to the norm 1; "
            "each image is standardised as a whole, as by the authors, and then its bands by the training set; "
            "validation blocks choose epoch and threshold, the authors take the more probable class"
        ),
    )


def recurrent(name: str, cell: str, title: str) -> System:
    """Return ReCNN with one of its recurrent units.

    Args:
        name: Of the system.
        cell: Argument of the network.
        title: For people.
    """
    return System(
        name=name,
        title=title,
        task="segmentation",
        reads="pair",
        kind="network",
        network="recnn",
        network_arguments={"cell": cell},
        training={
            "epochs": 200,
            "max_steps": 2000,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "optimiser": "nadam",
            "patience": 60,
            "monitor": "validation_loss",
            "class_balance": "inverse-sqrt",
        },
        patch_size=32,
        paper=_RECNN_PAPER,
        deviations=(
            "learns from windows (drawn evenly, of several places) whose every labelled pixel is a patch of 5 x 5, so "
            "that a batch is 16 windows and not 256 patches, with a learning rate of 1e-3 on a cosine instead "
            "of 2e-4; gradients are clipped to the norm 1; widths, units and dense layers are this project's choice; "
            "bands are standardised by the training set over both dates; of two classes a threshold chosen on "
            "validation blocks decides"
        ),
    )


def dual_stream(name: str, title: str, streams: str | None, figures: dict[str, float]) -> System:
    """Return DS-UNet or its stacked fusion.

    Args:
        name: Of the system.
        title: For people.
        streams: `by sensor`, or None for one stream of all channels.
        figures: Published figures on the Onera data set.
    """
    protocol = "Sentinel-1 VV and 13 bands of Sentinel-2, official split, pixels of the ten test cities together"
    return System(
        name=name,
        title=title,
        task="segmentation",
        reads="pair",
        kind="network",
        network="dual-stream-unet",
        network_arguments={"streams": streams},
        objective="jaccard-segmentation",
        objective_arguments={"factor": 2.0},
        training={
            "epochs": 390,
            "batch_size": 64,
            "learning_rate": 5e-5,
            "weight_decay": 5e-4,
            "optimiser": "adam",
            "schedule": "constant",
            "warmup": 0.0,
            "patience": 390,
            "monitor": "validation_loss",
        },
        crops={"per_region": 5, "candidates": 20, "offset": 5.0},
        patch_size=32,
        data_sets=(OSCD,),
        paper=(
            "Hafner, Nascetti, Azizpour, Ban: Sentinel-1 and Sentinel-2 Data Fusion for Urban Change Detection Using a "
            "Dual Stream U-Net, IEEE GRSL 19, 2022, doi 10.1109/LGRS.2021.3119856"
        ),
        figures=tuple(figure(key, value, protocol) for key, value in figures.items()),
        deviations=(
            "bands are standardised by the training set instead of clipped to 0..1; optical bands vary in gain and "
            "haze while training, beside the published flips and turns; gradients are clipped to the norm 1; the epoch "
            "is chosen by validation blocks, and so is the threshold, which the authors chose on training data; the "
            "training data of a single scene are windows side by side instead of importance crops; OSCD's files hold "
            "no Sentinel-1, so that learned from them it is one U-Net of Sentinel-2, which the figures are not of"
        ),
    )
