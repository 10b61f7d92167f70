"""Urban change between two dates from radar and optical images, semi-supervised."""

from ecumene.systems.contract import PublishedFigure, System

_PROTOCOL = "SpaceNet 7 sites with Sentinel images, 14 test sites, {} of the training sites labelled"

SYSTEM = System(
    name="mmcr-change",
    title="new buildings between two dates of Sentinel-1 and Sentinel-2, with unlabelled places",
    task="segmentation",
    reads="pair",
    kind="network",
    network="mmcr-change",
    network_arguments={"streams": "by sensor"},
    objective="jaccard-segmentation",
    training={
        "epochs": 100,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "schedule": "constant",
        "warmup": 0.0,
        "patience": 10,
        "gradient_clip": 1e6,
    },
    patch_size=128,
    data_sets=("growth-sites",),
    data_options={"dates": 2, "samples": 4, "unlabelled": True, "bands": ["B02", "B03", "B04", "B08"]},
    paper=(
        "Hafner, Ban, Nascetti: Semi-Supervised Urban Change Detection Using Multi-Modal Sentinel-1 SAR and Sentinel-2 "
        "MSI Data, Remote Sensing 15(21), 5135, 2023, doi 10.3390/rs15215135"
    ),
    figures=(
        PublishedFigure(
            data_set="SpaceNet 7 with Sentinel",
            metric="F1",
            value=0.555,
            protocol=_PROTOCOL.format("all"),
            verified=True,
        ),
        PublishedFigure(
            data_set="SpaceNet 7 with Sentinel",
            metric="F1",
            value=0.491,
            protocol=_PROTOCOL.format("10 %"),
            verified=True,
        ),
        PublishedFigure(
            data_set="SpaceNet 7 with Sentinel",
            metric="F1, supervised multi-modal and semi-supervised optical, at most",
            value=0.402,
            protocol=_PROTOCOL.format("10 %"),
            verified=True,
        ),
    ),
    deviations=(
        "bands are standardised, not clipped to 0..1; pairs of dates are drawn once, not anew in every epoch; the "
        "weight of the agreement is that of the published setting with 10 % of the labels; the threshold that decides "
        "is chosen on validation sites instead of one half"
    ),
)
